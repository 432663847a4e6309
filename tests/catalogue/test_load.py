"""The loader and its cache: the cache saves time and nothing else."""

import json
import shutil

import pytest

from scripts.catalogue import load
from scripts.catalogue.check import check
from scripts.catalogue.load import load_catalogue
from tests.builders import REPOSITORY, WORK, checkout, entry, page

CACHE = "build/cache/catalogue.json"
BAD = "entries/2024/bad.yaml"
FILES = {
    WORK: entry(),
    BAD: entry(year="1066", title="Another"),
    "entries/2023/third.yaml": entry(year="2023", title="Third"),
}


@pytest.fixture
def root(tmp_path):
    return checkout(tmp_path, FILES)


def same(one, other):
    return (one.entries, one.pages, one.runs, one.problems) == (other.entries, other.pages, other.runs, other.problems)


def test_the_cache_gives_the_same_catalogue_as_no_cache(root):
    bare = load_catalogue(root, use_cache=False)
    assert not (root / CACHE).exists()
    assert same(load_catalogue(root), bare)
    assert (root / CACHE).exists()
    assert same(load_catalogue(root), bare)


def test_the_cache_gives_the_same_catalogue_of_the_repository(tmp_path):
    for name in ("entries", "techniques"):
        shutil.copytree(REPOSITORY / name, tmp_path / name)
    cold = load_catalogue(tmp_path)
    assert len(json.loads((tmp_path / CACHE).read_bytes())["files"]) == len(cold.entries)
    assert same(load_catalogue(tmp_path), cold) and same(load_catalogue(tmp_path, use_cache=False), cold)


def test_the_cache_is_used(root, monkeypatch):
    load_catalogue(root)
    parsed = []
    read = load.read
    monkeypatch.setattr(load, "read", lambda text, **how: parsed.append(text) or read(text, **how))
    load_catalogue(root)
    assert not any("Paging" in text for text in parsed) and any("1066" in text for text in parsed)


@pytest.mark.parametrize(
    "damage",
    [
        b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"version": 1}', b"[" * 100_000,
        lambda stored: stored | {"files": []},
        lambda stored: stored | {"files": None},
        lambda stored: {"version": stored["version"]},
        lambda stored: stored | {"files": dict.fromkeys(stored["files"], "{}")},
        lambda stored: stored | {"files": dict.fromkeys(stored["files"], "not json")},
        lambda stored: stored | {"files": dict.fromkeys(stored["files"], 7)},
        lambda stored: stored | {"files": dict.fromkeys(stored["files"])},
    ],
)  # fmt: skip
def test_a_damaged_cache_is_ignored_and_mended(root, damage):
    wanted = load_catalogue(root)
    whole = (root / CACHE).read_bytes()
    content = damage if isinstance(damage, bytes) else json.dumps(damage(json.loads(whole))).encode()
    (root / CACHE).write_bytes(content)
    assert same(load_catalogue(root), wanted)


def test_a_cache_of_other_code_is_not_used(root):
    load_catalogue(root)
    stored = json.loads((root / CACHE).read_bytes())
    forged = {digest: text.replace("Paging", "Forged") for digest, text in stored["files"].items()}
    (root / CACHE).write_text(json.dumps({"version": "other", "files": forged}))
    assert load_catalogue(root).entries["work"].paper.title == "Paging weights to flash"


def test_a_changed_file_is_read_again(root):
    load_catalogue(root)
    (root / WORK).write_text(entry(title="Changed"))
    assert load_catalogue(root).entries["work"].paper.title == "Changed"


def test_a_moved_file_keeps_its_content_and_gets_its_new_key(root):
    load_catalogue(root)
    (root / WORK).rename(root / "entries/2024/moved.yaml")
    catalogue = load_catalogue(root)
    assert catalogue.entries["moved"].paper.title == "Paging weights to flash" and "work" not in catalogue.entries


def test_the_cache_never_hides_a_problem(root):
    first = check(root)[1]
    assert first and check(root)[1] == first == check(root, use_cache=False)[1]


def test_a_removed_file_leaves_the_cache(root):
    load_catalogue(root)
    (root / WORK).unlink()
    load_catalogue(root)
    assert "Paging" not in (root / CACHE).read_text()


def test_a_cache_that_cannot_be_written_is_no_error(root):
    (root / "build").write_text("a file where the folder should be")
    assert "work" in load_catalogue(root).entries


def test_a_checkout_without_any_data_is_an_empty_catalogue(tmp_path):
    catalogue = load_catalogue(tmp_path)
    assert not (catalogue.entries or catalogue.pages or catalogue.runs or catalogue.problems)


def test_a_page_knows_where_its_body_begins(tmp_path):
    text = page("First line.")
    root = checkout(tmp_path, {"techniques/systems/a.md": text, "techniques/systems/b.md": text.replace("\n", "\r\n")})
    for slug in ("systems/a", "systems/b"):
        found = load_catalogue(root).pages[slug]
        assert text.split("\n")[found.body_line] == "First line." == found.body.split("\n")[1]


def test_the_order_of_the_catalogue_does_not_depend_on_the_file_system(root):
    assert [*load_catalogue(root).entries] == ["third", "work"]
