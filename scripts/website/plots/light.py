"""Recall against light, a line a detector: who is found again when a scene gets darker.

Points are grouped by everything in their workload but the brightness; groups of unlike size stand on figures of
their own with the same axes, so that they can be laid side by side.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from scripts.website.enough import is_enough
from scripts.website.figures import Cell
from scripts.website.plots.draw import (
    EVIDENCE_COLUMNS,
    PlotView,
    evidence_cells,
    figure,
    keys,
    log_axis,
    mark_alone,
    origin_of,
    short,
    slug_of,
    spread_text,
    trace,
)
from scripts.website.plots.points import Point
from scripts.website.plots.style import Palette, Styles
from scripts.website.plots.text import left_out, listed, number, span_of, unsettled

FIELD, METRIC = "brightness", "recall"


def recall_by_light(points: Iterable[Point], palette: Palette, folder: str) -> list[PlotView]:
    """One figure for each group that was looked for in several lights."""
    groups: dict[tuple[Any, ...], list[Point]] = {}
    for point in points:
        if point.one.metric == METRIC and isinstance(point.one.workload.get(FIELD), int | float):
            groups.setdefault(_group(point), []).append(point)
    shown = [group for group in groups.values() if len({_light(point) for point in group}) > 1]
    return [_view(group, palette, folder) for group in shown]


def _group(point: Point) -> tuple[Any, ...]:
    return tuple(sorted((key, str(value)) for key, value in point.one.workload.items() if key != FIELD))


def _light(point: Point) -> float:
    return 100 * float(point.one.workload[FIELD] or 0)


def _view(group: Sequence[Point], palette: Palette, folder: str) -> PlotView:
    first = group[0].one
    about = str(first.workload.get("boxes", first.case.split("/")[1]))
    styles = palette.styles(group)
    ordered = sorted(group, key=lambda point: (-_light(point), point.one.implementation))
    return PlotView(
        id=slug_of(f"light-{METRIC}-{about}-{group[0].run.machine.name}"),
        title=f"Recall by light: {about}",
        summary=" ".join(_at(group, place) for place in sorted({_light(point) for point in group}, reverse=True)[1:]),
        source="",
        columns=["light (%)", "implementation", METRIC, "what it is", *EVIDENCE_COLUMNS],
        rows=[_row(point) for point in ordered],
        figure=_lines(group, styles),
        folder=folder,
        legend=keys(styles, group),
        origin=origin_of(group),
        notes=[f"Labels: {first.workload['labels']}."] if "labels" in first.workload else [],
        points=ordered,
        styles=styles,
        sizes=[_light(point) for point in ordered],
    )


def _row(point: Point) -> list[Cell]:
    value = number(point.value, point.one.unit) + spread_text(point)
    return [f"{_light(point):g}", point.one.implementation, value, point.one.note or "", *evidence_cells(point)]


def _lines(group: Sequence[Point], styles: Styles) -> dict[str, Any]:
    places = sorted({_light(point) for point in group})
    traces = []
    for name, style in styles.items():
        own = sorted((point for point in group if point.one.implementation == name), key=_light)
        traces.append(
            trace(
                name,
                style,
                [_light(point) for point in own],
                [short(point.value) for point in own],
                marks=[mark_alone(point) for point in own],
                hovertext=[f"{name}, {_light(point):g} % of the light: {point.value:.3g}" for point in own],
            )
        )
    across = log_axis("light, % of the frame as recorded", places)
    across |= {"tickvals": places, "ticktext": [f"{place:g}" for place in places]}
    up = {"title": {"text": "recall (higher is better)"}, "range": [-0.04, 1.04]}
    return figure(traces, {"xaxis": across, "yaxis": up})


def _at(group: Sequence[Point], place: float) -> str:
    present = [point for point in group if _light(point) == place]
    here = sorted((point for point in present if is_enough(point.one)), key=lambda point: -point.value)
    sides = [point.one for point in present]
    if not here:
        return unsettled(f"At {place:g} % of the light {span_of([point.value for point in present], '1')}", sides)
    said = [f"{point.one.implementation} {point.value:.2f}" for point in here]
    return " ".join([f"At {place:g} % of the light {listed(said)}.", *left_out(sides)])
