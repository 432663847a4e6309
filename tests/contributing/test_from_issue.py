"""An issue form becomes the file that it asks for; a hostile one becomes nothing."""

import json
import shutil

import pytest

from reference_impls.cost_model.tables import KINDS
from scripts.catalogue.load import load_catalogue
from scripts.catalogue.yaml_text import read
from scripts.contributing.from_issue import FIELDS, FORMS, HANDLERS, IssueError, read_forms, take, write
from tests.builders import REPOSITORY, checkout, complaints, entry
from tests.catalogue.test_result_checks import run

WORK = "entries/2024/work.yaml"


@pytest.fixture
def root(tmp_path):
    root = checkout(tmp_path, {WORK: entry(preprint='{arxiv: "2401.08092"}', code="https://old.example.org/x")})
    shutil.copytree(REPOSITORY / FORMS, root / FORMS)
    tables = "reference_impls/cost_model/data"
    shutil.copytree(REPOSITORY / tables, root / tables)
    return root


def issue(root, form: str, **answers: str) -> bytes:
    """The Markdown that the form becomes, unanswered questions included."""
    ids = {identifier: label for label, (identifier, _) in read_forms(root)[form].items()}
    assert answers.keys() <= ids.keys()
    parts = [f"### {label}\n\n{answers.get(name) or '_No response_'}\n" for name, label in ids.items()]
    return "\n".join(parts).replace("\n", "\r\n").encode()


PAPER = {
    "identifier": "arXiv:2405.00001v2",
    "title": "A wholly new way: to page",
    "authors": "Ada, B. and Curie, Marie",
    "venue": "neurips",
    "year": "2024",
    "technique": "techniques/systems.md",
    "code": "https://example.org/code",
}
MACHINE = {
    "name": "new-gpu",
    "title": "New GPU 24 GB",
    "kind": "desktop GPU",
    "source": "data sheet",
    "link": "https://example.org/sheet.pdf",
    "memory": "24",
    "bandwidth": "1,008",
    "bfloat16": "165.2",
}


def test_a_new_paper_becomes_its_entry(root):
    taken = take(root, issue(root, "new-paper", **PAPER))
    assert list(taken.files) == ["entries/2024/ada2024wholly.yaml"]
    write(root, taken)
    assert complaints(root) == []
    paper = load_catalogue(root).entries["ada2024wholly"].paper
    assert (paper.arxiv, paper.venue, paper.code) == ("2405.00001", "NeurIPS", "https://example.org/code")
    assert [author.family for author in paper.authors] == ["Ada", "Curie"]
    with pytest.raises(IssueError, match="the work has an entry"):
        take(root, issue(root, "new-paper", **PAPER))


def test_an_arxiv_id_and_a_title_are_enough(root):
    taken = take(root, issue(root, "new-paper", title="Something", identifier="2405.00001", technique="systems"))
    write(root, taken)
    assert complaints(root) == []


def test_wrong_data_changes_one_fact_and_says_so(root):
    answers = {"entry": "https://frugalfm.github.io/papers/work/", "field": "code", "source": "the project's page"}
    write(root, take(root, issue(root, "wrong-data", right="https://new.example.org/x", **answers)))
    assert complaints(root) == []
    paper = load_catalogue(root).entries["work"].paper
    assert paper.code == "https://new.example.org/x"
    assert paper.corrections[0].what == "code, by a report that names the project's page"
    assert paper.corrections[0].was == "https://old.example.org/x"
    assert paper.arxiv == "2401.08092"


def test_a_run_becomes_its_results_file(root):
    text = json.dumps(run())
    for body in (f"```json\n{text}\n```", text):
        taken = take(root, issue(root, "result", run=body))
        assert list(taken.files) == ["results/box/quantization.json"]
    write(root, taken)
    assert complaints(root) == []
    with pytest.raises(IssueError, match="exists"):
        take(root, issue(root, "result", run=text))


def test_an_implementation_brings_its_paper_and_names_the_files_to_write(root):
    answers = {"module": "paging/flash", "oracle": "brute force", "technique": "systems"}
    taken = take(root, issue(root, "implementation", title="Something", identifier="2405.00001", **answers))
    assert list(taken.files) == ["entries/2024/arxiv-2405-00001.yaml"] or len(taken.files) == 1
    assert "write reference_impls/paging/flash.py" in taken.todo
    known = take(root, issue(root, "implementation", title="Something", identifier="2401.08092", **answers))
    assert known.files == {}


def test_hardware_becomes_a_row_of_the_planners_table(root):
    taken = take(root, issue(root, "hardware", **MACHINE))
    write(root, taken)
    from reference_impls.cost_model.tables import load_tables

    machine = load_tables(root / "reference_impls/cost_model/data").machines["new-gpu"]
    assert machine.machine.memory_bytes == 24 * 2**30
    assert machine.machine.read_bytes_per_s == 1_008_000_000_000
    assert machine.seen == "source"


HOSTILE = [
    ("new-paper", PAPER | {"title": "<script>alert(1)</script>"}, "markup"),
    ("new-paper", PAPER | {"title": "a{{ 7*7 }}"}, "markup"),
    ("new-paper", PAPER | {"code": "javascript:alert(1)"}, "http"),
    ("new-paper", PAPER | {"technique": "../../../etc/passwd"}, "no page"),
    ("new-paper", PAPER | {"identifier": "2401.08092; rm -rf /"}, "neither an arXiv id"),
    ("new-paper", PAPER | {"year": "2o24"}, "four digits"),
    ("new-paper", PAPER | {"title": ""}, "is not answered"),
    ("wrong-data", {"entry": "../../x", "field": "title", "right": "y", "source": "z"}, "no entry"),
    ("wrong-data", {"entry": "work", "field": "summary", "right": "y", "source": "z"}, "summary"),
    ("wrong-data", {"entry": "work", "field": "level", "right": "reviewed", "source": "z"}, "level"),
    ("wrong-data", {"entry": "work", "field": "code", "right": "file:///etc", "source": "z"}, "http"),
    ("wrong-data", {"entry": "work", "field": "year", "right": "1890", "source": "z"}, "1950"),
    ("wrong-data", {"entry": "work", "field": "code", "right": "https://old.example.org/x", "source": "z"}, "already"),
    ("result", {"run": "not json"}, "results file"),
    ("result", {"run": json.dumps(run() | {"suite": "../../x"})}, "suite"),
    ("result", {"run": json.dumps(run()).replace('"box"', '"../../../x"')}, "machine.name"),
    (
        "implementation",
        {"identifier": "", "title": "x", "technique": "systems", "module": "a/b", "oracle": "c"},
        "not answ",
    ),
    (
        "implementation",
        {"identifier": "2405.00001", "title": "x", "technique": "systems", "module": "../a", "oracle": "c"},
        "expected a module",
    ),
    ("hardware", MACHINE | {"memory": "24 GB"}, "memory: expected a number"),
    ("hardware", MACHINE | {"bandwidth": "0"}, "bandwidth: expected a number"),
    ("hardware", MACHINE | {"name": "../x"}, "short name"),
    ("hardware", MACHINE | {"kind": "spaceship"}, "kind"),
    ("hardware", MACHINE | {"link": "javascript:x"}, "link"),
]


@pytest.mark.parametrize(("form", "answers", "message"), HOSTILE)
def test_a_hostile_or_broken_issue_becomes_nothing(root, form, answers, message):
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file() and "build" not in path.parts}
    with pytest.raises(IssueError, match=message):
        take(root, issue(root, form, **answers))
    after = {path: path.read_bytes() for path in root.rglob("*") if path.is_file() and "build" not in path.parts}
    assert after == before


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"hello", "none of the forms"),
        (b"\xff\xfe", "no plain text"),
        (b"### Title as published\n\nx\n\n### Title as published\n\ny\n", "answered twice"),
        (b"### Entry\n\nwork\n\x00", "no plain text"),
        (b"x" * (2**20 + 1), "at most"),
    ],
)
def test_what_is_no_form_is_told(root, body, message):
    with pytest.raises(IssueError, match=message):
        take(root, body)


def test_a_heading_within_a_code_block_is_no_answer(root):
    text = json.dumps(run(), indent=1).replace('"A CPU"', '"A CPU"')
    body = issue(root, "result", run=f"```json\n### The results file\n{text}\n```")
    with pytest.raises(IssueError, match="results file"):  # not "answered twice", nor another question
        take(root, body)


def load_form(name: str) -> list[dict]:
    return read((REPOSITORY / FORMS / f"{name}.yml").read_text()).data["body"]


def test_every_form_has_a_handler_and_a_label_stands_in_it_once():
    files = {path.stem for path in (REPOSITORY / FORMS).glob("*.yml")} - {"config"}
    assert files == set(HANDLERS)
    fields = next(one for one in load_form("wrong-data") if one.get("id") == "field")
    assert tuple(fields["attributes"]["options"]) == FIELDS
    kinds = next(one for one in load_form("hardware") if one.get("id") == "kind")
    assert tuple(kinds["attributes"]["options"]) == KINDS
    assert all(len(labels) >= 2 for labels in read_forms(REPOSITORY).values())
