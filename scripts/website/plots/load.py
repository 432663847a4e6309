"""Latency against load, a line a policy: how waiting grows as a server fills up.

Points are grouped by everything in their workload but the load. Values are drawn as they are, not as factors: at light
load all policies coincide, and that is half of what the figure says.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from scripts.catalogue.vocabulary import METRICS
from scripts.website.enough import is_enough
from scripts.website.figures import Cell
from scripts.website.plots.draw import (
    EVIDENCE_COLUMNS,
    FEW_NOTE,
    PlotView,
    bars,
    evidence_cells,
    figure,
    keys,
    log_axis,
    mark_alone,
    origin_of,
    ratio_text,
    short,
    slug_of,
    trace,
)
from scripts.website.plots.points import Point, subject
from scripts.website.plots.style import Palette, Styles
from scripts.website.plots.text import left_out, listed, number, span_of, unsettled

FIELD = "load_percent"
TAILS = frozenset({"jct_tail", "latency_per_token_tail", "tbt_tail"})


def latency_by_load(points: Iterable[Point], palette: Palette, folder: str, *, tails: bool) -> list[PlotView]:
    """One figure for each metric and trace that was run at several loads; tails apart from means."""
    groups: dict[tuple[Any, ...], list[Point]] = {}
    for point in points:
        is_wanted = METRICS[point.one.metric].unit == "s" and (point.one.metric in TAILS) == tails
        if is_wanted and isinstance(point.one.workload.get(FIELD), int | float):
            groups.setdefault(_group(point), []).append(point)
    shown = [group for group in groups.values() if len({_load(point) for point in group}) > 1]
    return [_view(group, palette, folder) for group in shown]


def _group(point: Point) -> tuple[Any, ...]:
    rest = tuple(sorted((key, str(value)) for key, value in point.one.workload.items() if key != FIELD))
    return point.one.metric, rest


def _load(point: Point) -> float:
    return float(point.one.workload[FIELD] or 0)


def _view(group: Sequence[Point], palette: Palette, folder: str) -> PlotView:
    first = group[0]
    metric, about = METRICS[first.one.metric], subject(first.one)
    styles = palette.styles(group)
    ordered = sorted(group, key=lambda point: (_load(point), point.one.implementation))
    return PlotView(
        id=slug_of(f"load-{first.one.metric}-{about}-{first.run.machine.name}"),
        title=f"{metric.title[:1].upper()}{metric.title[1:]} by load: {about}",
        summary=_summary(group),
        source="",
        columns=["load (%)", "implementation", metric.title, "interval", "factor over the baseline", *EVIDENCE_COLUMNS],
        rows=[_row(point) for point in ordered],
        figure=_lines(group, styles, metric.title),
        folder=folder,
        legend=keys(styles, group),
        origin=origin_of(group),
        notes=[
            "Load 100 % is the rate at which a server whose slots are always taken would finish requests.",
            f"Each sample is the {metric.title} of one seed; all policies see the same requests.",
            *([] if all(is_enough(point.one) for point in group) else [FEW_NOTE]),
        ],
        points=ordered,
        styles=styles,
        sizes=[_load(point) for point in ordered],
    )


def _row(point: Point) -> list[Cell]:
    unit, factor = point.one.unit, point.factor
    spread = " to ".join(number(end, unit) for end in point.spread) if point.spread else ""
    text = ratio_text(factor.value, factor.lo, factor.hi) if factor else ""
    value = number(point.value, unit)
    return [f"{_load(point):g}", point.one.implementation, value, spread, text, *evidence_cells(point)]


def _lines(group: Sequence[Point], styles: Styles, title: str) -> dict[str, Any]:
    places = sorted({_load(point) for point in group})
    traces = []
    for name, style in styles.items():
        own = sorted((point for point in group if point.one.implementation == name), key=_load)
        values = [point.value for point in own]
        traces.append(
            trace(
                name,
                style,
                [_load(point) for point in own],
                [short(value) for value in values],
                marks=[mark_alone(point) for point in own],
                error_y=bars(values, [point.spread for point in own]),
                hovertext=[f"{name}, load {_load(point):g} %: {number(point.value, point.one.unit)}" for point in own],
            )
        )
    ends = [end for point in group for end in (point.value, *(point.spread or ()))]
    across = {"title": {"text": "load, % of capacity"}, "tickvals": places, "ticktext": [f"{at:g}" for at in places]}
    return figure(traces, {"xaxis": across, "yaxis": log_axis(f"{title}, s (lower is better)", ends)})


def _summary(group: Sequence[Point]) -> str:
    """What the lightest and the heaviest load show."""
    places = sorted({_load(point) for point in group})
    shown = [[point for point in group if _load(point) == place] for place in (places[0], places[-1])]
    judged = [point.one for here in shown if any(is_enough(point.one) for point in here) for point in here]
    return " ".join([*(_at(here, _load(here[0])) for here in shown), *left_out(judged)])


def _at(group: Sequence[Point], place: float) -> str:
    here = sorted((point for point in group if is_enough(point.one)), key=lambda point: point.value)
    if not here:
        spans = span_of([point.value for point in group], group[0].one.unit)
        return unsettled(f"At {place:g} % load {spans}", [point.one for point in group])
    low, high = here[0], here[-1]
    near = [point.one.implementation for point in here if point.value <= 1.02 * low.value]
    best = f"{listed(near)} {'has' if len(near) == 1 else 'have'} about {number(low.value, low.one.unit)}"
    worst = f", {high.one.implementation} {number(high.value, high.one.unit)}" if len(near) < len(here) else ""
    return f"At {place:g} % load {best}{worst}."
