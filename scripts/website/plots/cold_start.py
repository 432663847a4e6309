"""What a start from nothing costs: its phases one after the other, and how often it happens against memory that waits.

Both ask for metrics and fields of workloads: `phase_time` with a field `phase`; `cold_start_rate` and `idle_memory`.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from scripts.catalogue.model import Measurement
from scripts.website.enough import is_enough, settles
from scripts.website.figures import Cell
from scripts.website.plots.draw import (
    EVIDENCE_COLUMNS,
    Key,
    PlotView,
    bars_across,
    evidence_cells,
    few_or_full,
    figure,
    keys,
    meanings,
    origin_of,
    pale,
    short,
    slug_of,
    spread_text,
    trace,
)
from scripts.website.plots.points import Point, subject
from scripts.website.plots.style import Palette, Style
from scripts.website.plots.text import left_out, number, span_of, unsettled

ORDER = ("process", "imports", "load", "first")
"""Phases up to the first token, in the order in which they follow; others are not waited for."""
WORDS = {"process": "start of the process", "imports": "imports", "load": "weights", "first": "first token"}


def parts(points: Iterable[Point], palette: Palette, folder: str) -> list[PlotView]:
    """One figure a subject: a bar for each implementation, its phases side by side."""
    del palette  # phases have colours of their own
    groups: dict[str, list[Point]] = {}
    for point in points:
        if point.one.metric == "phase_time" and point.one.workload.get("phase") in ORDER:
            groups.setdefault(_family_of(point), []).append(point)
    return [_parts_view(name, group, folder) for name, group in groups.items()]


def _family_of(point: Point) -> str:
    """The case without its phase."""
    return point.prefix.rpartition("/")[0]


def _parts_view(name: str, group: Sequence[Point], folder: str) -> PlotView:
    table: dict[str, dict[str, Point]] = {}
    for point in group:
        table.setdefault(point.one.implementation, {})[str(point.one.workload["phase"])] = point
    present = [phase for phase in ORDER if any(phase in row for row in table.values())]
    totals = {way: sum(row[phase].value for phase in present if phase in row) for way, row in table.items()}
    settled = {way for way, row in table.items() if settles(*_sides(row))}
    ordered = sorted(totals, key=lambda way: (way not in settled, totals[way] if way in settled else 0.0, way))
    about = subject(group[0].one)
    begun = group[0].one.workload.get("start")
    return PlotView(
        id=slug_of(f"cold-parts-{name}-{group[0].run.machine.name}"),
        title=f"What a cold start of {about} is made of{f': {begun}' if begun else ''}",
        summary=_parts_summary(table, totals, [way for way in ordered if way in settled], present),
        source="",
        columns=["implementation", *(f"{WORDS[phase]}, s" for phase in present), "sum, s", *EVIDENCE_COLUMNS],
        rows=[_parts_row(way, table[way], present, totals[way]) for way in ordered],
        figure=_parts_figure(table, present, ordered[::-1]),
        folder=folder,
        legend=[
            *(Key(WORDS[phase], _style(phase)) for phase in present),
            *pale(not is_enough(point.one) for point in group),
        ],
        origin=origin_of(group),
        notes=["Medians of each phase; those of different phases need not come from one run."],
    )


def _sides(row: dict[str, Point]) -> list[Measurement]:
    return [point.one for point in row.values()]


def _parts_summary(
    table: dict[str, dict[str, Point]], totals: dict[str, float], settled: Sequence[str], present: Sequence[str]
) -> str:
    """settled: the ways with samples enough, the quickest first"""
    sides = [side for row in table.values() for side in _sides(row)]
    if not settled:
        return unsettled(f"To the first token {span_of([*totals.values()], 's')}", sides)
    first, last = settled[0], settled[-1]
    said = (
        f"The quickest, {first}, takes {number(totals[first], 's')} to the first token; the slowest, {last}, "
        f"{number(totals[last], 's')}. {_largest(table[first], present)}"
    )
    return " ".join([said, *left_out(sides)])


def _style(phase: str) -> Style:
    return Style(3 * ORDER.index(phase) + 1, "square", "solid")


def _largest(row: dict[str, Point], present: Sequence[str]) -> str:
    found = {phase: row[phase].value for phase in present if phase in row}
    largest = max(found, key=lambda phase: found[phase])
    return f"There, {found[largest] / (sum(found.values()) or 1):.0%} of it is the phase “{WORDS[largest]}”."


def _parts_row(way: str, row: dict[str, Point], present: Sequence[str], total: float) -> list[Cell]:
    cells: list[Cell] = [
        f"{row[phase].value:.4g}{spread_text(row[phase])}" if phase in row else "" for phase in present
    ]
    return [way, *cells, f"{total:.4g}", *evidence_cells(next(iter(row.values())))]


def _parts_figure(table: dict[str, dict[str, Point]], present: Sequence[str], ways: list[str]) -> dict[str, Any]:
    bars = [
        bars_across(
            WORDS[phase],
            _style(phase).series,
            [short(table[way][phase].value) if phase in table[way] else 0 for way in ways],
            ways,
            [
                f"{way}, {WORDS[phase]}: {number(table[way][phase].value, 's') if phase in table[way] else 'none'}"
                for way in ways
            ],
            [phase in table[way] and not is_enough(table[way][phase].one) for way in ways],
        )
        for phase in present
    ]
    across = {"title": {"text": "seconds to the first token (lower is better)"}, "rangemode": "tozero"}
    rows = {"type": "category", "categoryorder": "array", "categoryarray": ways, "dtick": 1}
    return figure(bars, {"barmode": "stack", "xaxis": across, "yaxis": rows})


def rate_and_idle(points: Iterable[Point], palette: Palette, folder: str) -> list[PlotView]:
    """Cold starts against idle memory: who is below and left of another is better in both."""
    pairs: dict[str, dict[str, dict[str, Point]]] = {}
    for point in points:
        if point.one.metric in ("cold_start_rate", "idle_memory"):
            pairs.setdefault(point.prefix, {}).setdefault(point.one.implementation, {})[point.one.metric] = point
    groups = {name: {way: row for way, row in ways.items() if len(row) == 2} for name, ways in pairs.items()}
    return [_rate_view(name, ways, palette, folder) for name, ways in groups.items() if ways]


def _rate_view(name: str, ways: dict[str, dict[str, Point]], palette: Palette, folder: str) -> PlotView:
    rates = [row["cold_start_rate"] for row in ways.values()]
    styles = palette.styles(rates)
    rows: list[list[Cell]] = [
        [
            way,
            f"{row['cold_start_rate'].value:.4g}{spread_text(row['cold_start_rate'])}",
            f"{row['idle_memory'].value:.4g}{spread_text(row['idle_memory'])}",
            *evidence_cells(row["idle_memory"]),
        ]
        for way, row in sorted(ways.items(), key=lambda item: item[1]["idle_memory"].value)
    ]
    marks = [
        trace(
            way,
            styles[way],
            [short(row["idle_memory"].value)],
            [short(row["cold_start_rate"].value)],
            marks=[few_or_full(*_sides(row))],
            text=[way],
            textposition="top center",
            mode="markers+text",
            hovertext=[f"{way}: {row['cold_start_rate'].value:.3g} %, {row['idle_memory'].value:.4g} GiB·s"],
        )
        for way, row in ways.items()
    ]
    across = {"title": {"text": "memory that waits, GiB·s (lower is better)"}, "rangemode": "tozero"}
    up = {"title": {"text": "invocations that start cold, % (lower is better)"}, "rangemode": "tozero"}
    return PlotView(
        id=slug_of(f"cold-idle-{name}-{rates[0].run.machine.name}"),
        title="Cold starts against memory that waits",
        summary=_rate_summary(rates),
        source="",
        columns=["policy", "cold, %", "idle, GiB·s", *EVIDENCE_COLUMNS],
        rows=rows,
        figure=figure(marks, {"xaxis": across, "yaxis": up}),
        folder=folder,
        legend=[*keys(styles, rates, lambda _: "full"), *meanings(few_or_full(*_sides(row)) for row in ways.values())],
        origin=origin_of(rates),
        notes=["Medians over traces drawn anew; all policies see the same ones."],
    )


def _rate_summary(rates: Sequence[Point]) -> str:
    sides = [point.one for point in rates]
    settled = [point for point in rates if is_enough(point.one)]
    if not settled:
        return unsettled(f"Cold starts {span_of([point.value for point in rates], '%')} of the invocations", sides)
    fewest, most = (choose(settled, key=lambda point: point.value) for choose in (min, max))
    said = (
        f"{fewest.one.implementation} has the fewest cold starts, {number(fewest.value, '%')} of the "
        f"invocations; {most.one.implementation} the most, {number(most.value, '%')}."
    )
    return " ".join([said, *left_out(sides)])


def memory_and_cost(points: Iterable[Point], palette: Palette, folder: str) -> list[PlotView]:
    """The price of a million requests against memory, with the latency of each size in the table and on hovering."""
    del palette  # one function: nothing to tell apart
    groups: dict[str, dict[float, dict[str, Point]]] = {}
    for point in points:
        size = point.one.workload.get("memory_mb")
        if point.one.metric in ("latency", "invocation_cost") and isinstance(size, int | float):
            groups.setdefault(subject(point.one), {}).setdefault(size, {})[point.one.metric] = point
    complete = {name: {mb: row for mb, row in group.items() if len(row) == 2} for name, group in groups.items()}
    return [_cost_view(name, dict(sorted(group.items())), folder) for name, group in complete.items() if len(group) > 1]


def _cost_view(name: str, sizes: dict[float, dict[str, Point]], folder: str) -> PlotView:
    costs = [row["invocation_cost"] for row in sizes.values()]
    style = Style(1, "circle", "solid")
    words = [
        f"{size:g} MB: {number(row['latency'].value, 's')}, {row['invocation_cost'].value:.3g} USD a million"
        for size, row in sizes.items()
    ]
    marks = [few_or_full(*_sides(row)) for row in sizes.values()]
    line = trace(name, style, [*sizes], [short(one.value) for one in costs], marks=marks, hovertext=words)
    return PlotView(
        id=slug_of(f"memory-cost-{name}-{costs[0].run.machine.name}"),
        title=f"Memory, latency and price of {name}",
        summary=_cost_summary(sizes),
        source="",
        columns=["memory, MB", "latency, s", "USD a million", *EVIDENCE_COLUMNS],
        rows=[
            [
                f"{size:g}",
                f"{row['latency'].value:.4g}{spread_text(row['latency'])}",
                f"{row['invocation_cost'].value:.4g}{spread_text(row['invocation_cost'])}",
                *evidence_cells(row["latency"]),
            ]
            for size, row in sizes.items()
        ],
        figure=figure(
            [line],
            {
                "xaxis": {"title": {"text": "memory, MB"}},
                "yaxis": {"title": {"text": "USD for a million requests (lower is better)"}, "rangemode": "tozero"},
            },
        ),
        folder=folder,
        legend=[Key(name, style), *meanings(marks)],
        origin=origin_of(costs),
        notes=[
            "A target for latency excludes the sizes on the left: the cheapest of the rest is what a search looks for."
        ],
    )


def _cost_summary(sizes: dict[float, dict[str, Point]]) -> str:
    sides = [side for row in sizes.values() for side in _sides(row)]
    settled = {size: row for size, row in sizes.items() if settles(*_sides(row))}
    if not settled:
        return unsettled(f"A request takes {span_of([row['latency'].value for row in sizes.values()], 's')}", sides)
    cheapest = min(settled, key=lambda size: settled[size]["invocation_cost"].value)
    fastest = min(settled, key=lambda size: settled[size]["latency"].value)
    said = (
        f"{cheapest:g} MB is the cheapest size, {number(sizes[cheapest]['latency'].value, 's')} a request; "
        f"{fastest:g} MB the fastest, {number(sizes[fastest]['latency'].value, 's')}."
    )
    return " ".join([said, *left_out(sides)])


PLOTS = {"cold-start-parts": parts, "cold-start-idle": rate_and_idle, "memory-cost": memory_and_cost}
