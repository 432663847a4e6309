"""What a build does with good, nasty and broken sources, and how heavy the pages are that come of it."""

import gzip
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pytest

from scripts.catalogue.dump import SCHEMA_LINE
from tests.site.conftest import ROOT, Site, run_build, small_checkout

NASTY = (
    r"""x" y & 'z' --> ]]> */ $ {x \frac{a}{b} $O(n^2)$ a < b > c %3Cscript%3E `t` """
    "\u0627\u0644\u0639\u0631\u0628\u064a\u0629 \u4e2d\u6587 \U0001d54f caf\u00e9"
)
"""Everything a title may hold that means something to HTML, JSON, JavaScript, LaTeX, a template or a URL."""

QUOTED = json.dumps(NASTY, ensure_ascii=False)
NASTY_ENTRY = f"""{SCHEMA_LINE}title: {QUOTED}
authors: [{{family: "O'Neil \\"Q\\" & < > Sons"}}, {{family: "\u062d\u0633\u0646", given: "A. --> B."}}]
year: 2024
techniques: [systems]
level: reviewed
summary: {QUOTED}
claims:
  - {{id: nasty, says: {QUOTED}, metric: latency, form: ratio, value: 2, against: {QUOTED}, where: p. 1, seen: source}}
sources: [{QUOTED}]
note: {QUOTED}
"""

BLOCK_TORCH = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            raise RuntimeError("torch is imported")

sys.meta_path.insert(0, Blocked())
"""


@pytest.fixture(scope="module")
def without_torch(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment whose Python processes, mkdocs' too, stop at `import torch`."""
    folder = tmp_path_factory.mktemp("blocker")
    (folder / "sitecustomize.py").write_text(BLOCK_TORCH)
    return {"PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)])}


@pytest.fixture(scope="module")
def nasty(tmp_path_factory: pytest.TempPathFactory, without_torch: dict[str, str]) -> Path:
    """public/ of a small checkout with an entry full of special characters, built where torch cannot be imported."""
    root = small_checkout(tmp_path_factory.mktemp("nasty") / "frugalfm", {"entries/2024/nasty.yaml": NASTY_ENTRY})
    done = run_build(root, "--no-search", **without_torch)
    assert done.returncode == 0, done.stdout + done.stderr
    return root / "public"


def test_building_needs_no_torch(nasty: Path) -> None:
    assert (nasty / "papers/nasty/index.html").exists()


def test_the_blocker_would_catch_an_import_of_torch(without_torch: dict[str, str]) -> None:
    code = "import scripts.website.build; import torch.nn"
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | without_torch, capture_output=True, text=True, check=False
    )
    assert "torch is imported" in done.stderr


class Reader(HTMLParser):
    """Elements and texts of a page, as a browser would see them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.meta: dict[str, str | None] = {}
        self.texts: list[tuple[str, str]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        found = dict(attrs)
        if tag == "meta" and (name := found.get("name") or found.get("property")):
            self.meta[name] = found.get("content")

    def handle_data(self, data: str) -> None:
        self.texts.append((self.tags[-1] if self.tags else "", data))


def test_special_characters_appear_as_they_are_in_body_and_head(nasty: Path) -> None:
    html = (nasty / "papers/nasty/index.html").read_text("utf-8")
    page = Reader(html)
    assert NASTY in [text for tag, text in page.texts if tag == "h1"]
    assert sum(NASTY in text for _, text in page.texts) >= 5  # title, summary, claim, source, note
    assert page.meta["citation_title"] == page.meta["og:title"] == NASTY
    assert NASTY not in html  # it holds quotes and angle brackets, which have to be escaped


def test_special_characters_add_no_element(nasty: Path, site: Site) -> None:
    page = Reader((nasty / "papers/nasty/index.html").read_text("utf-8"))
    plain, reviewed = Reader(site.html("papers/gptq")), Reader(site.html("papers/superflow"))
    assert set(page.tags) <= {*plain.tags, *reviewed.tags}
    assert page.tags.count("script") == plain.tags.count("script")


def test_special_characters_survive_in_every_format(nasty: Path) -> None:
    html = (nasty / "papers/nasty/index.html").read_text("utf-8")
    data = re.search(r'<script type="application/ld\+json">(.*?)</script>', html, re.DOTALL)
    assert data and json.loads(data[1])["name"] == NASTY
    assert "<" not in data[1] and "&" not in data[1]
    csl = json.loads((nasty / "papers/nasty/nasty.json").read_text("utf-8"))
    assert csl[0]["title"] == NASTY
    assert f"TI  - {NASTY}\r\n" in (nasty / "papers/nasty/nasty.ris").read_bytes().decode()
    papers = json.loads((nasty / "api/v1/papers.json").read_text("utf-8"))["papers"]
    assert [paper["title"] for paper in papers if paper["key"] == "nasty"] == [NASTY]
    for page in ("years/2024", "techniques/systems"):
        assert NASTY in unescape((nasty / page / "index.html").read_text("utf-8"))


@pytest.fixture
def broken(tmp_path: Path) -> Iterator[Path]:
    """A small checkout with a site already in public/; whatever the test breaks, that site has to survive."""
    root = small_checkout(tmp_path / "frugalfm")
    (root / "public").mkdir()
    (root / "public" / "index.html").write_text("the last good site")
    yield root
    assert [path.name for path in (root / "public").iterdir()] == ["index.html"]
    assert (root / "public" / "index.html").read_text() == "the last good site"


def refused(root: Path) -> str:
    """What a build that has to fail says."""
    done = run_build(root, "--no-search")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def test_data_errors_stop_the_build_and_are_all_reported(broken: Path) -> None:
    (broken / "entries/2024").mkdir(exist_ok=True)
    (broken / "entries/2024/one.yaml").write_text(NASTY_ENTRY.replace("level: reviewed", "level: best"))
    (broken / "entries/2024/two.yaml").write_text(NASTY_ENTRY.replace("[systems]", "[sistems]"))
    said = refused(broken)
    assert "entries/2024/one.yaml:" in said
    assert "entries/2024/two.yaml:" in said


def test_a_missing_library_is_named_with_the_command_that_installs_it(broken: Path) -> None:
    (broken / "node_modules").unlink()
    assert re.search(r"plotly\S* is missing; run `python -m scripts setup`", refused(broken))


def test_a_missing_search_program_is_named_with_the_command_that_installs_it(tmp_path: Path) -> None:
    from scripts.website.build import index_search
    from scripts.website.errors import MissingLibrary

    with pytest.raises(MissingLibrary, match=r"pagefind is missing .* run `python -m scripts setup`"):
        index_search(tmp_path, tmp_path)


MARKS = [("site/theme/shell.html", "body"), ("site/theme/technique.html", "after")]


@pytest.mark.parametrize(("file", "mark"), MARKS)
def test_a_theme_without_a_mark_is_refused(broken: Path, file: str, mark: str) -> None:
    theme = broken / file
    theme.write_text(theme.read_text().replace(f"<!--stamp:{mark}-->", ""))
    assert re.search(rf"expected the marks \[[^\]]*'{mark}'[^\]]*\], found ", refused(broken))


def test_a_dangling_link_in_prose_is_refused(broken: Path) -> None:
    with (broken / "site/pages/about.md").open("a") as stream:
        stream.write("\n\n[gone](gone.md)\n")
    assert "gone.md" in refused(broken)


def test_every_entry_has_its_page_and_three_formats(site: Site) -> None:
    papers = json.loads((site.public / "api/v1/papers.json").read_text("utf-8"))["papers"]
    assert {paper["key"] for paper in papers} == site.paper_keys()
    found = {path.relative_to(site.public / "papers").as_posix() for path in site.public.glob("papers/*/*")}
    assert found == {
        f"{k}/{name}" for k in site.paper_keys() for name in ("index.html", f"{k}.bib", f"{k}.ris", f"{k}.json")
    }


def zipped(content: bytes) -> int:
    return len(gzip.compress(content, 6))


LONG_AUTHOR_LIST = 40
"""With more authors than this, the names alone (on the page, in its head, as BibTeX) outweigh everything else."""


def test_pages_of_listed_papers_are_light(site: Site) -> None:
    papers = json.loads((site.public / "api/v1/papers.json").read_text("utf-8"))["papers"]
    listed = [p for p in papers if p["level"] == "listed" and len(p.get("authors", ())) <= LONG_AUTHOR_LIST]
    pages = {paper["key"]: (site.public / "papers" / paper["key"] / "index.html").read_bytes() for paper in listed}
    assert [f"{key}: {len(html):,} bytes" for key, html in pages.items() if len(html) > 25_000] == []
    assert [f"{key}: {zipped(html):,} gzipped" for key, html in pages.items() if zipped(html) > 6_000] == []


CLAIMS_OF_A_LIGHT_PAGE = 15
"""With more claims than this, their words alone weigh what a page may."""


def test_pages_of_reviewed_papers_are_light(site: Site) -> None:
    papers = json.loads((site.public / "api/v1/papers.json").read_text("utf-8"))["papers"]
    reviewed = [p["key"] for p in papers if len(p.get("claim_ids", ())) in range(1, CLAIMS_OF_A_LIGHT_PAGE + 1)]
    pages = {key: (site.public / "papers" / key / "index.html").read_bytes() for key in reviewed}
    assert len(pages) > 10
    assert [f"{key}: {zipped(html):,} gzipped" for key, html in pages.items() if zipped(html) > 6_000] == []


def test_pages_of_techniques_are_light_and_lead_to_what_they_leave_out(site: Site) -> None:
    """Whatever was recorded. The budget is 26 kB; the bound leaves room for the words of a long page."""
    pages = {path.parent: path.read_text("utf-8") for path in site.public.glob("techniques/**/index.html")}
    weights = {folder.relative_to(site.public).as_posix(): zipped(html.encode()) for folder, html in pages.items()}
    assert {name: weight for name, weight in weights.items() if weight > 32_000} == {}
    cut = [(folder, html) for folder, html in pages.items() if re.search(r"The numbers \(\d+ of \d+ rows\)", html)]
    assert cut
    for folder, html in cut:
        for href, figure, count in re.findall(r'<a href="([^"#]+)#(figure-[^"]+)">All (\d+) rows</a>', html):
            whole = (folder / href / "index.html").read_text("utf-8")
            shown = whole.partition(f'id="{figure}"')[2].partition("</figure>")[0]
            assert shown.partition("<tbody>")[2].count("<tr>") == int(count)


def test_the_frame_of_a_stamped_page_is_lean(site: Site) -> None:
    html = site.html("papers/gptq")
    body = re.search(r"<article.*</article>", html, re.DOTALL)
    frame = html.replace(body[0], "").encode() if body else b""
    assert 4_000 < len(frame) <= 7_500
    assert zipped(frame) <= 2_600
    assert re.search(rb"\n\s", frame) is None  # blank lines and indentation


@pytest.mark.parametrize("href", ["", "papers/gptq", "compare", "techniques"])
def test_the_generators_script_keeps_no_first_paint_waiting(site: Site, href: str) -> None:
    scripts = re.findall(r"<script[^>]* src=[^>]*>", site.html(href))
    assert scripts and all(" defer" in tag or 'type="module"' in tag for tag in scripts), scripts


@pytest.mark.parametrize("href", ["", "papers/gptq/", "papers/superflow/"])
def test_a_first_visit_without_a_plot_is_light(site: Site, href: str) -> None:
    html = site.html(href)
    found = re.findall(r'<link rel="stylesheet" href="([^"]+)"|<script src="([^"]+)"', html)
    files = [(site.public / href / (style or script)).resolve() for style, script in found]
    assert len(files) >= 5
    weights = {file.name: zipped(file.read_bytes()) for file in files} | {"html": zipped(html.encode())}
    assert sum(weights.values()) <= 80_000, weights


def test_the_size_of_a_page_does_not_depend_on_the_number_of_entries(site: Site, nasty: Path) -> None:
    def without_related(html: str) -> str:
        html = re.sub(r'<section aria-labelledby="claims".*?</table>', "", html, flags=re.DOTALL)  # judged by results/
        return re.sub(r'<section aria-labelledby="related".*?</section>', "", html, flags=re.DOTALL)

    small, large = (nasty / "papers/gptq/index.html").read_text("utf-8"), site.html("papers/gptq")
    assert abs(len(without_related(large)) - len(without_related(small))) <= 64
