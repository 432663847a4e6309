"""Which change makes a start from nothing quicker, and which the steady pace alone: both factors over one baseline.

It asks for two metrics beside each other: `cold_start_latency` and `tpot`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from reference_impls.measurement.paired import Ratio
from scripts.catalogue.model import Measurement
from scripts.website.enough import settles
from scripts.website.figures import Cell
from scripts.website.plots.draw import (
    EVIDENCE_COLUMNS,
    FEW_NOTE,
    Mark,
    PlotView,
    evidence_cells,
    figure,
    keys,
    log_axis,
    mark_of,
    meanings,
    origin_of,
    ratio_text,
    rule,
    short,
    slug_of,
    trace,
)
from scripts.website.plots.points import Point, subject
from scripts.website.plots.style import Palette
from scripts.website.plots.text import left_out, listed, number, span_of, unsettled

START, PACE = "cold_start_latency", "tpot"


@dataclass(frozen=True)
class Both:
    """One implementation: its start and its pace, each with its factor over the baseline, above 1 where better."""

    start: Point
    pace: Point
    start_factor: Ratio
    pace_factor: Ratio

    @property
    def name(self) -> str:
        """The implementation's."""
        return self.start.one.implementation

    @property
    def sides(self) -> tuple[Measurement, ...]:
        """What its two factors come from."""
        return self.start.one, self.start.baseline, self.pace.one, self.pace.baseline

    @property
    def mark(self) -> Mark:
        """How it is drawn: as one of too few samples where either factor has too few, else as its start."""
        return mark_of(self.start) if settles(*self.sides) else "few"


def both_of(points: Iterable[Point]) -> dict[str, list[Both]]:
    """Case without its metric -> those whose start and pace were measured there, but for the baseline."""
    found: dict[str, dict[str, dict[str, Point]]] = {}
    for point in points:
        if point.one.metric in (START, PACE):
            found.setdefault(point.prefix, {}).setdefault(point.one.implementation, {})[point.one.metric] = point
    return {
        prefix: [
            Both(start, pace, start.factor, pace.factor)
            for row in rows.values()
            if (start := row.get(START)) and (pace := row.get(PACE)) and start.factor and pace.factor
        ]
        for prefix, rows in found.items()
    }


def start_and_pace(points: Iterable[Point], palette: Palette, folder: str) -> list[PlotView]:
    """One figure a group of ways: to the right starts sooner, above goes on faster."""
    return [_view(prefix, rows, palette, folder) for prefix, rows in both_of(points).items() if rows]


def answer(rows: Sequence[Both]) -> str:
    """Who lowers the start, who the pace alone, who neither: as the intervals say, where there are samples enough."""
    sides = [side for row in rows for side in row.sides]
    settled = [row for row in rows if settles(*row.sides)]
    if not settled:
        return unsettled(f"Starts take {span_of([row.start.value for row in rows], 's')}", sides)
    sooner = [row.name for row in settled if row.start_factor.lo > 1]
    later = [row.name for row in settled if row.start_factor.hi < 1]
    alone = [row.name for row in settled if row.pace_factor.lo > 1 and row.start_factor.lo <= 1]
    parts = [
        f"Starts sooner: {listed(sooner)}." if sooner else "Nothing is seen to start sooner.",
        f"Starts later: {listed(later)}." if later else "",
        f"Faster tokens alone: {listed(alone)}." if alone else "",
    ]
    return " ".join([*filter(None, parts), *left_out(sides)])


def _view(prefix: str, rows: Sequence[Both], palette: Palette, folder: str) -> PlotView:
    starts = [row.start for row in rows]
    base, about = starts[0].baseline, subject(starts[0].one)
    begun = str(starts[0].one.workload.get("start", ""))
    styles = palette.styles(starts)
    ordered = sorted(rows, key=_order)
    across, up = ([r.start_factor.value for r in rows], [r.pace_factor.value for r in rows])
    marks = [
        trace(
            row.name,
            styles[row.name],
            [short(row.start_factor.value)],
            [short(row.pace_factor.value)],
            marks=[row.mark],
            hovertext=[f"{row.name}: start {_text(row.start_factor)}, later tokens {_text(row.pace_factor)}"],
        )
        for row in rows
    ]
    x, y = log_axis("cold start, times as fast", [*across, 1.0]), log_axis("later tokens, times as fast", [*up, 1.0])
    ends = [[10**end for end in axis["range"]] for axis in (x, y)]
    lines = [rule(ends[0], [1.0, 1.0], "", "dot"), rule([1.0, 1.0], ends[1], "", "dot")]
    return PlotView(
        id=slug_of(f"start-pace-{prefix}-{starts[0].run.machine.name}"),
        title=f"{about}, {begun or 'started'}: what starts sooner, and what goes on faster",
        summary=answer(ordered),
        source="",
        columns=["way", "cold start", "times as fast", "later token", "times as fast", *EVIDENCE_COLUMNS],
        rows=[_row(row) for row in ordered],
        figure=figure([*lines, *marks], {"xaxis": x, "yaxis": y}),
        folder=folder,
        legend=[*keys(styles, starts, lambda _: "full"), *meanings(row.mark for row in rows)],
        origin=origin_of(starts),
        notes=[
            f"Compared with {base.implementation}. Named where the interval leaves out 1.",
            *([FEW_NOTE] if any(row.mark == "few" for row in rows) else []),
        ],
    )


def _order(row: Both) -> tuple[bool, float, str]:
    """Who starts soonest first; those of too few samples after all others, by name."""
    is_few = row.mark == "few"
    return is_few, 0.0 if is_few else -row.start_factor.value, row.name


def _text(ratio: Ratio) -> str:
    return ratio_text(ratio.value, ratio.lo, ratio.hi)


def _row(row: Both) -> list[Cell]:
    start, pace = number(row.start.value, "s"), number(row.pace.value, "s")
    return [row.name, start, _text(row.start_factor), pace, _text(row.pace_factor), *evidence_cells(row.start)]


PLOTS = {"start-pace": start_and_pace}
