"""What it costs to apply a method: its time, as a factor over the baseline's."""

from collections.abc import Iterable, Sequence
from typing import Any

from scripts.catalogue.vocabulary import METRICS
from scripts.website.figures import Cell
from scripts.website.plots.draw import (
    EVIDENCE_COLUMNS,
    FEW_NOTE,
    LINE,
    Key,
    PlotView,
    bars,
    evidence_cells,
    figure,
    keys,
    log_axis,
    mark_of,
    origin_of,
    ratio_text,
    rule,
    short,
    slug_of,
    trace,
)
from scripts.website.plots.points import APPLY_METRICS, Point, alike, ratio_to, subject
from scripts.website.plots.style import Palette, Styles
from scripts.website.plots.text import differences, left_out, number, span_of, unsettled


def time_to_apply(points: Iterable[Point], palette: Palette, folder: str) -> list[PlotView]:
    """One figure a case."""
    cases: dict[str, list[Point]] = {}
    for point in points:
        if point.one.metric in APPLY_METRICS:
            cases.setdefault(point.one.case, []).append(point)
    shown = [group for group in cases.values() if any(point.one is not point.baseline for point in group)]
    return [
        _view(group, name, palette, folder)
        for together in alike(shown)
        for group, name in zip(together, differences(group[0].one.workload for group in together), strict=True)
    ]


def _view(group: Sequence[Point], name: str, palette: Palette, folder: str) -> PlotView:
    ordered = sorted(group, key=_order)
    methods = [point for point in ordered if point.one is not point.baseline]
    base = group[0].baseline
    styles, about = palette.styles(methods), subject(base) + name
    few = [not point.is_settled for point in ordered]
    workload = "; ".join(f"{name.replace('_', ' ')}: {value}" for name, value in base.workload.items())
    columns = ["implementation", METRICS[base.metric].title, f"times {base.implementation}", "energy"]
    return PlotView(
        id=slug_of(f"apply-{about}-{base.implementation}-{group[0].run.machine.name}"),
        title=f"Time to apply the method: {about}",
        summary=_summary(methods, number(_baseline_value(group), base.unit)),
        source="",
        columns=[*columns, *EVIDENCE_COLUMNS],
        rows=[_row(point) for point in ordered],
        figure=_figure(methods, base.implementation, styles),
        folder=folder,
        legend=[*keys(styles, methods, mark_of), Key(f"baseline {base.implementation}", LINE)],
        origin=origin_of(group),
        notes=[
            f"{workload}.",
            "Bars: 95 % bootstrap intervals over interleaved rounds.",
            *([FEW_NOTE] if any(few) else []),
        ],
        points=ordered,
        styles=styles,
        few=few,
    )


def _order(point: Point) -> tuple[bool, float, str]:
    """The quickest first; those of too few samples after all others, by name."""
    return not point.is_settled, point.value if point.is_settled else 0.0, point.one.implementation


def _summary(methods: Sequence[Point], baseline: str) -> str:
    sides = [side for point in methods if not point.is_settled for side in (point.one, point.baseline)]
    settled = [point for point in methods if point.is_settled]
    head = f"{methods[0].baseline.implementation} takes {baseline}"
    if not settled:
        spans = span_of([point.value for point in methods], methods[0].one.unit)
        return unsettled(f"{head}, what it is compared with {spans}", sides)
    slowest = settled[-1]
    said = f"{head}; the slowest, {slowest.one.implementation}, {number(slowest.value, slowest.one.unit)}."
    return " ".join([said, *left_out(sides)])


def _baseline_value(group: Iterable[Point]) -> float:
    return next(point.value for point in group if point.one is point.baseline)


def _row(point: Point) -> list[Cell]:
    ratio = ratio_to(point.one, point.baseline) if point.one is not point.baseline else None
    text = ratio_text(ratio.value, ratio.lo, ratio.hi) if ratio else ""
    energy = "not available" if point.one.energy_j is None else f"{point.one.energy_j:.3g} J"
    return [point.one.implementation, number(point.value, point.one.unit), text, energy, *evidence_cells(point)]


def _figure(methods: list[Point], baseline: str, styles: Styles) -> dict[str, Any]:
    """As the table has them, the quickest at the top; of times, so lower is better."""
    found = [(point, ratio) for point in reversed(methods) if (ratio := ratio_to(point.one, point.baseline))]
    names = [point.one.implementation for point, _ in found]
    traces = [rule([1, 1], [names[0], names[-1]], baseline, "solid", "ink", mode="lines")]
    for point, ratio in found:
        name = point.one.implementation
        text = f"{name}: {number(point.value, point.one.unit)}, {ratio_text(ratio.value, ratio.lo, ratio.hi)}"
        error = bars([ratio.value], [(ratio.lo, ratio.hi)])
        more = {"marks": [mark_of(point)], "error_x": error, "hovertext": [text]}
        traces.append(trace(name, styles[name], [short(ratio.value)], [name], **more))
    reach = [1.0, *(end for _, ratio in found for end in (ratio.lo, ratio.hi))]
    across = log_axis(f"times {baseline} (lower is better)", reach, "×")
    rows = {"type": "category", "categoryorder": "array", "categoryarray": names, "dtick": 1}
    return figure(traces, {"xaxis": across, "yaxis": rows})
