"""Build the site: load, derive, write sources, let the generator render them, stamp the records in, index, check.

Every step reads what the one before it wrote; nothing is fetched. The finished site is put in place by a rename, so
that an interrupted build leaves the old one standing.
"""

import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from dataclasses import replace as change
from pathlib import Path

from scripts.build.api import api_files, bib_files, paper_files
from scripts.build.derive import Derived, derive
from scripts.build.feeds import atom, llms, newest_added, robots, sitemap
from scripts.build.figures import FigureView, catalogue_figures
from scripts.build.pages import SHELL_MARKS, Pages, link_papers, technique_file
from scripts.build.settings import Settings, read_settings
from scripts.build.sources import OVERVIEWS, SHELL, write_sources
from scripts.build.stamp import Shell, fill_page
from scripts.build.views import TechniqueView, Views
from scripts.catalogue.check import check
from scripts.catalogue.problems import Problem

NEWEST = 8


class BuildError(RuntimeError):
    """The site could not be built; the message says why and what to do."""


class DataError(BuildError):
    """The data files have errors."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__(f"{len(problems)} errors in the data files; mend them, see `python -m scripts check`")
        self.problems = problems


@dataclass
class Report:
    """What a build did: pages by kind, and seconds of wall and processor time by step."""

    pages: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)


def build(root: Path, *, search: bool = True, say: Callable[[str], None] = lambda _: None) -> Report:
    """Build public/ from the checkout at `root`. Raises BuildError, with every problem found."""
    report = Report()

    @contextmanager
    def step(name: str) -> Iterator[None]:
        say(name)
        start = time.perf_counter()
        yield
        report.seconds[name] = time.perf_counter() - start

    with step("read and check the catalogue"):
        settings = read_settings(root)
        catalogue, problems = check(root)
        if errors := [found for found in problems if found.severity == "error"]:
            raise DataError(errors)
    with step("derive"):
        derived = derive(catalogue)
        views = Views(derived, settings)
        tree = views.tree()
        figures = catalogue_figures(derived, tree)
    with step("write the sources"):
        config = write_sources(catalogue, tree, settings)
    with step("render what people wrote"):
        staging = change(settings, root=root).root / "build" / "public"
        _render(root, config, staging)
    with step("stamp the records"):
        _stamp(Pages(views, tree, settings), figures, settings, staging, report)
        _export(derived, views, tree, figures, settings, staging)
    if search:
        with step("index for the search"):
            index_search(root, staging)
    with step("put in place"):
        _put_in_place(staging, settings.public)
    return report


def _render(root: Path, config: Path, target: Path) -> None:
    """Run the site generator, in a process of its own: it is a replaceable step."""
    shutil.rmtree(target, ignore_errors=True)
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "-f", str(config), "-d", str(target.resolve())]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BuildError(f"mkdocs could not render the pages:\n{done.stdout}{done.stderr}".rstrip())


def _stamp(pages: Pages, figures: list[FigureView], settings: Settings, public: Path, report: Report) -> None:
    shell_file = public / SHELL / "index.html"
    shell = Shell.cut(shell_file.read_text("utf-8"), SHELL_MARKS, SHELL)
    shutil.rmtree(shell_file.parent)
    count = 0
    for href, html in pages.stamped(shell):
        write(public / href / "index.html", html)
        count += 1
    report.pages["from records"] = count
    for href, marks in pages.overviews().items():
        _fill(public / href / "index.html", marks, href)
    for slug in pages.views.pages:
        path = technique_file(public, slug)
        _fill(path, pages.technique_marks(slug), slug, root="../" * (slug.count("/") + 2))
    newest = newest_added(pages.derived, settings)[:NEWEST]
    _fill(public / "index.html", pages.home_marks(figures, newest), "index.html", root="./")
    _fill(public / "techniques" / "index.html", pages.tree_marks(), "techniques/", root="../")
    report.pages["from prose"] = len(pages.views.pages) + len(OVERVIEWS) + 2


def _fill(path: Path, marks: dict[str, str], where: str, root: str = "../") -> None:
    path.write_text(link_papers(fill_page(path.read_text("utf-8"), marks, where), root), "utf-8")


def _export(
    derived: Derived, views: Views, tree: list[TechniqueView], figures: list[FigureView], settings: Settings, public: Path
) -> None:
    files = api_files(derived, views, settings) | bib_files(derived)
    files |= dict(Pages(views, tree, settings).bib_files())
    for figure in figures:
        files |= {figure.json_href: figure.json_text(), figure.csv_href: figure.csv_text()}
    hrefs = sorted(path.parent.relative_to(public).as_posix() + "/" for path in public.rglob("index.html"))
    files |= {
        "feed.xml": atom(derived, settings),
        "sitemap.xml": sitemap((href.removeprefix("./") for href in hrefs), settings),
        "robots.txt": robots(settings),
        "llms.txt": llms(tree, derived, settings),
    }
    (public / "sitemap.xml.gz").unlink(missing_ok=True)  # mkdocs' own, of its few pages
    for path, text in files.items():
        write(public / path, text)
    for entry in derived.newest:
        for path, text in paper_files(entry).items():
            write(public / path, text)


def write(path: Path, text: str) -> None:
    """Write a file of the staged site, which is not in place yet."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as stream:
        stream.write(text)


def index_search(root: Path, public: Path) -> None:
    """Run Pagefind over the finished HTML."""
    # The program itself rather than its npm wrapper, which would need a node on the search path.
    found = (root / "node_modules" / "@pagefind").glob("*/bin/pagefind*")
    programs = sorted(path for path in found if path.suffix in ("", ".exe"))
    if not programs:
        raise BuildError("pagefind is missing in node_modules/; run `python -m scripts setup` (or `make site`, which does)")
    command = [str(programs[0].resolve()), "--site", str(public.resolve()), "--silent"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BuildError(f"pagefind could not index the site:\n{done.stdout}{done.stderr}".rstrip())


def _put_in_place(staging: Path, public: Path) -> None:
    old = staging.with_name("public.old")
    shutil.rmtree(old, ignore_errors=True)
    if public.exists():
        public.rename(old)
    staging.rename(public)
    shutil.rmtree(old, ignore_errors=True)
