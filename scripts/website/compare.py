"""The Compare pages: everything recorded, a page for each subject on each machine, as figures with their tables.

With JavaScript a page draws its tables from /api/v1/evidence.json (`evidence_api`) and lets the reader choose
(site/assets/js/compare.js). Nothing is compared across machines, subjects or texts.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from scripts.catalogue.addresses import paper_href, technique_href
from scripts.website.family import Families
from scripts.website.figures import Cell
from scripts.website.plots import PLOTS
from scripts.website.plots.draw import Origin, PlotView, slug_of
from scripts.website.plots.points import Point, subject
from scripts.website.staleness import stale

KINDS = {
    "quality-bits": "quality",
    "quality-bytes": "quality",
    "quality-cache": "quality",
    "quality-blocks": "quality",
    "quality-kept": "quality",
    "quality-neurons": "quality",
    "quality-sparsity": "quality",
    "speed-batch": "speed",
    "speed-context": "speed",
    "limit-share": "limit",
    "apply-time": "apply",
}
"""Plots shown, in this order, and how the page draws them."""
KIND_TITLES = {
    "quality": "Quality against size",
    "speed": "Speed and break-even",
    "limit": "Share of the physical limit",
    "apply": "Time and energy to apply",
}

Where = tuple[str, str, str]
"""(file, case, implementation) of a point."""


@dataclass(frozen=True)
class RowLink:
    """A row of a table: its point's number in the interface, the method's name, and where to read on."""

    number: int
    implementation: str
    place: float | None
    """Where it lies along x, where that is an axis of values."""
    is_few: bool
    """Whether it has too few samples for what the figure compares."""
    cells: list[Cell]
    record: str
    papers: list[tuple[str, str]]
    technique: str | None


@dataclass(frozen=True)
class Block:
    """One figure to choose, with its table."""

    id: str
    kind: str
    kind_title: str
    family: str
    plot: PlotView
    rows: list[RowLink]

    @property
    def axis_titles(self) -> tuple[str, str]:
        """Of x and y; a list of names has none."""
        layout = self.plot.figure["layout"]
        x, y = (layout[axis].get("title", {}).get("text", "") for axis in ("xaxis", "yaxis"))
        return x, y


@dataclass(frozen=True)
class Subject:
    """Everything about one model or layer on one machine."""

    title: str
    href: str
    blocks: list[Block]
    techniques: list[tuple[str, str]]
    """Implementation and its role."""


@dataclass(frozen=True)
class MachineView:
    """A machine and what was recorded on it."""

    name: str
    origins: list[tuple[Origin, str | None]]
    """Where its runs come from, and what has changed in the code since."""
    subjects: list[Subject]


class Comparison:
    """The evidence of one catalogue as the Compare page and the interface tell it."""

    def __init__(self, families: Families) -> None:
        self.families, self.settings = families, families.settings
        self.points: list[Point] = [point for found in families.points.values() for point in found]
        self.numbers = {_where(point): number for number, point in enumerate(self.points)}
        self._papers: dict[tuple[str, str | None], list[str]] = {}
        self._pages: dict[tuple[str, str | None], str | None] = {}
        self.titles = {entry.key: entry.paper.title for entry in families.derived.newest}

    @cached_property
    def machines(self) -> list[MachineView]:
        """Machines, the one with the most measurements first."""
        by_machine: dict[str, list[str]] = {}
        for file in self.families.points:
            by_machine.setdefault(self.families.runs[file].machine.name, []).append(file)
        return [view for name, files in by_machine.items() if (view := self._machine(name, files)).subjects]

    def _machine(self, name: str, files: list[str]) -> MachineView:
        blocks: dict[str, list[Block]] = {}
        for file in files:
            for block in self._blocks(self.families.points[file]):
                blocks.setdefault(subject(block.plot.points[0].one), []).append(block)
        kinds = list(dict.fromkeys(KINDS.values()))
        for found in blocks.values():
            found.sort(key=lambda block: (kinds.index(block.kind), -len(block.rows)))
        # the subject of which most is known first, since that is what the page opens with
        ordered = sorted(blocks.items(), key=lambda item: (-len({b.kind for b in item[1]}), -_rows(item[1]), item[0]))
        subjects = [
            Subject(title, f"compare/{name}-{slug_of(title)}/", found, _techniques(found)) for title, found in ordered
        ]
        origins = {block.plot.origin.file: block.plot.origin for found in blocks.values() for block in found}
        root, runs = self.settings.root, self.families.runs
        dated = [(origins[file], stale(root, runs[file])) for file in files if file in origins]
        return MachineView(name, dated, subjects)

    def _blocks(self, points: list[Point]) -> Iterable[Block]:
        for plot, kind in KINDS.items():
            for view in PLOTS[plot](points, self.families.palette, "compare/"):
                if plot == "speed-context" and not view.sizes:
                    continue  # one context: the figure by batch size shows it
                yield Block(
                    id=slug_of(f"{plot}-{view.points[0].run.suite}-{view.id}"),
                    kind=kind,
                    kind_title=KIND_TITLES[kind],
                    family=view.points[0].run.suite,
                    plot=view,
                    rows=[self._row(view, at) for at in range(len(view.rows))],
                )

    def _row(self, view: PlotView, at: int) -> RowLink:
        point = view.points[at]
        return RowLink(
            number=self.numbers[_where(point)],
            implementation=point.one.implementation,
            place=view.sizes[at] if view.sizes else None,
            is_few=any(view.few[at : at + 1]),
            cells=view.rows[at],
            record=self.record_url(point.file),
            papers=[(self.titles[key], paper_href(key)) for key in self.papers(point)],
            technique=self.technique_href(point),
        )

    def record_url(self, file: str) -> str:
        """Where the raw samples can be read, at the commit of the site."""
        return f"{self.settings.repo_url}/blob/{self.settings.commit or 'main'}/{file}"

    def papers(self, point: Point) -> list[str]:
        """Keys of the catalogue's papers that the point's module implements."""
        where = (point.run.suite, point.module)
        if where not in self._papers:
            modules = [one for one in self.families.listed.get(point.run.suite, []) if one.name == point.module]
            self._papers[where] = [entry.key for one in modules for entry in self.families.papers_of(one)]
        return self._papers[where]

    def technique_href(self, point: Point) -> str | None:
        """The deepest page that shows the point's module, at the module."""
        where = (point.run.suite, point.module)
        if where not in self._pages:
            named = [slug for slug, page in self.families.pages.items() if page.technique.family == where[0]]
            shown = [slug for slug in named if any(one.name == where[1] for one in self.families.shown(slug, where[0]))]
            self._pages[where] = max(shown, key=lambda slug: (slug.count("/"), slug), default=None)
        deepest = self._pages[where]
        return f"{technique_href(deepest)}#module-{point.module}" if deepest else None


def _where(point: Point) -> Where:
    return point.file, point.one.case, point.one.implementation


def _rows(blocks: Iterable[Block]) -> int:
    return sum(len(block.rows) for block in blocks)


def _techniques(blocks: Iterable[Block]) -> list[tuple[str, str]]:
    roles = {point.one.implementation: point.one.role for block in blocks for point in block.plot.points}
    chosen = [(name, role) for name, role in roles.items() if role != "baseline"]
    return sorted(chosen, key=lambda item: (item[1] != "method", item[0]))
