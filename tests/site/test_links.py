"""Every address of the built site leads somewhere, and the checker that says so finds every kind of fault."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.website.links import check_links
from scripts.website.settings import read_site_url
from tests.site.conftest import ROOT, Site

SITE_URL = "https://site.example/"


def test_the_site_has_no_broken_link(site: Site) -> None:
    assert [str(problem) for problem in check_links(site.public, read_site_url(ROOT))] == []


def small_site(public: Path, body: str = "", **files: str) -> Path:
    """Two pages, of which one holds `body` in its third line, and other files by path."""
    pages = {
        "index.html": f'<!doctype html>\n<html id="top-of-page">\n{body}\n</html>',
        "papers/gptq/index.html": '<h1 id="cite">GPTQ</h1><a href="../../">home</a>',
        "figures/a.csv": "year,papers\n",
    }
    for name, text in (pages | files).items():
        (public / name).parent.mkdir(parents=True, exist_ok=True)
        (public / name).write_text(text, "utf-8")
    return public


def faults(public: Path) -> list[str]:
    return [str(problem) for problem in check_links(public, SITE_URL)]


SOUND = [
    '<a href="papers/gptq/">',
    '<a href="./papers/gptq/#cite">',
    '<a href="papers/gptq/index.html?print=1#cite">',
    '<a href="papers/..">',
    '<a href="/papers/gptq/">',
    '<a href="#">',
    '<a href="#top">',
    '<a href="#top-of-page">',
    '<a href="papers/%67ptq/">',
    '<a href="https://elsewhere.example/a b">',
    "<a href='mailto:a@b.example'>",
    f'<link rel="canonical" href="{SITE_URL}">',
    f"<p>See {SITE_URL}papers/gptq/, or {SITE_URL}papers/gptq/#cite.</p>",
    '<!-- <a href="gone/"> -->',
    "<script>x = '<a href=\"gone/\">'</script>",
    '<style>a::after{content:"<a href=gone/>"}</style>',
    '<a data-href="gone/" title="> href=gone/">',
    "<p>an apostrophe's href=gone/</p>",
    '<img src="data:image/png;base64,AA==">',
    '<img srcset="figures/a.csv 1x, figures/a.csv 2x">',
    '<link rel="alternate" href="https://elsewhere.example/feed">',
]


@pytest.mark.parametrize("body", SOUND)
def test_sound_links_pass(tmp_path: Path, body: str) -> None:
    assert faults(small_site(tmp_path, body)) == []


NO_FILE = "no such file in the site"
NO_GONE = 'the page has no element with id "gone"'
ONLY = "only https, http, mailto may"
RELATIVE = "is fetched by its full address; write it relative to the page"
LEAVES = "would be fetched from another site; nothing may be"
BROKEN = [
    ('<a href="papers/gone/">', "papers/gone/ -> papers/gone/index.html: " + NO_FILE),
    ("<a class=x href='papers/gone/'>", "papers/gone/ -> papers/gone/index.html: " + NO_FILE),
    ("<a href=papers/gone/>", "papers/gone/ -> papers/gone/index.html: " + NO_FILE),
    ('<a title="a > b" href="papers/gone/">', "papers/gone/ -> papers/gone/index.html: " + NO_FILE),
    ('<a href="papers/gptq">', 'papers/gptq -> papers/gptq: is a folder; write a "/" after it'),
    ('<a href="../papers/">', "../papers/ -> ../papers: leads out of the site's root"),
    ('<a href="/papers/gone/">', "/papers/gone/ -> papers/gone/index.html: " + NO_FILE),
    ('<a href="papers/gptq/#gone">', f"papers/gptq/#gone -> papers/gptq/index.html: {NO_GONE}"),
    ('<a href="#gone">', f"#gone -> index.html: {NO_GONE}"),
    ('<a href="">', '"": is empty; link to something or leave it out'),
    ('<b id="a"></b><b id="a"></b>', "#a: is the id of more than one element of this page"),
    ('<a href="javascript:alert(1)">', f"javascript:alert(1): leads out of the site by javascript; {ONLY}"),
    ('<a href="java&#10;script:x">', f"java\\nscript:x: leads out of the site by java\\nscript; {ONLY}"),
    ('<a href="data:text/html,x">', f"data:text/html,x: leads out of the site by data; {ONLY}"),
    ('<a href="//elsewhere.example/">', f"//elsewhere.example/: leads out of the site by //; {ONLY}"),
    ('<script src="https://cdn.example/x.js"></script>', f"https://cdn.example/x.js: {LEAVES}"),
    ('<link rel="stylesheet" href="//cdn.example/x.css">', f"//cdn.example/x.css: {LEAVES}"),
    ('<link rel="preconnect" href="https://cdn.example">', f"https://cdn.example: {LEAVES}"),
    ('<img srcset="figures/a.csv 1x, gone.png 2x">', "gone.png -> gone.png: " + NO_FILE),
    ('<figure data-figure="figures/gone.json">', "figures/gone.json -> figures/gone.json: " + NO_FILE),
    (f'<img src="{SITE_URL}figures/a.csv">', f"{SITE_URL}figures/a.csv: {RELATIVE}"),
    (f'<link rel="canonical" href="{SITE_URL}gone/">', f"{SITE_URL}gone/ -> gone/index.html: {NO_FILE}"),
    (f'<script type="x">{{"@id":"{SITE_URL}gone/"}}</script>', f"{SITE_URL}gone/ -> gone/index.html: {NO_FILE}"),
    (f"<p>Read {SITE_URL}gone.json.</p>", f"{SITE_URL}gone.json -> gone.json: {NO_FILE}"),
]


@pytest.mark.parametrize(("body", "message"), BROKEN)
def test_each_kind_of_broken_link_is_reported_where_it_stands(tmp_path: Path, body: str, message: str) -> None:
    found = faults(small_site(tmp_path, body))
    assert [re.sub(r"^public/index\.html:3:\d+: ", "", text) for text in found] == [message]


OTHER_FILES = [
    ("feed.xml", f"<id>{SITE_URL}gone/</id>", f"{SITE_URL}gone/ -> gone/index.html: {NO_FILE}"),
    ("llms.txt", f"- [Papers]({SITE_URL}gone.json): all", f"{SITE_URL}gone.json -> gone.json: {NO_FILE}"),
    ("api/v1/papers.json", json.dumps({"page": SITE_URL + "gone/"}), f"{SITE_URL}gone/ -> gone/index.html: {NO_FILE}"),
    (
        "figures/a.json",
        json.dumps({"data": [{"customdata": ["papers/gptq/", "gone/"]}]}),
        f"gone/ -> gone/index.html: {NO_FILE}",
    ),
]


@pytest.mark.parametrize(("file", "text", "message"), OTHER_FILES)
def test_addresses_in_data_files_are_followed(tmp_path: Path, file: str, text: str, message: str) -> None:
    public = small_site(tmp_path, **{file: text})
    assert [re.sub(r":1:\d+: ", ": ", fault) for fault in faults(public)] == [f"public/{file}: {message}"]


def test_a_planted_fault_in_the_real_site_is_found(site: Site, tmp_path: Path) -> None:
    html = site.html("papers/gptq").replace("</h1>", '</h1>\n<a href="../no-such-paper/">', 1)
    public = small_site(tmp_path, **{"papers/gptq/index.html": html})
    message = f"../no-such-paper/ -> papers/no-such-paper/index.html: {NO_FILE}"
    assert any(fault.endswith(message) for fault in faults(public))


def test_the_command_reports_all_faults_and_fails(tmp_path: Path) -> None:
    (tmp_path / "mkdocs.yml").write_text(f"site_url: {SITE_URL}\n")
    small_site(tmp_path / "public", '<a href="one/">\n<a href="two/">')
    command = [sys.executable, "-m", "scripts", "links", "--root", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    where = [line.partition(" ")[0] for line in done.stdout.splitlines()]
    assert where == ["public/index.html:3:1:", "public/index.html:4:1:"]
    assert "2 pages: 2 errors" in done.stderr
