"""Build the site: load, derive, write sources, let the generator render them, stamp the records in, index, check.

Every step reads what the one before it wrote; nothing is fetched. The finished site is put in place by a rename, so
that an interrupted build leaves the old one standing. The site before it stays in build/public, where the next build
finds most files as it wants them.
"""

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from scripts.catalogue.check import check, no_garbage_collection
from scripts.website.api import api_files, bib_files, paper_files
from scripts.website.derive import derive
from scripts.website.errors import BuildError, DataError, MissingLibrary
from scripts.website.evidence_api import evidence_files
from scripts.website.explorer import TABLE_HREF
from scripts.website.feeds import atom, llms, newest_added, robots, sitemap
from scripts.website.figures import FigureView
from scripts.website.ledger import LEDGER_HREF, ledger_csv
from scripts.website.outline import OUTLINES
from scripts.website.output import Output
from scripts.website.overview_figures import catalogue_figures
from scripts.website.pages import ROOT, SHELL_MARKS, Pages, link_papers
from scripts.website.planner import STATIC, planner_files
from scripts.website.plots.points import DRAWN
from scripts.website.redirects import redirect_files
from scripts.website.reference import HIGHLIGHTED
from scripts.website.remember import remembering
from scripts.website.render import render
from scripts.website.settings import read_settings
from scripts.website.social import SOCIAL_HREF, social_image
from scripts.website.sources import LIBRARY_SHELL, SHELL, write_sources
from scripts.website.staleness import forget
from scripts.website.stamp import Shell, fill_page, tight
from scripts.website.views import Views

NEWEST = 8
SHELL_FILE = f"{SHELL}/index.html"
LIBRARY_FILE = f"{LIBRARY_SHELL}/index.html"


@dataclass
class Report:
    """What a build did: pages by kind, and seconds of wall and processor time by step."""

    pages: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    cpu_seconds: dict[str, float] = field(default_factory=dict)


def build(root: Path, *, search: bool = True, say: Callable[[str], None] = lambda _: None) -> Report:
    """Build public/ from the checkout at `root`. Raises BuildError, with every problem found."""
    with no_garbage_collection(), remembering(root / "build" / "cache", DRAWN, HIGHLIGHTED, OUTLINES, STATIC):
        return _build(root, search, say)


def _build(root: Path, search: bool, say: Callable[[str], None]) -> Report:
    report = Report()
    forget()

    @contextmanager
    def step(name: str) -> Iterator[None]:
        say(name)
        start, cpu = time.perf_counter(), _cpu_seconds()
        yield
        report.seconds[name] = time.perf_counter() - start
        report.cpu_seconds[name] = _cpu_seconds() - cpu

    with step("read and check the catalogue"):
        settings = read_settings(root)
        catalogue, problems = check(root)
        if errors := [found for found in problems if found.severity == "error"]:
            raise DataError(errors)
    with step("derive"):
        derived = derive(catalogue)
        views = Views(derived, settings)
        pages = Pages(views, views.tree(), settings)
        figures = catalogue_figures(derived, pages.tree)
    with step("write the sources"):
        config = write_sources(catalogue, pages.tree, settings)
    with step("render what people wrote"):
        rendered = render(root, config)
    output = Output(root / "build" / "public")
    with step("stamp the papers"):
        # Pages of years, venues and runs are as deep as those of papers, but elsewhere: "../" is not always papers/.
        html = tight((rendered / SHELL_FILE).read_text("utf-8")).replace('href="../"', f'href="{ROOT}papers/"')
        shell = Shell.cut(html, SHELL_MARKS, SHELL_FILE)
        elsewhere = Shell.cut(html.replace(' aria-current="true"', ""), SHELL_MARKS, SHELL_FILE)  # no paper's page
        report.pages["from records"] = _write_pages(output, pages.papers(shell))
    with step("stamp lists and techniques"):
        report.pages["from records"] += _write_pages(output, pages.lists(shell))
        library = Shell.cut(tight((rendered / LIBRARY_FILE).read_text("utf-8")), SHELL_MARKS, LIBRARY_FILE)
        report.pages["from records"] += _write_pages(output, pages.references(library))
        report.pages["from records"] += _write_pages(output, pages.records(elsewhere))
        report.pages["from records"] += _write_pages(output, pages.numbers(elsewhere))
        report.pages["from records"] += _write_pages(output, pages.comparisons(elsewhere))
        marks = pages.marks(figures, newest_added(derived, settings)[:NEWEST])
        report.pages["from prose"] = _fill_rendered(output, rendered, marks)
    with step("export the data"):
        _export(output, pages, figures)
        output.prune()
    if search:
        with step("index for the search"):
            index_search(root, output.folder)
    with step("put in place"):
        _put_in_place(output.folder, settings.public)
    return report


def _cpu_seconds() -> float:
    """Processor time of this process and of those that it waited for."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def _write_pages(output: Output, pages: Iterable[tuple[str, str]]) -> int:
    """Write pages, each at its address; -> how many."""
    count = 0
    for href, html in pages:
        output.write(f"{href}index.html", html)
        count += 1
    return count


def _fill_rendered(output: Output, rendered: Path, marks: dict[str, dict[str, str]]) -> int:
    """Fill the rendered pages that have marks, copy everything else that was rendered; -> how many were filled."""
    for href, values in marks.items():
        file = f"{href}index.html"
        html = fill_page((rendered / file).read_text("utf-8"), values, file)
        output.write(file, link_papers(html, "../" * href.count("/") or "./"))
    output.copy_tree(rendered, skip=_unused(rendered))
    return len(marks)


def _unused(rendered: Path) -> set[str]:
    """What the theme brings and no page asks for: source maps, and the search that Pagefind replaces."""
    scripts = rendered / "assets" / "javascripts"
    files = [*rendered.rglob("*.map"), *(scripts / "lunr").rglob("*"), *(scripts / "workers").rglob("*")]
    return {SHELL_FILE, LIBRARY_FILE} | {path.relative_to(rendered).as_posix() for path in files}


def _export(output: Output, pages: Pages, figures: list[FigureView]) -> None:
    views, derived, settings = pages.views, pages.derived, pages.settings
    files = api_files(derived, views, settings, pages.ledger, pages.gaps) | bib_files(views) | dict(pages.bib_files())
    files |= planner_files(pages.planner)
    files |= evidence_files(pages.comparison)
    files |= redirect_files(settings.root, settings.site_url)
    for figure in [*figures, *pages.families.figures()]:
        files |= {figure.json_href: figure.json_text(), figure.csv_href: figure.csv_text()}
    hrefs = sorted(path.removesuffix("index.html") for path in output.files if path.endswith("/index.html"))
    files |= {
        "feed.xml": atom(derived, settings),
        "sitemap.xml": sitemap(["", *hrefs], settings),
        "robots.txt": robots(settings),
        "llms.txt": llms(pages.tree, derived, settings),
        TABLE_HREF: pages.explorer.table(),
        LEDGER_HREF: ledger_csv(pages.ledger),
    }
    output.write(SOCIAL_HREF, social_image())
    for path, text in files.items():
        output.write(path, text)
    for entry in derived.newest:
        for path, text in paper_files(entry, views).items():
            output.write(path, text)


def index_search(root: Path, public: Path) -> None:
    """Run Pagefind over the finished HTML."""
    # The program itself rather than its npm wrapper, which would need a node on the search path.
    found = (root / "node_modules" / "@pagefind").glob("*/bin/pagefind*")
    programs = sorted(path for path in found if path.suffix in ("", ".exe"))
    if not programs:
        raise MissingLibrary("pagefind is missing in node_modules/; run `python -m scripts setup` (or `make site`)")
    command = [str(programs[0].resolve()), "--site", str(public.resolve()), "--silent"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BuildError(f"pagefind could not index the site:\n{done.stdout}{done.stderr}".rstrip())


def _put_in_place(staging: Path, public: Path) -> None:
    """Exchange the two: what was public is brought up to date by the next build."""
    old = staging.with_name("public.old")
    shutil.rmtree(old, ignore_errors=True)
    if public.exists():
        public.rename(old)
    staging.rename(public)
    if old.exists():
        old.rename(staging)
