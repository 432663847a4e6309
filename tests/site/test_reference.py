"""The reference says what the docstrings say, of everything that is public and of nothing else."""

import ast
from pathlib import Path

import pytest

from scripts.website.reference import examples, families

ROOT = Path(__file__).parents[2]
URL = "https://example.org/repo"


@pytest.fixture
def library(tmp_path):
    folder = tmp_path / "reference_impls" / "paging"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text('"""Pages.\n\nOne face for all.\n"""\n')
    (folder / "flash.py").write_text(
        '"""Flash.\n\nPaper: arXiv 2401.00001\nIdea: <b>read</b> less.\n"""\n\n'
        "class Cache:\n"
        '    """A cache."""\n\n'
        "    def __init__(self, size: int) -> None:\n        pass\n\n"
        '    def put(self, key: str) -> None:\n        """Keep it."""\n\n'
        "    def _hidden(self) -> None:\n        pass\n\n"
        'def load(path: str, *, lazy: bool = True) -> Cache:\n    """Load.\n\n    path: (n,) -> a cache\n    """\n\n'
        "def _own() -> None:\n    pass\n"
    )
    (folder / "bench.py").write_text('"""Cases."""\n\ndef cases() -> list:\n    """All."""\n')
    return tmp_path


def test_what_is_public_is_listed_with_signature_and_words(library):
    [family] = families(library, URL, None)
    assert (family.name, family.title, family.href) == ("paging", "Pages.", "reference/paging/")
    face, flash = family.modules
    assert face.text == ["One face for all."]
    assert flash.fields == [("Paper", "arXiv 2401.00001"), ("Idea", "<b>read</b> less.")]
    cache, load = flash.members
    assert cache.signature == "Cache(size: int)"
    assert cache.methods == [("put(self, key: str) -> None", "Keep it.")]
    assert load.signature == "load(path: str, *, lazy: bool=True) -> Cache"
    assert load.paragraphs == ["Load.", "path: (n,) -> a cache"]
    assert flash.source_url == f"{URL}/blob/main/reference_impls/paging/flash.py"
    assert family.count == 2


def test_every_package_of_the_library_has_a_page_and_every_public_name_its_words():
    found = families(ROOT, URL, None)
    folders = {path.parent.name for path in (ROOT / "reference_impls").glob("*/__init__.py")}
    assert {family.name for family in found} == folders
    silent = [one.anchor for f in found for m in f.modules for one in m.members if not one.paragraphs]
    assert len(silent) <= 0.1 * sum(f.count for f in found), silent


def test_an_example_is_shown_escaped_without_its_docstring(tmp_path):
    (tmp_path / "site/examples").mkdir(parents=True)
    (tmp_path / "site/examples/a_b.py").write_text(
        '"""Do it.\n\nThis is how.\n"""\n\nprint("<script>alert(1)</script>")\n'
    )
    [one] = examples(tmp_path, URL, None)
    assert (one.anchor, one.title, one.text) == ("a-b", "Do it", ["This is how."])
    assert "<script>" not in one.html
    assert "&lt;script&gt;" in one.html


def test_the_examples_of_the_site_parse():
    for one in examples(ROOT, URL, None):
        assert one.text
        assert ast.parse((ROOT / "site/examples" / f"{one.anchor.replace('-', '_')}.py").read_text("utf-8"))
