"""A build that finds the last one's files gives what a cold one gives, and leaves out what nothing asks for."""

import shutil
from pathlib import Path

import pytest

from .conftest import run_build, small_checkout

CHANGED, REMOVED = "entries/2024/changed-entry.yaml", "entries/2024/removed-entry.yaml"
ENTRY = """\
title: Some entry that comes and changes
year: 2024
preprint: {arxiv: "2401.99999"}
techniques: [systems]
level: listed
"""
ENTRY_TO_REMOVE = ENTRY.replace("99999", "99998").replace("comes and changes", "is there for one build only")


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small checkout with two more entries, built once."""
    made = small_checkout(tmp_path_factory.mktemp("rebuild") / "frugalfm", {CHANGED: ENTRY, REMOVED: ENTRY_TO_REMOVE})
    build(made)
    return made


def build(checkout: Path) -> dict[str, bytes]:
    """Build without search at a fixed time; -> the files of the site."""
    done = run_build(checkout, "--no-search", SOURCE_DATE_EPOCH="1700000000", PYTHONHASHSEED="random")
    assert done.returncode == 0, done.stdout + done.stderr
    public = checkout / "public"
    return {path.relative_to(public).as_posix(): path.read_bytes() for path in public.rglob("*") if path.is_file()}


def changed(one: dict[str, bytes], two: dict[str, bytes]) -> list[str]:
    return sorted(path for path in one.keys() | two.keys() if one.get(path) != two.get(path))


def test_a_rebuild_after_edits_equals_a_cold_build(checkout):
    (checkout / CHANGED).write_text(ENTRY.replace("Some entry", "Another title"), "utf-8")
    (checkout / REMOVED).unlink()
    page = checkout / "techniques" / "systems" / "index.md"
    page.write_text(page.read_text("utf-8") + "\nOne more sentence of prose.\n", "utf-8")
    warm = build(checkout)
    assert b"One more sentence of prose." in warm["techniques/systems/index.html"]
    assert b"Another title" in warm["papers/changed-entry/index.html"]
    assert not [path for path in warm if "removed-entry" in path]
    shutil.rmtree(checkout / "build")
    shutil.rmtree(checkout / "public")
    assert changed(warm, build(checkout)) == []


def test_prose_is_rendered_again_only_where_prose_or_theme_changed(checkout):
    rendered = checkout / "build" / "rendered" / "about" / "index.html"
    before = rendered.stat().st_mtime_ns
    build(checkout)
    assert rendered.stat().st_mtime_ns == before
    theme = checkout / "site" / "theme" / "partials" / "footer.html"
    theme.write_text(theme.read_text("utf-8") + "<!-- changed -->\n", "utf-8")
    assert b"<!-- changed -->" in build(checkout)["about/index.html"]
    assert rendered.stat().st_mtime_ns > before
