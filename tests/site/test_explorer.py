"""The explorer shows, counts, sorts and hands out what the records say."""

import csv
import gzip
import json
import random
import re
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page

from scripts.bibliography import export
from scripts.catalogue.load import Entry, load_catalogue
from scripts.catalogue.model import Author, Paper
from scripts.website.derive import age_key
from scripts.website.explorer import authors_field, evidence_level, implemented_papers
from tests.site.conftest import ROOT, Site, Visit

QUANTIZATION = "algorithms/model-compression/quantization"
TABLE_BYTES = 150_000
"""Of the table of 2,055 papers, compressed; the bar of more papers is in proportion."""

browser = pytest.mark.browser


@pytest.fixture(scope="module")
def records(site: Site) -> list[dict[str, Any]]:
    """All papers as the public interface tells them, newest first."""
    document = json.loads((site.public / "api/v1/papers.json").read_text("utf-8"))
    papers: list[dict[str, Any]] = document["papers"]
    return papers


@pytest.fixture(scope="module", name="table")
def table_fixture(site: Site) -> dict[str, Any]:
    """The file that the explorer loads."""
    return read_table(site)


def read_table(site: Site) -> dict[str, Any]:
    """The file that the explorer loads, of a built site."""
    data: dict[str, Any] = json.loads((site.public / "papers/table.json").read_text("utf-8"))
    return data


def under(paper: dict[str, Any], slug: str) -> bool:
    """Whether a paper is filed under a technique or below it."""
    return any(f"{own}/".startswith(f"{slug}/") for own in paper["techniques"])


# The file


def test_names_keep_their_family_apart_from_what_is_given() -> None:
    authors = [
        Author(family="van Beethoven", given="Ludwig"),
        Author(family="Mistral AI"),
        Author(family="A;B", given="C"),
    ]
    names = authors_field(authors).split(";")
    assert [name.rpartition(" ")[2].replace("\u00a0", " ") for name in names] == ["van Beethoven", "Mistral AI", "A,B"]
    assert [name.replace("\u00a0", " ") for name in names] == ["Ludwig van Beethoven", "Mistral AI", "C A,B"]


def entry(level: str, claims: int) -> Entry:
    claim = {
        "says": "x",
        "metric": "latency",
        "form": "ratio",
        "value": 2,
        "against": "y",
        "where": "p. 1",
        "seen": "source",
    }
    fields = {"title": "T", "year": 2024, "techniques": ["systems"], "level": level, "summary": "S."}
    fields["claims"] = [claim | {"id": f"c{number}"} for number in range(claims)]
    return Entry("t", "entries/2024/t.yaml", Paper.model_validate(fields | {"authors": [{"family": "A"}]}))


@pytest.mark.parametrize(
    ("level", "verdicts", "reached"),
    [
        ("listed", [], "listed"),
        ("reviewed", [], "reviewed"),
        ("reviewed", ["untested", "untested"], "claims"),
        ("reviewed", ["untested", "not reproduced"], "tested"),
        ("reviewed", ["not comparable"], "tested"),
    ],
)
def test_evidence_goes_as_far_as_the_furthest_claim(level: str, verdicts: list[str], reached: str) -> None:
    assert evidence_level(entry(level, len(verdicts)), lambda _: verdicts) == reached


def test_implementations_name_their_papers() -> None:
    found = implemented_papers(ROOT)
    assert "2210.17323" in found  # GPTQ
    titles = {name for name in found if not re.fullmatch(r"\d{4}\.\d{4,5}", name)}
    assert titles == {title.casefold() for title in titles}
    assert "half-quadratic quantization of large machine learning models" in titles


def test_the_table_is_light(site: Site, table: dict[str, Any]) -> None:
    size = len(gzip.compress((site.public / "papers/table.json").read_bytes(), 6))
    assert size <= TABLE_BYTES * max(1, len(table["papers"]["key"]) / 2_055)


def test_the_table_holds_every_record_once_in_columns_of_one_length(
    table: dict[str, Any], records: list[dict[str, Any]]
) -> None:
    columns = table["papers"]
    assert columns["key"] == [paper["key"] for paper in records]
    assert {len(column) for column in columns.values()} == {len(records)}
    assert columns["title"] == [paper["title"] for paper in records]


# The page, held against the records


def open_explorer(visit: Visit, search: str = "") -> Page:
    """The explorer with its table loaded."""
    page = visit.go(f"papers/{search}")
    page.wait_for_selector("[data-ready]")
    return page


def selection(page: Page) -> list[str]:
    """The keys of all papers selected, in order, as the JSON export tells them."""
    with page.expect_download() as download:
        page.get_by_role("button", name="JSON").click()
    document = json.loads(download.value.path().read_text("utf-8"))
    assert document["count"] == len(document["papers"])
    return [paper["key"] for paper in document["papers"]]


SELECT = """async (states) => {
    const { emptyState, readTable, select } = await import(new URL("../assets/js/explorer-table.js", location.href));
    const table = await readTable(await (await fetch("table.json")).json());
    return states.map((given) => {
        const state = { ...emptyState(), ...given };
        for (const [name, value] of Object.entries(given)) if (Array.isArray(value)) state[name] = new Set(value);
        const { rows, counts } = select(table, state);
        return { keys: rows.map((row) => row.key), techniques: Object.fromEntries(counts.technique) };
    });
}"""


def random_states(records: list[dict[str, Any]], slugs: list[str], count: int) -> list[dict[str, Any]]:
    rng = random.Random(0)
    venues = sorted({paper["published"]["venue"] for paper in records if paper.get("published", {}).get("venue")})
    words = sorted({word.lower() for paper in records for word in re.findall(r"[A-Za-z]{4,}", paper["title"])})
    options: dict[str, Callable[[], Any]] = {
        "q": lambda: rng.choice(words)[:5],
        "from": lambda: rng.randint(2018, 2025),
        "to": lambda: rng.randint(2020, 2026),
        "technique": lambda: rng.sample(slugs, rng.randint(1, 3)),
        "saves": lambda: rng.sample(["memory", "latency", "energy", "money"], rng.randint(1, 2)),
        "venue": lambda: rng.sample(venues, 4),
        "has": lambda: ["code"],
    }
    return [{name: options[name]() for name in rng.sample(sorted(options), rng.randint(0, 3))} for _ in range(count)]


def passes(paper: dict[str, Any], state: dict[str, Any], *, but: str = "") -> bool:
    """Whether the record passes, by a reading of the filters of its own."""
    names = [f"{author.get('given', '')} {author['family']}" for author in paper.get("authors", ())]
    text = " ".join([paper["title"], *names, paper["key"], paper.get("preprint", {}).get("arxiv", "")]).lower()
    tests = {
        "q": lambda value: value in text,
        "from": lambda value: paper["year"] >= value,
        "to": lambda value: paper["year"] <= value,
        "technique": lambda value: any(under(paper, slug) for slug in value),
        "saves": lambda value: any(word in paper["effective_saves"] for word in value),
        "venue": lambda value: paper.get("published", {}).get("venue") in value,
        "has": lambda value: "code" in paper,
    }
    return all(tests[name](value) for name, value in state.items() if name != but)


@browser
def test_selections_and_counts_are_those_of_the_records(
    visit: Visit, site: Site, records: list[dict[str, Any]]
) -> None:
    slugs = [page["slug"] for page in json.loads((site.public / "api/v1/techniques.json").read_text())["techniques"]]
    states = random_states(records, slugs, 40)
    answers = open_explorer(visit).evaluate(SELECT, states)
    for state, answer in zip(states, answers, strict=True):
        assert (state, answer["keys"]) == (state, [paper["key"] for paper in records if passes(paper, state)])
        offered = [paper for paper in records if passes(paper, state, but="technique")]
        counts = Counter(slug for paper in offered for slug in slugs if under(paper, slug))
        assert (state, answer["techniques"]) == (state, dict(counts))
    assert sum(bool(answer["keys"]) for answer in answers) > 20  # most of the states select something


@browser
@pytest.mark.parametrize(
    ("sort", "key"),
    [
        ("title", lambda paper: re.sub(r"^\W+", "", paper["title"].lower())),
        ("year", lambda paper: paper["year"]),
        ("venue", lambda paper: paper.get("published", {}).get("venue", "\uffff").lower()),
    ],
)
def test_sorting_puts_the_papers_in_order_and_back(
    visit: Visit, records: list[dict[str, Any]], sort: str, key: Callable[[dict[str, Any]], Any]
) -> None:
    page = open_explorer(visit, f"?technique={QUANTIZATION}&sort={sort}")
    papers = {paper["key"]: paper for paper in records}
    plain = [key(papers[name]) for name in selection(page)]
    assert plain == sorted(plain)
    page.select_option("#sort", "-year")
    newest = selection(page)
    assert newest == [paper["key"] for paper in records if under(paper, QUANTIZATION)]


# Files


@browser
def test_bibtex_of_a_selection_is_that_of_the_library(visit: Visit, site: Site) -> None:
    page = open_explorer(visit, "?q=quant&venue=ICML&venue=NeurIPS&from=2022&sort=title")
    keys = selection(page)
    with page.expect_download() as download:
        page.get_by_role("button", name="BibTeX").click()
    assert download.value.suggested_filename == "frugalfm-papers.bib"
    entries = load_catalogue(site.source).entries
    wanted = "\n".join(export.bibtex(key, entries[key].paper) for key in keys)
    assert len(keys) > 10
    assert download.value.path().read_text("utf-8") == wanted


@browser
def test_csv_of_a_selection_reads_back(visit: Visit, records: list[dict[str, Any]]) -> None:
    page = open_explorer(visit, "?technique=systems&from=2024")
    with page.expect_download() as download:
        page.get_by_role("button", name="CSV").click()
    rows = list(csv.DictReader(download.value.path().read_text("utf-8").splitlines()))
    wanted = [paper for paper in records if under(paper, "systems") and paper["year"] >= 2024]
    assert [(row["key"], row["title"]) for row in rows] == [(paper["key"], paper["title"]) for paper in wanted]
    assert [row["techniques"] for row in rows] == ["; ".join(paper["techniques"]) for paper in wanted]
    assert [row["doi"] for row in rows] == [paper.get("published", {}).get("doi", "") for paper in wanted]


@browser
def test_a_spreadsheet_runs_no_formula_of_a_title(visit: Visit) -> None:
    code = """async () => (await import(new URL("../assets/js/explorer-export.js", location.href))).csv([
        { key: "k", title: '=HYPERLINK("http://x","y")', authors: ["@A"], year: 2024, venue: "", techniques: [],
          saves: [], evidence: "listed", arxiv: "", doi: "" }])"""
    row = next(csv.DictReader(open_explorer(visit).evaluate(code).splitlines()))
    assert (row["title"], row["authors"]) == ('\'=HYPERLINK("http://x","y")', "'@A")


def test_the_newest_come_first(table: dict[str, Any], site: Site) -> None:
    entries = load_catalogue(site.source).entries.values()
    assert table["papers"]["key"] == [entry.key for entry in sorted(entries, key=age_key, reverse=True)]
