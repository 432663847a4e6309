"""The ways around the site: header, side column of the pages about it, and the doors of the home page."""

import re
from html import unescape
from pathlib import Path

import pytest

from scripts.website.sources import PLACES
from tests.site.conftest import Site, run_build, small_checkout


def places(page: str) -> list[tuple[str, str, str | None]]:
    """The header's links: address, label, and what of aria-current it says."""
    (header,) = re.findall(r'<nav class="places".*?</nav>', page, re.DOTALL)
    links = re.findall(r'<a href="([^"]*)"(?: aria-current="(\w+)")?>([^<]+)</a>', header)
    return [(href, unescape(label), current or None) for href, current, label in links]


def test_the_header_leads_to_every_place_there_is_in_its_order(site: Site) -> None:
    there = [(f"{page}/", label) for page, (label, _) in PLACES.items() if (site.public / page / "index.html").exists()]
    assert [(href, label) for href, label, _ in places(site.html(""))] == [(href, label) for href, label in there]
    assert {"papers/", "techniques/", "about/"} <= {href for href, _ in there}


@pytest.mark.parametrize(
    ("href", "label", "current"),
    [
        ("papers", "Papers", "page"),
        ("papers/gptq", "Papers", "true"),
        ("years/2024", "Papers", "true"),
        ("techniques/systems", "Techniques", "true"),
        ("data", "About", "true"),
        ("corrections", "About", "true"),
    ],
)
def test_the_header_marks_where_the_reader_is(site: Site, href: str, label: str, current: str) -> None:
    # A stamped page is made from the shell, which lies below papers/ wherever the page itself will lie.
    assert [(name, mark) for _, name, mark in places(site.html(href)) if mark] == [(label, current)]


def test_the_pages_about_the_site_list_each_other(site: Site) -> None:
    (side,) = re.findall(r'<nav class="side".*?</nav>', site.html("data"), re.DOTALL)
    labels = re.findall(r"<a [^>]*>([^<]+)</a>", side)
    assert [label for label in labels if label in ("About", "Data", "Contribute", "Corrections")] == [
        "About", "Data", "Contribute", "Corrections",
    ]  # fmt: skip
    assert re.search(r'aria-current="page">Data<', side)


def test_a_place_whose_page_is_missing_is_left_out(tmp_path: Path) -> None:
    root = small_checkout(tmp_path / "frugalfm")
    (root / "site/pages/contribute.md").unlink()
    for page in (*root.glob("site/pages/*.md"), *root.glob("techniques/**/*.md")):
        page.write_text(page.read_text("utf-8").replace("(contribute.md", "(about.md"), "utf-8")
    done = run_build(root, "--no-search")
    assert done.returncode == 0, done.stdout + done.stderr
    (side,) = re.findall(r'<nav class="side".*?</nav>', (root / "public/data/index.html").read_text("utf-8"), re.DOTALL)
    assert "Contribute" not in side
    assert "Corrections" in side


def test_every_door_of_the_home_page_leads_somewhere(site: Site) -> None:
    (doors,) = re.findall(r'<nav class="doors".*?</nav>', site.html(""), re.DOTALL)
    sections = re.findall(r"<section>.*?</section>", doors, re.DOTALL)
    assert [re.findall(r"<h2>(\w[\w ]+)</h2>", section) for section in sections] == [
        ["Choose"],
        ["Look up"],
        ["Import"],
    ]
    for section in sections:
        links = [re.split("[#?]", link)[0] for link in re.findall(r'href="([^"]+)"', section)]
        assert links
        assert [link for link in links if not (site.public / link / "index.html").exists()] == []
