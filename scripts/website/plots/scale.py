"""Figures along an axis of the workload: the factor over the baseline, and the share of the physical limit.

Points are grouped by everything in their workload but the axis, so that one figure compares one thing. Where a group
has one place on the axis, its implementations stand below each other instead.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from scripts.catalogue.vocabulary import METRICS
from scripts.website.enough import TOO_FEW
from scripts.website.figures import Cell
from scripts.website.plots.draw import (
    EVIDENCE_COLUMNS,
    FEW_NOTE,
    LINE,
    Key,
    Mark,
    PlotView,
    bars,
    evidence_cells,
    figure,
    keys,
    log_axis,
    mark_alone,
    mark_of,
    origin_of,
    ratio_text,
    rule,
    short,
    slug_of,
    trace,
)
from scripts.website.plots.points import Point, alike, is_speed, subject
from scripts.website.plots.style import Palette, Styles
from scripts.website.plots.text import change_points, differences, extremes, left_out, listed, number, unsettled


@dataclass(frozen=True)
class Axis:
    """The field of the workload along which points are laid.

    joins: fields that may differ within a figure, such as whether values were measured or foretold.
    """

    field: str
    title: str
    joins: tuple[str, ...] = ()


BATCH = Axis("batch", "batch size")
CONTEXT = Axis("cached_tokens", "tokens in the cache")
PROMPT = Axis("prompt_tokens", "tokens of the prompt")
ACCEPTANCE = Axis("acceptance", "chance that a guess is right", ("values",))
DRAFT_COST = Axis("draft_cost", "cost of a guess, as a share of a plain step", ("values",))
PASS_RATIO = Axis("pass_ratio", "draft steps in the time of a target's pass")


@dataclass(frozen=True)
class Quantity:
    """What is drawn of each point: a value with its ends, the line to read it against, and the words for both."""

    id: str
    title: str
    axis_title: str
    value: Callable[[Point], float | None]
    ends: Callable[[Point], tuple[float, float] | None]
    line: float
    line_text: str
    suffix: str
    mark: Callable[[Point], Mark]


def _factor(point: Point) -> float | None:
    return point.factor.value if point.factor else None


def _factor_ends(point: Point) -> tuple[float, float] | None:
    return (point.factor.lo, point.factor.hi) if point.factor else None


def _percent(point: Point) -> float | None:
    return None if point.share is None else 100 * point.share


def _percent_ends(point: Point) -> tuple[float, float] | None:
    if point.share is None or point.spread is None:
        return None
    ends = [point.share * 100 * (end / point.value) for end in point.spread]
    return (ends[0], ends[1]) if point.one.better == "higher" else _inverse(point, point.spread)


def _inverse(point: Point, spread: tuple[float, float]) -> tuple[float, float]:
    share = 100 * (point.share or 0)
    return share * point.value / spread[1], share * point.value / spread[0]


SPEED = Quantity(
    id="speed",
    title="Speed against {baseline}",
    axis_title="factor over {baseline} (higher is better)",
    value=_factor,
    ends=_factor_ends,
    line=1.0,
    line_text="{baseline}, break-even",
    suffix="×",
    mark=mark_of,
)
LIMIT = Quantity(
    id="limit",
    title="Share of the physical limit",
    axis_title="share of the limit, % (higher is better)",
    value=_percent,
    ends=_percent_ends,
    line=100.0,
    line_text="physical limit",
    suffix="",
    mark=mark_alone,
)


def along(points: Iterable[Point], quantity: Quantity, axis: Axis, palette: Palette, folder: str) -> list[PlotView]:
    """One figure a group; groups without a value are left out."""
    groups: dict[tuple[Any, ...], list[Point]] = {}
    for point in points:
        has_place = isinstance(point.one.workload.get(axis.field), int | float)
        if is_speed(point.one) and has_place and quantity.value(point) is not None:
            groups.setdefault(_group(point, axis), []).append(point)
    shown = [group for group in groups.values() if any(point.one.role == "method" for point in group)]
    named = [
        (group, name)
        for together in alike(shown)
        for group, name in zip(
            together, differences((group[0].one.workload for group in together), [axis.field, *axis.joins]), strict=True
        )
    ]
    return [_view(group, name, quantity, axis, palette, folder) for group, name in named]


def _group(point: Point, axis: Axis) -> tuple[Any, ...]:
    rest = tuple(
        sorted((key, str(value)) for key, value in point.one.workload.items() if key not in (axis.field, *axis.joins))
    )
    return point.one.metric, point.baseline.implementation, rest


def _place(point: Point, axis: Axis) -> float:
    return float(point.one.workload[axis.field] or 0)


def _view(group: Sequence[Point], name: str, quantity: Quantity, axis: Axis, palette: Palette, folder: str) -> PlotView:
    """`name`: what tells the group from others of its kind."""
    first = group[0]
    about, metric = subject(first.one) + name, METRICS[first.one.metric]
    places = sorted({_place(point, axis) for point in group})
    baseline = first.baseline.implementation
    styles = palette.styles(group)
    at = f"by {axis.title}" if len(places) > 1 else f"at {axis.title} {places[0]:g}"
    drawn = _lines(group, quantity, axis, styles) if len(places) > 1 else _dots(group, quantity, styles)
    ordered = sorted(group, key=lambda point: _order(point, axis))
    return PlotView(
        id=slug_of(f"{quantity.id}-{axis.field}-{first.one.metric}-{about}-{baseline}-{first.run.machine.name}"),
        title=f"{quantity.title.format(baseline=baseline)} {at}, {metric.title}: {about}",
        summary=_summary(group, quantity, axis, places),
        source="",
        columns=[axis.title, "implementation", *_columns(quantity, metric.title, baseline), *EVIDENCE_COLUMNS],
        rows=[_row(point, quantity, axis) for point in ordered],
        figure=drawn,
        folder=folder,
        legend=[*keys(styles, group, quantity.mark), Key(quantity.line_text.format(baseline=baseline), LINE)],
        origin=origin_of(group),
        notes=_notes(group, quantity, metric.title),
        points=ordered,
        styles=styles,
        few=[quantity.mark(point) == "few" for point in ordered],
        sizes=[_place(point, axis) for point in ordered] if len(places) > 1 else (),
    )


def _order(point: Point, axis: Axis) -> tuple[float, bool, str]:
    return _place(point, axis), point.one.role == "peer", point.one.implementation


def _columns(quantity: Quantity, metric: str, baseline: str) -> list[str]:
    if quantity is SPEED:
        return [f"{metric}, median", f"factor over {baseline}", "difference", "quality"]
    return [f"{metric}, median", "share of the limit (%)", "formula of the limit"]


def _row(point: Point, quantity: Quantity, axis: Axis) -> list[Cell]:
    head: list[Cell] = [f"{_place(point, axis):g}", point.one.implementation, number(point.value, point.one.unit)]
    if quantity is SPEED:
        factor = point.factor
        text = ratio_text(factor.value, factor.lo, factor.hi) if factor else ""
        said = _said(point)
        quality = point.one.quality
        kept = f"{METRICS[quality.metric].title} {quality.value:.4g}" if quality else ""
        return [*head, text, said, kept, *evidence_cells(point)]
    formula = point.one.limit.formula if point.one.limit else ""
    ends = [f"{100 * end:.0f}" for end in point.share_spread or ()]
    spread = f" [{', '.join(ends)}]" if ends else ""
    return [*head, f"{100 * (point.share or 0):.0f}{spread}", formula, *evidence_cells(point)]


def _said(point: Point) -> str:
    if not point.is_settled:
        return TOO_FEW
    factor = point.factor
    return "no difference seen" if point.is_tied else "better" if factor and factor.lo > 1 else "worse"


def _notes(group: Sequence[Point], quantity: Quantity, metric: str) -> list[str]:
    notes = [f"Measured: {metric.lower()}."]
    if quantity is SPEED:
        notes.append("Bars: 95 % bootstrap intervals over interleaved rounds.")
    elif any((point.share or 0) > 1 for point in group):
        notes.append("A share above 100 % means that the ceiling was measured in a slower moment.")
    if quantity is SPEED and not all(point.is_settled for point in group):
        notes.append(FEW_NOTE)
    lossy = sorted({point.one.implementation for point in group if point.one.quality})
    if quantity is SPEED and lossy:
        notes.append(f"{listed(lossy)} change the output; how much stands in the table, under quality.")
    return notes


def _hover(point: Point, quantity: Quantity, axis: Axis) -> str:
    value, ends = quantity.value(point), quantity.ends(point)
    span = f" [{ends[0]:.3g}, {ends[1]:.3g}]" if ends else ""
    told: dict[Mark, str] = {"full": "", "tied": ", no difference seen", "few": f", {TOO_FEW}"}
    where = f"{axis.title} {_place(point, axis):g}: " if axis.field in point.one.workload else ""
    return f"{point.one.implementation}, {where}{value:.3g}{quantity.suffix or ' %'}{span}{told[quantity.mark(point)]}"


def _lines(group: Sequence[Point], quantity: Quantity, axis: Axis, styles: Styles) -> dict[str, Any]:
    baseline = group[0].baseline.implementation
    places = sorted({_place(point, axis) for point in group})
    traces = [
        rule([places[0], places[-1]], [quantity.line] * 2, quantity.line_text.format(baseline=baseline), tone="ink")
    ]
    for name, style in styles.items():
        own = sorted((p for p in group if p.one.implementation == name), key=lambda point: _place(point, axis))
        values = [quantity.value(point) or 0.0 for point in own]
        traces.append(
            trace(
                name,
                style,
                [_place(point, axis) for point in own],
                [short(value) for value in values],
                marks=[quantity.mark(point) for point in own],
                error_y=bars(values, [quantity.ends(point) for point in own]),
                hovertext=[_hover(point, quantity, axis) for point in own],
            )
        )
    across = log_axis(axis.title, places)
    across |= {"tickvals": places, "ticktext": [f"{place:g}" for place in places]}
    title = quantity.axis_title.format(baseline=baseline)
    up = log_axis(title, [quantity.line, *_reach(group, quantity)], quantity.suffix)
    return figure(traces, {"xaxis": across, "yaxis": up})


def _reach(group: Iterable[Point], quantity: Quantity) -> list[float]:
    """All values and their ends: what an axis has to hold."""
    found = [(quantity.value(point), quantity.ends(point)) for point in group]
    return [end for value, ends in found if value is not None for end in (value, *(ends or ()))]


def _dots(group: Sequence[Point], quantity: Quantity, styles: Styles) -> dict[str, Any]:
    """Best at the top; those of too few samples below, by name."""
    baseline = group[0].baseline.implementation
    few = [point for point in group if quantity.mark(point) == "few"]
    ordered = sorted(few, key=lambda point: point.one.implementation, reverse=True)
    ordered += sorted((p for p in group if p not in few), key=lambda point: quantity.value(point) or 0.0)
    names = [point.one.implementation for point in ordered]
    traces = [
        rule(
            [quantity.line] * 2,
            [names[0], names[-1]],
            quantity.line_text.format(baseline=baseline),
            "solid",
            "ink",
            mode="lines",
        )
    ]
    for point in ordered:
        value = quantity.value(point) or 0.0
        traces.append(
            trace(
                point.one.implementation,
                styles[point.one.implementation],
                [short(value)],
                [point.one.implementation],
                marks=[quantity.mark(point)],
                error_x=bars([value], [quantity.ends(point)]),
                hovertext=[_hover(point, quantity, BATCH)],
            )
        )
    title = quantity.axis_title.format(baseline=baseline)
    across = log_axis(title, [quantity.line, *_reach(group, quantity)], quantity.suffix)
    rows = {"type": "category", "categoryorder": "array", "categoryarray": names, "dtick": 1}
    return figure(traces, {"xaxis": across, "yaxis": rows})


def _summary(group: Sequence[Point], quantity: Quantity, axis: Axis, places: list[float]) -> str:
    if quantity is LIMIT:
        return extremes(group, axis.field, axis.title)
    sides = [side for point in group if not point.is_settled for side in (point.one, point.baseline)]
    if not any(point.is_settled for point in group):
        factors = sorted(_factor(point) or 0.0 for point in group)
        span = " to ".join(dict.fromkeys(f"{end:.3g}×" for end in (factors[0], factors[-1])))
        return unsettled(f"Factor over {group[0].baseline.implementation} {span}", sides)
    said = "; ".join(_best_text(group, axis, place) for place in dict.fromkeys((places[0], places[-1])))
    methods = list(dict.fromkeys(point.one.implementation for point in group if point.one.role == "method"))
    more = [*(turn for name in methods for turn in _turns(group, name, axis)), *_never(group, methods)]
    return " ".join([f"{said[:1].upper()}{said[1:]}.", *more, *left_out(sides)])


def _never(group: Sequence[Point], methods: Sequence[str]) -> list[str]:
    """Methods that cost time wherever they were run, which readers of claims ask about first."""
    slow = [name for name in methods if all(_is_slower(point) for point in group if point.one.implementation == name)]
    where = f"slower than {group[0].baseline.implementation} wherever measured"
    return [f"{listed(slow)} {'is' if len(slow) == 1 else 'are'} {where}."] if slow else []


def _is_slower(point: Point) -> bool:
    return point.is_settled and (point.factor is None or point.factor.hi < 1)


def _best_text(group: Sequence[Point], axis: Axis, place: float) -> str:
    here, at = [point for point in group if _place(point, axis) == place], f"at {axis.title} {place:g}"
    settled = [point for point in here if point.is_settled]
    if not settled:
        return f"{at} {TOO_FEW}"
    if len(settled) < len(here):
        at += ", among those with enough runs,"
    point = max(settled, key=lambda point: _factor(point) or 0.0)
    factor, baseline = point.factor, point.baseline.implementation
    if factor is None or factor.hi < 1:
        return f"{at} nothing is faster than {baseline}"
    if point.is_tied:
        return f"{at} nothing differs from {baseline} for the better"
    return f"{at} {point.one.implementation} is best, {ratio_text(factor.value, factor.lo, factor.hi)}"


def _turns(group: Sequence[Point], name: str, axis: Axis) -> list[str]:
    """Between which places a method's own series passes break-even, by points with samples enough."""
    mine = (p for p in group if p.one.implementation == name and p.one.role == "method" and p.is_settled)
    own = sorted(mine, key=lambda p: _place(p, axis))
    return [
        change_points(name, axis.title, _place(a, axis), _place(b, axis), (_factor(b) or 0) > 1)
        for a, b in pairwise(own)
        if ((_factor(a) or 0) > 1) != ((_factor(b) or 0) > 1)
    ]
