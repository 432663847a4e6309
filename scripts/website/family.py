"""What a technique page shows of the family of modules that it names: which modules, which figures, which runs.

Nobody lists modules on pages. A module belongs to the pages under which a paper of its header is filed; the topmost
page of the family shows all of them, with those whose paper the catalogue does not have.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from scripts.catalogue.addresses import technique_href
from scripts.catalogue.load import Entry, Page
from scripts.catalogue.model import Measurement, Run
from scripts.website.cold_starts import PAGE as COLD_STARTS
from scripts.website.cold_starts import ColdStartsView, cold_starts
from scripts.website.derive import Derived, lineage
from scripts.website.errors import BuildError
from scripts.website.evidence import RunView, run_view
from scripts.website.figures import FigureView
from scripts.website.implementations import ImplementationView, implementations
from scripts.website.plots import PLOTS, draw_plots
from scripts.website.plots.points import Point, points_of, shown_for
from scripts.website.plots.style import Palette, family_modules
from scripts.website.settings import Settings
from scripts.website.staleness import stale
from scripts.website.who_pays import STUDY, Method, WhoPaysView, known_methods, who_pays

INLINE = 3
"""Machines whose figures and tables stand on the page itself; Compare has them all."""

ROWS = 12
"""Rows of a figure's table on a technique's page; a page of their own has all, and the figures of further machines."""

DEVICES = {"cpu": "CPU", "cuda": "CUDA GPU"}

_DEVICE = re.compile(r"--device[ =](\w+)")


@dataclass(frozen=True)
class Support:
    """On what the modules of a page have been run: a cell for each device and type of number."""

    columns: list[str]
    rows: list[tuple[str, list[str]]]
    """Module, and for each column where and when it was run last, or "not run"."""


@dataclass(frozen=True)
class MachineFigures:
    """The figures of one machine."""

    machine: str
    when: str
    figures: list[FigureView]


@dataclass(frozen=True)
class FamilyView:
    """Everything of this kind on one page."""

    implementations: list[ImplementationView]
    effects: dict[str, str]
    """Module -> the effects that its records have."""
    machines: list[MachineFigures]
    runs: list[RunView]
    elsewhere: list[tuple[str, str]]
    """Further machines, and where Compare shows them (a path from the site's root)."""
    submitted: list[tuple[str, str, str]]
    """Machine, day and file of runs that no maintainer vouches for."""
    support: Support
    topmost: tuple[str, str] | None
    """Title and path of the page that has the whole family, where this is another."""
    whole: str | None
    """The page with all rows of all figures, where the technique's own page shows a part of them."""


class Families:
    """The families of one catalogue; figures and points are computed once."""

    def __init__(self, derived: Derived, settings: Settings) -> None:
        self.derived, self.settings = derived, settings
        self.pages, self.runs = derived.catalogue.pages, derived.catalogue.runs
        self.modules = family_modules(settings.root)
        self.palette = Palette(self.modules)
        self._views: dict[str, FamilyView] = {}
        self._topmost: dict[str, str] = {}
        self._shown: dict[tuple[str, str], list[ImplementationView]] = {}
        self._records: dict[str, RunView] = {}

    @cached_property
    def points(self) -> dict[str, list[Point]]:
        """Points of every run, by its file: the most complete first, then the newest."""
        ordered = sorted(self.runs.items(), key=lambda item: (-len(item[1].measurements), -item[1].started.timestamp()))
        points = {file: points_of(file, run, self.modules.get(run.suite, [])) for file, run in ordered}
        self.palette.learn(point for found in points.values() for point in found)
        return points

    @cached_property
    def _known_methods(self) -> dict[str, set[Method]]:
        return known_methods(self.runs, self.modules)

    @cached_property
    def listed(self) -> dict[str, list[ImplementationView]]:
        """The modules of each family that a page names."""
        named = {page.technique.family for page in self.pages.values()} - {None}
        root, repo_url, commit = self.settings.root, self.settings.repo_url, self.settings.commit
        return {family: implementations(root, family, repo_url, commit) for family in sorted(filter(None, named))}

    def view(self, slug: str) -> FamilyView | None:
        """What the page shows, or None where it names no family."""
        page = self.pages[slug]
        if page.technique.family is None:
            return None
        if slug not in self._views:
            self._views[slug] = self._view(page, page.technique.family)
        return self._views[slug]

    def who_pays(self, slug: str) -> WhoPaysView | None:
        """What the fairness study recorded of the methods of a page, or None where none of them took part."""
        family = self.pages[slug].technique.family
        if family is None or slug == STUDY:
            return None
        shown = [(family, one.name) for one in self.shown(slug, family)]
        return who_pays(self.runs, self.modules, shown, self._known_methods)

    def cold_starts(self, slug: str) -> ColdStartsView | None:
        """What was recorded of starts from files that the methods of a page made, or None."""
        family = self.pages[slug].technique.family
        if family is None or slug == COLD_STARTS:
            return None
        return cold_starts(self.points, self.modules, [(family, one.name) for one in self.shown(slug, family)])

    def figures(self) -> list[FigureView]:
        """Every figure of every page: what the build writes beside them."""
        views = [view for slug in self.pages if (view := self.view(slug))]
        return [figure for view in views for group in view.machines for figure in group.figures]

    def _view(self, page: Page, family: str) -> FamilyView:
        unknown = set(page.technique.plots) - set(PLOTS)
        if unknown:
            known = ", ".join(sorted(PLOTS))
            raise BuildError(f"{page.file}: unknown plots {', '.join(sorted(unknown))}; there are {known}")
        shown = self.shown(page.slug, family)
        names = {one.name for one in shown}
        top = self.topmost(family)
        is_topmost = page.slug == top
        points = {
            file: self._of_topmost(found, page.slug, family) if is_topmost else shown_for(found, names)
            for file, found in self.points.items()
            if self.runs[file].suite == family
        }
        kept = {file: {(point.one.case, point.one.implementation) for point in found} for file, found in points.items()}
        runs = [part for file, pairs in kept.items() if (part := self.record(file).part(pairs)).cases]
        machines = self._machines(page, points)[:INLINE]
        return FamilyView(
            implementations=shown,
            effects=_effects(point for found in points.values() for point in found),
            machines=machines,
            runs=runs[:INLINE],
            elsewhere=[(run.machine, "compare/") for run in runs[INLINE:]],
            submitted=[
                (run.machine.name, run.started.date().isoformat(), file)
                for file, run in sorted(self.derived.catalogue.submissions.items())
                if run.suite == family
            ],
            support=support(shown, [point for found in points.values() for point in found]),
            topmost=None if is_topmost else (self.pages[top].technique.title, technique_href(top)),
            whole=f"records/{page.slug.replace('/', '-')}/" if is_cut(machines) else None,
        )

    def record(self, file: str) -> RunView:
        """A recorded run with all its cases; made once, since several pages show parts of it."""
        if file not in self._records:
            run = self.runs[file]
            self._records[file] = run_view(file, run, stale(self.settings.root, run))
        return self._records[file]

    def records(self) -> list[RunView]:
        """Every recorded run, by suite."""
        by_suite = sorted(self.points, key=lambda file: self.runs[file].suite)
        return [record for file in by_suite if (record := self.record(file)).cases]

    def _machines(self, page: Page, points: dict[str, list[Point]]) -> list[MachineFigures]:
        href = technique_href(page.slug)
        groups = []
        for file, found in points.items():
            run = self.runs[file]
            figures = draw_plots(page.technique.plots, found, self.palette, href)
            if figures:
                groups.append(MachineFigures(run.machine.name, run.started.date().isoformat(), [*figures]))
        return groups

    def _of_topmost(self, points: list[Point], slug: str, family: str) -> list[Point]:
        """All of the family, but for cases of modules that a page beside this one shows and this one does not."""
        named = [own for own, page in self.pages.items() if page.technique.family == family and own != slug]
        beside = [own for own in named if not own.startswith(f"{slug}/")]
        away = {one.name for own in beside for one in self._filed(own, family)}
        away -= {one.name for one in self.shown(slug, family)}
        gone = {point.one.case for point in points if point.module in away}
        gone -= {point.one.case for point in points if point.one.role == "method" and point.module not in away}
        return [point for point in points if point.one.case not in gone]

    def topmost(self, family: str) -> str:
        """The page of the family that lies highest in the tree; of several, the one with most of its papers."""
        if family not in self._topmost:
            named = [slug for slug, page in self.pages.items() if page.technique.family == family]
            self._topmost[family] = min(
                named, key=lambda slug: (slug.count("/"), -len(self._filed(slug, family)), slug)
            )
        return self._topmost[family]

    def shown(self, slug: str, family: str) -> list[ImplementationView]:
        """Modules with a paper filed here or below; on the topmost page also those that no page has."""
        if (slug, family) not in self._shown:
            self._shown[slug, family] = self._find_shown(slug, family)
        return self._shown[slug, family]

    def _find_shown(self, slug: str, family: str) -> list[ImplementationView]:
        if slug == self.topmost(family):
            others = [own for own, page in self.pages.items() if page.technique.family == family and own != slug]
            elsewhere = {one.name for own in others for one in self._filed(own, family)}
            here = {one.name for one in self._filed(slug, family)}
            return [one for one in self.listed[family] if one.name in here or one.name not in elsewhere]
        return self._filed(slug, family)

    def papers_of(self, one: ImplementationView) -> list[Entry]:
        """Entries that the module's header names, by arXiv id or, in quotation marks, by title; newest first."""
        named = {*one.arxiv, *(title.casefold() for title in one.titles)}
        found = {entry.key for name in named for entry in self._by_name.get(name, ())}
        return [self.derived.catalogue.entries[key] for key in sorted(found, key=self._place_of.__getitem__)]

    @cached_property
    def _place_of(self) -> dict[str, int]:
        return {entry.key: at for at, entry in enumerate(self.derived.newest)}

    @cached_property
    def _by_name(self) -> dict[str, list[Entry]]:
        found: dict[str, list[Entry]] = {}
        for entry in self.derived.newest:
            for name in filter(None, (entry.paper.arxiv, entry.paper.title.casefold())):
                found.setdefault(name, []).append(entry)
        return found

    @cached_property
    def _slugs(self) -> dict[tuple[str, str], set[str]]:
        """(family, module) -> the pages under which a paper of it is filed."""
        return {
            (family, one.name): {
                slug for entry in self.papers_of(one) for named in entry.paper.techniques for slug in lineage(named)
            }
            for family, modules in self.listed.items()
            for one in modules
        }

    def _filed(self, slug: str, family: str) -> list[ImplementationView]:
        return [one for one in self.listed[family] if slug in self._slugs[family, one.name]]


def is_cut(machines: Sequence[MachineFigures]) -> bool:
    """Whether a technique's page leaves out some of this."""
    return len(machines) > 1 or any(len(figure.rows) > ROWS for group in machines for figure in group.figures)


def support(shown: Iterable[ImplementationView], points: Iterable[Point]) -> Support:
    """Device by type of number; where nothing was run, a device has one column that says so."""
    last: dict[tuple[str, str, str], Run] = {}
    for point in points:
        key = (point.module or "", *_place(point.run, point.one))
        if key not in last or point.run.started > last[key].started:
            last[key] = point.run
    modules = {module for module, _, _ in last} - {""}
    types = {
        device: sorted({kind for m, d, kind in last if d == device and m in modules}) or [""] for device in DEVICES
    }
    places = [(device, kind) for device, kinds in types.items() for kind in kinds]
    return Support(
        columns=[f"{DEVICES[device]}{', ' if kind else ''}{kind}" for device, kind in places],
        rows=[(one.name, [_cell(last.get((one.name, *place))) for place in places]) for one in shown],
    )


def _place(run: Run, one: Measurement) -> tuple[str, str]:
    """Device and type of number of a measurement: as its workload says, else as the command does."""
    asked = _DEVICE.search(run.command)
    device = one.workload.get("device") or (asked[1] if asked else "cuda" if run.machine.gpu else "cpu")
    kind = one.workload.get("dtype") or one.workload.get("inputs") or "type not recorded"
    return str(device).partition(":")[0], str(kind)


def _cell(run: Run | None) -> str:
    return f"{run.machine.name}, {run.started.date().isoformat()}" if run else "not run"


def _effects(points: Iterable[Point]) -> dict[str, str]:
    found: dict[str, set[str]] = {}
    for point in points:
        if point.module:
            found.setdefault(point.module, set()).add(point.one.effect)
    return {module: ", ".join(sorted(effects)) for module, effects in found.items()}
