"""A build that finds the last one's files gives what a cold one gives, and leaves out what nothing asks for."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import ROOT, run_build, small_checkout

CHANGED, REMOVED = "entries/2024/changed-entry.yaml", "entries/2024/removed-entry.yaml"
ENTRY = """\
title: Some entry that comes and changes
year: 2024
preprint: {arxiv: "2401.99999"}
techniques: [systems]
level: listed
"""
RECORD = "low_rank.json"
ENTRY_TO_REMOVE = ENTRY.replace("99999", "99998").replace("comes and changes", "is there for one build only")


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small checkout with two more entries, the library and some records, built once."""
    made = small_checkout(tmp_path_factory.mktemp("rebuild") / "frugalfm", {CHANGED: ENTRY, REMOVED: ENTRY_TO_REMOVE})
    shutil.copytree(ROOT / "reference_impls", made / "reference_impls", ignore=shutil.ignore_patterns("__pycache__"))
    for path in ROOT.glob(f"results/*/{RECORD}"):
        target = made / path.relative_to(ROOT)
        target.parent.mkdir(parents=True)
        shutil.copy(path, target)
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
    edit(checkout / "techniques" / "systems" / "index.md", lambda text: text + "\nOne more sentence of prose.\n")
    edit(checkout / "site" / "templates" / "paper.html", lambda text: text + "<!-- changed -->\n")
    edit(checkout / "reference_impls" / "low_rank" / "svd.py", lambda text: text.replace("Idea: ", "Idea: edited, ", 1))
    edit(sorted(checkout.glob(f"results/*/{RECORD}"))[0], other_samples)
    warm = build(checkout)
    assert b"One more sentence of prose." in warm["techniques/systems/index.html"]
    assert b"Another title" in warm["papers/changed-entry/index.html"]
    assert b"<!-- changed -->" in warm["papers/changed-entry/index.html"]
    assert b"edited, " in warm["reference/low_rank/index.html"]
    assert b"123.4" in warm["api/v1/evidence.json"]
    assert not [path for path in warm if "removed-entry" in path]
    shutil.rmtree(checkout / "build")
    shutil.rmtree(checkout / "public")
    assert changed(warm, build(checkout)) == []


def edit(file: Path, change: Callable[[str], str]) -> None:
    before = file.read_text("utf-8")
    assert change(before) != before
    file.write_text(change(before), "utf-8")


def other_samples(text: str) -> str:
    """The record with the first measurement that has several samples measured anew."""
    record = json.loads(text)
    one = next(one for one in record["measurements"] if len(one["samples"]) > 1)
    one["samples"] = [123.4 + at for at in range(len(one["samples"]))]
    return json.dumps(record)


def test_damaged_caches_change_nothing_and_prose_is_rendered_again_only_where_it_changed(checkout):
    rendered = checkout / "build" / "rendered" / "about" / "index.html"
    before = rendered.stat().st_mtime_ns
    built = build(checkout)
    caches = [*checkout.glob("build/cache/*.json")]
    assert {path.stem for path in caches} >= {"catalogue", "drawn", "fits", "outlines"}
    for path in caches:
        path.write_bytes(path.read_bytes()[:-9])
    assert changed(built, build(checkout)) == []
    assert rendered.stat().st_mtime_ns == before
    theme = checkout / "site" / "theme" / "partials" / "footer.html"
    theme.write_text(theme.read_text("utf-8") + "<!-- changed -->\n", "utf-8")
    assert b"<!-- changed -->" in build(checkout)["about/index.html"]
    assert rendered.stat().st_mtime_ns > before
