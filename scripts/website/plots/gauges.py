"""Gauges of one device side by side: what it says of itself in percent, which need not be work.

It asks for several metrics in percent under one prefix: utilisation, activity, memory.
"""

from collections.abc import Iterable

from scripts.catalogue.vocabulary import METRICS
from scripts.website.enough import is_enough, settles
from scripts.website.figures import Cell
from scripts.website.plots.draw import (
    EVIDENCE_COLUMNS,
    Key,
    PlotView,
    bars_across,
    evidence_cells,
    figure,
    origin_of,
    pale,
    short,
    slug_of,
    spread_text,
)
from scripts.website.plots.points import Point
from scripts.website.plots.style import Palette, Style
from scripts.website.plots.text import unsettled

WORDS = {
    "gpu_utilisation": "utilisation: any kernel resident",
    "sm_activity": "activity of the multiprocessors",
    "gpu_memory_used": "memory in use",
}
"""Gauge -> its name in legends, in their order."""


def gauges(points: Iterable[Point], palette: Palette, folder: str) -> list[PlotView]:
    """One figure a prefix: for each implementation a bar a gauge."""
    del palette  # gauges have colours of their own
    groups: dict[str, dict[str, dict[str, Point]]] = {}
    for point in points:
        if point.one.metric in WORDS:
            groups.setdefault(point.prefix, {}).setdefault(point.one.implementation, {})[point.one.metric] = point
    return [_view(prefix, table, folder) for prefix, table in groups.items() if len(_present(table)) > 1]


def _present(table: dict[str, dict[str, Point]]) -> list[str]:
    return [metric for metric in WORDS if any(metric in row for row in table.values())]


def _view(prefix: str, table: dict[str, dict[str, Point]], folder: str) -> PlotView:
    present, ways = _present(table), list(table)
    shown = [point for row in table.values() for point in row.values()]
    bars = [
        bars_across(
            WORDS[metric],
            _style(metric).series,
            [short(table[way][metric].value) if metric in table[way] else 0 for way in ways[::-1]],
            ways[::-1],
            [f"{way}, {WORDS[metric]}" for way in ways[::-1]],
            [metric in table[way] and not is_enough(table[way][metric].one) for way in ways[::-1]],
            ": %{x} %",
        )
        for metric in present[::-1]
    ]
    rows = {"type": "category", "categoryorder": "array", "categoryarray": ways[::-1], "dtick": 1}
    return PlotView(
        id=slug_of(f"gauges-{prefix}-{shown[0].run.machine.name}"),
        title="Gauges of the device, side by side",
        summary=_summary(table, present),
        source="",
        columns=["implementation", *(f"{METRICS[metric].title}, %" for metric in present), *EVIDENCE_COLUMNS],
        rows=[_row(way, row, present) for way, row in table.items()],
        figure=figure(bars, {"barmode": "group", "xaxis": {"title": {"text": "%"}, "range": [0, 100]}, "yaxis": rows}),
        folder=folder,
        legend=[
            *(Key(WORDS[metric], _style(metric)) for metric in present),
            *pale(not is_enough(point.one) for point in shown),
        ],
        origin=origin_of(shown),
        notes=["Medians over days; utilisation says that something ran, not how much."],
    )


def _style(metric: str) -> Style:
    return Style(3 * list(WORDS).index(metric) + 1, "square", "solid")


def _summary(table: dict[str, dict[str, Point]], present: list[str]) -> str:
    """What each gauge moved, from the baseline to the way that moves the first of them most."""
    base = next((way for way, row in table.items() if any(one.one.role == "baseline" for one in row.values())), None)
    first = present[0]
    sides = [point.one for row in table.values() for point in row.values()]
    if not settles(*sides):
        values = sorted(row[first].value for row in table.values() if first in row)
        return unsettled(f"{WORDS[first].partition(':')[0].capitalize()} {values[0]:.0f} to {values[-1]:.0f} %", sides)
    most = max((way for way in table if first in table[way]), key=lambda way: table[way][first].value)
    if base is None or any(metric not in table[way] for way in (base, most) for metric in present):
        return f"{most} shows most of the first gauge."
    moved = [
        f"{WORDS[metric].partition(':')[0]} {table[base][metric].value:.0f} to {table[most][metric].value:.0f} %"
        for metric in present
    ]
    return f"From {base} to {most}: {', '.join(moved)}."


def _row(way: str, row: dict[str, Point], present: list[str]) -> list[Cell]:
    cells: list[Cell] = [
        f"{row[metric].value:.4g}{spread_text(row[metric])}" if metric in row else "" for metric in present
    ]
    return [way, *cells, *evidence_cells(next(iter(row.values())))]


PLOTS = {"gauges": gauges}
