"""Which papers stand on a technique's timeline, and how it and the pairs of techniques look in the page."""

import re
from pathlib import Path

import pytest

from scripts.catalogue.check import check
from scripts.catalogue.load import Entry
from scripts.catalogue.model import Paper
from scripts.website.derive import derive
from scripts.website.timeline import IN_A_YEAR, NOTABLE, notable, split_title, timeline
from tests.builders import checkout, complaints, page
from tests.site.conftest import Site

WEIGHT_ONLY = "techniques/algorithms/model-compression/quantization/weight-only/"


def paper(key: str, year: int, level: str = "listed") -> Entry:
    summary = "What it does." if level == "reviewed" else None
    fields = {"title": f"{key}: a work", "year": year, "techniques": ["systems"], "level": level, "summary": summary}
    return Entry(key, f"entries/{year}/{key}.yaml", Paper.model_validate(fields))


MANY = [paper(f"work-{year}-{n}", year) for year in range(2015, 2026) if year != 2018 for n in range(9)]


def test_every_paper_is_counted_once() -> None:
    years = timeline("systems", MANY, set(), set())
    assert sum(len(year.milestones) + year.others for year in years) == len(MANY)
    assert [year.year for year in years] == [year for year in range(2015, 2026) if year != 2018]
    assert [year.year for year in years if year.skipped] == [2019]


def test_what_is_implemented_or_reviewed_comes_before_what_is_new() -> None:
    old, read = paper("old", 2016), paper("read", 2017, "reviewed")
    keys = [entry.key for entry in notable([*MANY, old, read], {"old"})]
    assert keys[0] == "work-2015-0"  # the first of all
    assert keys[1:3] == ["old", "read"]
    assert keys[3].startswith("work-2025")
    assert len(keys) == NOTABLE + 1


def test_one_year_does_not_fill_the_line() -> None:
    chosen = [entry.paper.year for entry in notable(MANY, set())]
    assert max(map(chosen.count, chosen)) == IN_A_YEAR


def test_two_papers_are_no_development() -> None:
    assert timeline("systems", MANY[:2], set(), set()) == []


@pytest.mark.parametrize(
    ("title", "parts"),
    [
        ("GPTQ: Accurate Quantization", ("GPTQ", "Accurate Quantization")),
        ("Half-Quadratic Quantization", ("Half-Quadratic Quantization", "")),
        ("Once for all the many words before a colon: x", ("Once for all the many words before a colon: x", "")),
    ],
)
def test_the_name_in_a_title(title: str, parts: tuple[str, str]) -> None:
    assert split_title(title) == parts


def test_pages_with_papers_have_a_timeline_that_leads_to_them(site: Site) -> None:
    html = site.html(WEIGHT_ONLY)
    block = html[html.index('class="time ') : html.index("</ol>", html.index('class="time '))]
    assert 'href="../../../../../papers/gptq/"' in block
    assert "implemented" in block
    assert len(re.findall(r"<b>\d{4}</b>", block)) >= 4
    query = r'href="\.\./\.\./\.\./\.\./\.\./papers/\?technique=[^"]+&amp;from=\d{4}&amp;to=\d{4}"'
    assert re.search(query, block)


def pair(root: Path, systems: str = "", other: str = "") -> Path:
    """Two areas whose front matter has these fields."""
    front = [dict([line.split(": ", 1)]) if line else {} for line in (systems, other)]
    files = {"techniques/systems/index.md": page(**front[0]), "techniques/measurement/index.md": page(**front[1])}
    return checkout(root, files)


def test_a_pair_named_once_stands_on_both_pages(tmp_path: Path) -> None:
    root = pair(tmp_path, "combines: [measurement]")
    assert complaints(root) == []
    derived = derive(check(root, use_cache=False)[0])
    assert derived.combines == {"systems": ["measurement"], "measurement": ["systems"]}
    assert derived.conflicts == {"systems": [], "measurement": []}


@pytest.mark.parametrize(
    ("systems", "other", "message"),
    [
        ("combines: [nowhere]", "", "index.md:9:1: combines: there is no page techniques/nowhere.md; did you mean"),
        ("conflicts: [systems]", "", "conflicts: names the page itself"),
        ("combines: [measurement, measurement]", "", 'combines: "measurement" is named twice'),
        ("combines: [measurement]", "conflicts: [systems]", 'combines: "measurement" stands under conflicts too'),
        ("combines: measurement", "", "expected a list"),
        ("combines: [../measurement]", "", "expected the path of a page under techniques/"),
        ("conflict: [measurement]", "", "unknown field; did you mean conflicts?"),
    ],
)
def test_what_is_wrong_with_a_pair(tmp_path: Path, systems: str, other: str, message: str) -> None:
    assert any(message in found for found in complaints(pair(tmp_path, systems, other)))


def test_both_pages_of_a_pair_show_it(site: Site) -> None:
    semi = site.html("techniques/algorithms/model-compression/pruning/semi-structured/")
    low = site.html("techniques/algorithms/model-compression/low-rank-decomposition/")
    for html, title in ((semi, "Low-rank decomposition"), (low, "Semi-structured")):
        block = html[html.index("<h2>Conflicts with</h2>") :][:400]
        assert title in block
