"""Imports: new works become entries, known ones are named, nothing is lost and nothing overwritten."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from scripts.bibliography.importing import import_file, write
from scripts.catalogue.load import load_catalogue
from scripts.catalogue.yaml_text import read
from scripts.commands import app
from tests.builders import WORK, checkout, complaints, entry

MESSY = Path(__file__).parent / "messy.bib"
KNOWN = {
    WORK: entry(),
    "entries/2024/by-arxiv.yaml": entry(title="Known by its arXiv id", preprint='{arxiv: "2401.00001"}'),
    "entries/2024/by-doi.yaml": entry(title="Known by its DOI", published="{doi: 10.1145/abc}"),
}
OLD = entry(
    title="Paging weights to flash",
    authors="[{family: Doe}]",
    authors_cut="true",
    published="{venue: ICML, year: 2025, doi: 10.1145/abc}",
    preprint='{arxiv: "2401.00001"}',
    level="reviewed",
    summary="By a person.",
    note="A note.",
    claims="[{id: faster, says: x, metric: latency, form: ratio, value: 2, against: y, where: z, seen: source}]",
)


def bring(root, text, name="x.bib", **how):
    file = root / name
    file.write_text(text, "utf-8")
    catalogue = load_catalogue(root, use_cache=False)
    return import_file(file, catalogue, ["systems"], **how), catalogue


def snapshot(root):
    return {path: path.read_bytes() for path in sorted((root / "entries").rglob("*")) if path.is_file()}


def test_every_block_of_a_messy_bibliography_is_added_known_or_a_problem(tmp_path):
    text = MESSY.read_text("utf-8")
    result, _ = bring(checkout(tmp_path, KNOWN), text)
    works = [
        m
        for m in re.finditer(r"^@ ?(\w+) ?\{", text, re.MULTILINE)
        if m.group(1).casefold() not in ("comment", "string", "preamble")
    ]
    failed = {problem.line for problem in result.problems if problem.severity == "error"}
    assert len(works) == 46
    assert len(result.added) + len(result.known) + len(failed) == len(works)
    assert (len(result.added), len(result.known), len(failed)) == (30, 4, 12)


def test_what_a_messy_bibliography_adds_passes_check(tmp_path):
    root = checkout(tmp_path, KNOWN)
    result, catalogue = bring(root, MESSY.read_text("utf-8"))
    written = write(result, catalogue)
    assert len(written) == len(result.added) == len(set(written))
    assert complaints(root) == []
    assert load_catalogue(root, use_cache=False).entries.keys() == KNOWN_KEYS | result.added.keys()


KNOWN_KEYS = {"work", "by-arxiv", "by-doi"}


@pytest.mark.parametrize(
    ("key", "facts"),
    [
        ("dblp-conf-icml-xiao23", {"year": 2023, "venue": "ICML", "doi": None}),
        (
            "touvron2023",
            {
                "arxiv": "2302.13971",
                "authors_cut": True,
                "title": "LLaMA: Open and Efficient Foundation Language Models",
            },
        ),
        ("eprint-only", {"year": 2023, "arxiv": "2305.10001"}),
        ("versioned", {"arxiv": "2305.10002"}),
        ("arxiv-doi", {"arxiv": "2305.10003", "doi": None}),
        ("doi-url", {"doi": "10.1145/1234567.1", "venue": "TMLR"}),
        ("percent", {"title": "50% Less Memory, 100% of the Quality"}),
        ("dashes", {"title": "From 2–4 Bits — and Back"}),
        ("url-only", {"url": "https://example.org/a_b"}),
        ("howpub", {"url": "https://example.org/c"}),
        ("soft", {"kind": "software"}),
        ("neurips", {"venue": "NeurIPS", "year": 2023}),
        ("jsurl", {"url": None}),
        ("foreign", {"venue": None, "note": "published in Intl. Conf. on Foo"}),
        ("same-key", {"title": "First of One Key"}),
        ("doe2024second", {"title": "Second of One Key"}),
    ],
)
def test_the_facts_of_a_messy_block(tmp_path, key, facts):
    result, _ = bring(checkout(tmp_path, KNOWN), MESSY.read_text("utf-8"))
    assert {name: getattr(result.added[key], name) for name in facts} == facts


def test_known_works_are_named_with_their_line(tmp_path):
    text = "@misc{a, title={Paging Weights to Flash!}, year=2024}\n@misc{b, title={B}, eprint={2401.00001}}\n"
    text += "@misc{c, title={C}, year=2024, doi={10.1145/ABC}}\n"
    result, _ = bring(checkout(tmp_path, KNOWN), text)
    assert [(line, key) for line, _, key in result.known] == [(1, "work"), (2, "by-arxiv"), (3, "by-doi")]
    assert not result.added and not result.problems


def test_a_dry_run_writes_nothing(tmp_path):
    root = checkout(tmp_path, KNOWN)
    before = snapshot(root)
    answer = CliRunner().invoke(app, ["import", str(MESSY), "--technique", "systems", "--dry-run", "--root", str(root)])
    assert answer.exit_code == 1  # for the broken blocks
    assert snapshot(root) == before
    assert str(MESSY) + ":" in answer.stdout


def test_without_update_nothing_is_overwritten(tmp_path):
    root = checkout(tmp_path, KNOWN)
    before = snapshot(root)
    write(*bring(root, MESSY.read_text("utf-8")))
    assert {path: content for path, content in snapshot(root).items() if path in before} == before


def test_an_entry_that_could_not_be_read_is_not_overwritten(tmp_path):
    root = checkout(tmp_path, {"entries/2024/gptq.yaml": "title: ["})
    result, catalogue = bring(root, "@misc{gptq, title={GPTQ: Accurate}, year=2024}")
    write(result, catalogue)
    assert (root / "entries/2024/gptq.yaml").read_text() == "title: [" and "gptq" not in result.added


def test_a_file_that_came_since_is_not_overwritten(tmp_path):
    root = checkout(tmp_path)
    result, catalogue = bring(root, "@misc{new, title={New}, year=2024}")
    (root / "entries/2024").mkdir(parents=True)
    (root / "entries/2024/new.yaml").write_text("mine")
    with pytest.raises(FileExistsError):
        write(result, catalogue)
    assert (root / "entries/2024/new.yaml").read_text() == "mine"


def updated(tmp_path, fields):
    root = checkout(tmp_path, {WORK: OLD})
    result, catalogue = bring(root, f"@article{{x, eprint={{2401.00001}}, {fields}}}", update=True)
    write(result, catalogue)
    assert complaints(root) == []
    return catalogue.entries["work"].paper, load_catalogue(root, use_cache=False).entries["work"].paper


def test_an_update_corrects_facts_and_keeps_what_people_wrote(tmp_path):
    old, new = updated(
        tmp_path, "title={Paging Weights to Flash Memory}, author={Doe, Jane and Roe, R.}, year=2026, journal={TMLR}"
    )
    assert (new.title, new.venue, new.authors[0].given, new.authors_cut) == (
        "Paging Weights to Flash Memory",
        "TMLR",
        "Jane",
        False,
    )
    kept = ("level", "summary", "note", "claims", "techniques")
    assert [getattr(new, name) for name in kept] == [getattr(old, name) for name in kept]


def test_an_update_takes_nothing_away(tmp_path):
    old, new = updated(tmp_path, "title={Paging weights to flash}, year=2025, booktitle={ICML}")
    assert new == old


def test_an_update_that_moves_the_year_moves_the_file(tmp_path):
    root = checkout(tmp_path, {WORK: entry()})
    write(*bring(root, "@misc{x, title={Paging weights to flash}, eprint={2301.00001}}", update=True))
    assert [path.relative_to(root).as_posix() for path in (root / "entries").rglob("*.yaml")] == [
        "entries/2023/work.yaml"
    ]
    assert complaints(root) == []


def test_importing_twice_adds_nothing_and_updates_nothing(tmp_path):
    root = checkout(tmp_path, KNOWN)
    text = MESSY.read_text("utf-8")
    write(*bring(root, text))
    before = snapshot(root)
    again, catalogue = bring(root, text, update=True)
    assert not again.added
    write(again, catalogue)
    assert {path.name for path in snapshot(root)} == {path.name for path in before}


@pytest.mark.parametrize("name", ["x.txt", "x", "x.bib.bak"])
def test_another_kind_of_file_is_refused_by_name(tmp_path, name):
    with pytest.raises(ValueError, match=r"expected a file ending in \.bib or \.csv"):
        bring(checkout(tmp_path), "", name)


def test_a_file_that_is_not_utf8_is_one_problem_with_its_place(tmp_path):
    root = checkout(tmp_path)
    (root / "x.bib").write_bytes(b"@misc{a,\n title={\xe9}}")
    (problem,) = import_file(root / "x.bib", load_catalogue(root)).problems
    assert (problem.line, problem.column, problem.hint) == (2, 9, "save the file as UTF-8")


def test_a_work_without_technique_is_told_how_to_get_one(tmp_path):
    root = checkout(tmp_path)
    (root / "x.csv").write_text("title,year\nT,2023\n")
    (problem,) = import_file(root / "x.csv", load_catalogue(root)).problems
    assert str(problem).endswith("x.csv:2:1: T: skipped: techniques: is empty; name one with --technique")


def test_csv_and_bibtex_of_one_work_give_one_entry(tmp_path):
    root = checkout(tmp_path)
    by_bib, catalogue = bring(root, "@inproceedings{k, title={T: t}, author={A, B}, year=2023, booktitle={ICML}}")
    by_csv, _ = bring(root, 'key,title,authors,year,venue\nk,T: t,"A, B",2023,ICML\n', "x.csv")
    assert by_bib.added == by_csv.added
    (path,) = write(by_csv, catalogue)
    assert read(path.read_text("utf-8")).data["published"] == {"venue": "ICML", "year": 2023}
