"""A new entry: looked up, or a template that passes `check` once its blanks are filled; never over another's work."""

# ruff: noqa: E501 - messages stand as they are printed

import sys
import time
from types import ModuleType, SimpleNamespace

import pytest
from typer.testing import CliRunner

from scripts.bibliography import new
from scripts.bibliography.new import NewEntryError, Wanted, create
from scripts.catalogue.dump import SCHEMA_LINE
from scripts.catalogue.load import load_catalogue
from scripts.commands import app
from tests.builders import WORK, checkout, complaints, entry

FILLED = {
    "# title: the title as published, in quotes if it holds a colon": 'title: "Paging: a filled title"',
    "# authors:": "authors:",
    "#   - {family: the family name, given: the given names}": "  - {family: Doe, given: Jane}",
    "# year: year of the first public version; then move this file to entries/<year>/": "year: 2021",
    "# techniques: [path/of/a/page]  # one or more paths under techniques/, the main one first": "techniques: [systems]",
}
KNOWN = {
    WORK: entry(preprint='{arxiv: "2401.00001"}'),
    "entries/2023/by-doi.yaml": entry(title="Quite another", year="2023", published="{year: 2023, doi: 10.1145/abc}"),
}


@pytest.fixture
def root(tmp_path):
    return checkout(tmp_path, KNOWN)


def fill(path):
    lines = path.read_text("utf-8").splitlines()
    filled = "".join(f"{FILLED.get(line, line)}\n" for line in lines)
    year = next(line.split()[1] for line in filled.splitlines() if line.startswith("year: "))
    home = path.parent.parent / year / path.name
    home.parent.mkdir(exist_ok=True)
    path.unlink()
    home.write_text(filled, "utf-8")


def titles(catalogue):
    return {record.paper.title for record in catalogue.entries.values()}


@pytest.mark.parametrize(
    ("wanted", "blanks"),
    [
        (Wanted("2210.17323"), ["title", "authors", "techniques"]),
        (Wanted("10.1145/1234567"), ["title", "authors", "year", "techniques"]),
        (Wanted("10.1145/1234567", year=2022), ["title", "authors", "techniques"]),
        (Wanted(), ["title", "authors", "year", "techniques"]),
        (Wanted(title="Only: a title"), ["authors", "year", "techniques"]),
        (Wanted("2210.17323", title="T", techniques=["systems"]), ["authors"]),
        (Wanted("2210.17323", "my-key", "T", "Doe, Jane"), ["techniques"]),
    ],
)
def test_a_filled_template_passes_check(root, wanted, blanks):
    path, left = create(root, wanted, lookup=False)
    assert left == blanks
    text = path.read_text("utf-8")
    assert text.startswith(SCHEMA_LINE) and "\nlevel: listed\n" in text
    assert ("Could not be looked up" in text) == bool(wanted.identifier)
    fill(path)
    assert complaints(root) == []
    assert len(load_catalogue(root, use_cache=False).entries) == 3


def test_an_unfilled_template_names_its_blanks(root):
    path, _ = create(root, Wanted("2210.17323"), lookup=False)
    fields = [line.split(": ")[1] for line in complaints(root, path.relative_to(root).as_posix())]
    assert fields == ["techniques", "title"]


def test_what_is_known_in_full_is_a_finished_entry(root):
    wanted = Wanted("2210.17323", title="GPTQ: Accurate", authors="Frantar, Elias and others", techniques=["systems"])
    path, blanks = create(root, wanted, lookup=False)
    assert (path.relative_to(root).as_posix(), blanks) == ("entries/2022/gptq.yaml", [])
    assert "#" not in path.read_text("utf-8").removeprefix(SCHEMA_LINE) and complaints(root) == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("2401.08092", ("2401.08092", "")),
        (" 2401.08092v3 ", ("2401.08092", "")),
        ("arXiv:2401.08092", ("2401.08092", "")),
        ("https://arxiv.org/abs/2401.08092v1", ("2401.08092", "")),
        ("http://www.arxiv.org/pdf/2401.08092v1.pdf", ("2401.08092", "")),
        ("10.48550/arXiv.2401.08092", ("2401.08092", "")),
        ("https://doi.org/10.48550/arXiv.2401.08092", ("2401.08092", "")),
        ("10.1145/3624743", ("", "10.1145/3624743")),
        ("doi: 10.1145/3624743", ("", "10.1145/3624743")),
        ("https://dx.doi.org/10.1145/3624743", ("", "10.1145/3624743")),
        ("", ("", "")),
    ],
)
def test_an_identifier_in_any_usual_spelling(text, found):
    assert new.identifier_of(text) == found


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (Wanted("2401.00001v2"), f"the work has an entry, {WORK}; correct that one instead"),
        (Wanted("10.1145/ABC"), "the work has an entry, entries/2023/by-doi.yaml; correct that one instead"),
        (Wanted(title="Paging Weights to Flash!"), f"the work has an entry, {WORK}; correct that one instead"),
        (Wanted("2210.17323", "work"), f'the key "work" is taken by {WORK}; give another'),
        (Wanted("2210.17323", "No Key"), '"No Key" is no key; use lower-case words of a-z and 0-9 joined by hyphens'),
        (Wanted("2210.17323", techniques=["system"]), "there is no page techniques/system.md; did you mean systems?"),
        (Wanted("2213.17323"), 'expected an id such as "2401.08092", got "2213.17323"; four digits, a dot, four or five more'),
        (Wanted("hello"), '"hello" is neither an arXiv id (2401.08092) nor a DOI (10.1145/3624743)'),
        (Wanted("https://evil.org/2401.08092"), '"https://evil.org/2401.08092" is neither an arXiv id (2401.08092) nor a DOI (10.1145/3624743)'),
        (Wanted("10.1145/<x>"), 'expected a bare DOI such as 10.1145/3624743, got "10.1145/<x>"; leave out https://doi.org/'),
        (Wanted("2210.17323", year=2023), "--year is 2023, but arXiv:2210.17323 is of 2022; leave --year out"),
        (Wanted("2210.17323", authors="A, B, C, D"), '--authors: the name "A, B, C, D" has too many commas; put " and " between authors'),
        (Wanted(title="<script>", year=2020), 'holds markup, "<script>"; write plain text, a space after "<"'),
        (Wanted(title="T", year=1066), None),
    ],
)  # fmt: skip
def test_a_refusal_says_why_and_writes_nothing(root, wanted, message):
    before = sorted(root.rglob("*"))
    with pytest.raises(NewEntryError) as refused:
        create(root, wanted, lookup=False)
    assert message is None or str(refused.value) == message
    assert [path for path in sorted(root.rglob("*")) if path not in before and "build" not in path.parts] == []


def test_a_key_that_is_taken_is_never_overwritten(root):
    (root / "entries/2022").mkdir()
    (root / "entries/2022/gptq.yaml").write_text("broken: [")
    path, _ = create(root, Wanted("2210.17323", title="GPTQ: Accurate"), lookup=False)
    assert path.name == "work2022gptq.yaml" and (root / "entries/2022/gptq.yaml").read_text() == "broken: ["


def arxiv_of(answer):
    """The library `arxiv` as far as it is used, with one answer."""
    module = ModuleType("arxiv")
    module.Search = lambda **query: query
    module.Client = lambda **how: SimpleNamespace(results=lambda query: answer(query["id_list"]))
    return module


def found(ids):
    people = [SimpleNamespace(name=name) for name in ("Elias Frantar", "Jean-Luc van der Berg", "DeepSeek-AI")]
    yield SimpleNamespace(title="GPTQ: Accurate\n  Quantization", authors=people, doi="10.1145/77")


def test_arxiv_gives_title_authors_and_doi(root, monkeypatch):
    monkeypatch.setitem(sys.modules, "arxiv", arxiv_of(found))
    path, blanks = create(root, Wanted("https://arxiv.org/abs/2210.17323v2", techniques=["systems"]))
    assert (path.relative_to(root).as_posix(), blanks) == ("entries/2022/gptq.yaml", [])
    paper = load_catalogue(root, use_cache=False).entries["gptq"].paper
    assert (paper.title, paper.doi, paper.year) == ("GPTQ: Accurate Quantization", "10.1145/77", 2022)
    assert [author.family for author in paper.authors] == ["Frantar", "van der Berg", "DeepSeek-AI"]
    assert complaints(root) == []


CROSSREF = {
    "title": ["Paging <i>ex\u00adpert</i> weights &amp; caches"],
    "author": [{"family": "Doe", "given": "Jane"}, {"name": "The Team"}, {"sequence": "first"}],
    "published": {"date-parts": [[2021, 5]]},
    "container-title": ["Transactions on Machine Learning Research"],
}


def habanero_of(work):
    module = ModuleType("habanero")
    module.Crossref = lambda timeout: SimpleNamespace(works=lambda ids: {"message": work})
    return module


def test_crossref_gives_title_authors_year_and_venue(root, monkeypatch):
    monkeypatch.setitem(sys.modules, "habanero", habanero_of(CROSSREF))
    path, blanks = create(root, Wanted("https://doi.org/10.1145/99", techniques=["systems"]))
    assert (path.relative_to(root).as_posix(), blanks) == ("entries/2021/doe2021paging.yaml", [])
    paper = load_catalogue(root, use_cache=False).entries["doe2021paging"].paper
    assert (paper.title, paper.venue, paper.doi) == ("Paging expert weights & caches", "TMLR", "10.1145/99")
    assert [author.family for author in paper.authors] == ["Doe", "The Team"] and complaints(root) == []


def test_what_the_person_says_wins_over_what_is_found(root, monkeypatch):
    monkeypatch.setitem(sys.modules, "arxiv", arxiv_of(found))
    path, _ = create(root, Wanted("2210.17323", "mine", "My title", "Roe, R.", None, ["systems"]))
    paper = load_catalogue(root, use_cache=False).entries[path.stem].paper
    assert (path.stem, paper.title, paper.authors[0].family) == ("mine", "My title", "Roe")


def test_a_work_found_under_another_id_is_known_by_its_title(root, monkeypatch):
    same = SimpleNamespace(title="Paging weights to flash", authors=[], doi=None)
    monkeypatch.setitem(sys.modules, "arxiv", arxiv_of(lambda ids: iter([same])))
    with pytest.raises(NewEntryError, match=f"has an entry, {WORK}"):
        create(root, Wanted("2210.17323", techniques=["systems"]))


def raises(error):
    def answer(ids):
        raise error
        yield

    return answer


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (raises(OSError("no route to host")), "OSError: no route to host"),
        (raises(RuntimeError("HTTP 503\nmore")), "RuntimeError: HTTP 503"),
        (lambda ids: iter([]), "StopIteration"),
        (lambda ids: iter([SimpleNamespace()]), "AttributeError"),
        (
            lambda ids: iter([SimpleNamespace(title="{{ x }}", authors=[], doi=None)]),
            "the record found is of no use, holds markup",
        ),
        (raises(ValueError("bad\x1b[2J # :")), "ValueError: bad"),
    ],
)
def test_a_failed_look_up_leaves_a_template_with_the_reason(root, monkeypatch, answer, reason):
    monkeypatch.setitem(sys.modules, "arxiv", arxiv_of(answer))
    path, blanks = create(root, Wanted("2210.17323"))
    assert blanks == ["title", "authors", "techniques"]
    assert f"# Could not be looked up: {reason}" in path.read_text("utf-8").splitlines()[1]
    fill(path)
    assert complaints(root) == []


def test_a_missing_library_is_named(root, monkeypatch):
    monkeypatch.setitem(sys.modules, "arxiv", None)
    path, _ = create(root, Wanted("2210.17323"))
    assert "pip install 'frugalfm[lookup]'" in path.read_text("utf-8")


def test_a_look_up_that_hangs_is_left_behind(root, monkeypatch):
    monkeypatch.setattr(new, "PATIENCE_S", 0.05)
    monkeypatch.setitem(sys.modules, "arxiv", arxiv_of(lambda ids: time.sleep(30)))
    begun = time.monotonic()
    path, _ = create(root, Wanted("2210.17323"))
    assert time.monotonic() - begun < 20  # far below the 30 s of the hanging answer
    assert "no answer within 0.05 seconds" in path.read_text("utf-8")


def test_patience_stays_below_ten_seconds():
    assert new.PATIENCE_S <= 10


def test_offline_asks_nobody(root, monkeypatch):
    monkeypatch.setitem(sys.modules, "arxiv", arxiv_of(raises(AssertionError("asked"))))
    answer = CliRunner().invoke(app, ["new", "2210.17323", "--offline", "--root", str(root)])
    assert answer.exit_code == 0 and "asked" not in (root / answer.stdout.strip()).read_text("utf-8")


def test_the_command_prints_the_file_and_refuses_with_one_line(root):
    arguments = ["new", "--offline", "--root", str(root), "--technique", "systems"]
    answer = CliRunner().invoke(app, [*arguments, "2210.17323", "--title", "GPTQ: x", "--authors", "Doe, J."])
    assert (answer.exit_code, answer.stdout) == (0, "entries/2022/gptq.yaml\n")
    again = CliRunner().invoke(app, [*arguments, "2210.17323"])
    assert again.exit_code == 1 and again.stdout == ""
