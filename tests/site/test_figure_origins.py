"""Every figure of every page says beside it what a reader needs to judge and repeat it."""

import json
import re
from collections.abc import Iterator
from html import unescape
from typing import Any

import pytest

from scripts.catalogue.load import load_catalogue
from scripts.website.plots import PLOTS
from tests.site.conftest import Site

FIGURE = re.compile(r'<figure class="([\w -]+)"(.*?)</figure>', re.DOTALL)
DRAWN = {"idea", "scheme", "strip"}
"""Classes of figures that show no recorded number: drawings of ideas, and bars of papers by year."""
INTERVAL = re.compile(r"\[[^\]]*\d[^\]]*, [^\]]*\d[^\]]*\]|intervals?\b|ranges?\b|exact values", re.IGNORECASE)
SAMPLES = re.compile(r"n = \d+( to \d+)? a point|exact values, nothing to repeat")
Found = tuple[str, frozenset[str], str, str]


def figures_of(name: str, page: str) -> Iterator[Found]:
    """Page, classes, the figure, and the figure with the paragraph that it links for its run, all unescaped."""
    for classes, inside in FIGURE.findall(page):
        linked = [
            found
            for anchor in re.findall(r'href="#(run-[\w-]+)"', inside)
            for found in re.findall(rf'<p class="fine" id="{anchor}">(.*?)</p>', page, re.DOTALL)
        ]
        yield name, frozenset(classes.split()), unescape(inside), unescape(" ".join([inside, *linked]))


@pytest.fixture(scope="module")
def figures(site: Site) -> list[Found]:
    pages = {path.relative_to(site.public).as_posix(): path.read_text("utf-8") for path in site.public.rglob("*.html")}
    return [found for name, page in pages.items() for found in figures_of(name, page)]


@pytest.fixture(scope="module")
def runs(site: Site) -> list[dict[str, Any]]:
    found = []
    for path in sorted(site.source.glob("results/*/*.json")):
        run = json.loads(path.read_text("utf-8"))
        found.append({name: run[name] for name in ("machine", "started", "command", "code")})
    return found


def lacks(text: str, runs: list[dict[str, Any]]) -> list[str]:
    """What the words beside a figure of recorded numbers do not say; the run is the one whose command they name."""
    told = [run for run in runs if run["command"] in text and run["code"]["commit"][:7] in text]
    if not told:
        return ["commit and command of one run"]
    run = next((one for one in told if one["machine"]["cpu"] in text and one["started"][:10] in text), told[0])
    machine = run["machine"]
    wanted = {
        "hardware": (machine["name"], machine.get("gpu") or machine["cpu"], f"{machine['cores']} cores"),
        "software": (f"torch {machine['torch']}",),
        "date": (run["started"][:10],),
    }
    missing = [name for name, words in wanted.items() if not all(word in text for word in words)]
    missing += [] if SAMPLES.search(text) else ["n"]
    return missing + ([] if INTERVAL.search(text) else ["interval"])


def test_every_figure_of_recorded_numbers_says_where_they_come_from(
    figures: list[Found], runs: list[dict[str, Any]]
) -> None:
    evidence = [found for found in figures if "plot--evidence" in found[1]]
    assert len({name for name, *_ in evidence}) > 5
    faults = {
        (name, inside.partition(' id="')[2].partition('"')[0]): missing
        for name, _, inside, text in evidence
        if (missing := lacks(text, runs))
    }
    assert faults == {}


def test_every_kind_of_plot_that_has_numbers_was_looked_at(site: Site, figures: list[Found]) -> None:
    """A kind that a page names is drawn somewhere, unless nothing was recorded for it yet: that holds for few."""
    drawn = {kind for _, _, inside, _ in figures for kind in re.findall(r'^[^>]* data-kind="([\w-]+)"', inside)}
    named = {name for page in load_catalogue(site.source).pages.values() for name in page.technique.plots}
    assert named <= set(PLOTS)
    assert len(drawn & set(PLOTS)) >= len(named) / 2


def test_every_other_figure_names_its_source_and_offers_its_data(figures: list[Found]) -> None:
    others = [(n, c, i) for n, c, i, _ in figures if "plot--evidence" not in c and not c & DRAWN]
    assert others
    for name, classes, inside in others:
        assert "plot" in classes, (name, classes)
        foot = inside.partition('class="plot__foot"')[2]
        assert re.search(r"<span>[^<]{10,}</span>", foot), name
        assert [kind for kind in ("csv", "json") if not re.search(rf'href="[^"]+\.{kind}" download', foot)] == [], name


def test_a_figure_that_hides_something_is_told(runs: list[dict[str, Any]]) -> None:
    run = runs[0]
    machine = run["machine"]
    whole = (
        f"{machine['name']}, {machine.get('gpu') or machine['cpu']}, {machine['cores']} cores, "
        f"torch {machine['torch']}, {machine['cpu']}, {run['started'][:10]}; "
        f"n = 5 a point; 1.2 [1.1, 1.3]; commit {run['code']['commit'][:7]}, command {run['command']}"
    )
    assert lacks(whole, [run]) == []
    for cut, missing in (
        (machine["cpu"], "hardware"), (f"torch {machine['torch']}", "software"), (run["started"][:10], "date"),
        ("n = 5 a point", "n"), (" [1.1, 1.3]", "interval"), (run["command"], "commit and command of one run"),
    ):  # fmt: skip
        assert missing in lacks(whole.replace(cut, ""), [run])


def test_the_paragraph_that_a_figure_links_counts_as_beside_it() -> None:
    page = (
        '<figure class="plot plot--evidence" id="a"><a href="#run-x">n</a></figure><p class="fine" id="run-x">CPU</p>'
    )
    [(_, classes, _, text)] = figures_of("x", page)
    assert classes == {"plot", "plot--evidence"}
    assert "CPU" in text
