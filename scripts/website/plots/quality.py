"""Quality against size: what a method keeps of the model, at how many stored bits (or bytes, or parameters).

Quality and size are cases of their own; those whose ids differ in the last part alone belong together, and their
implementations are joined by name. One figure a model and text: a perplexity means nothing outside its text.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from scripts.catalogue.model import Measurement
from scripts.catalogue.vocabulary import METRICS
from scripts.website.enough import TOO_FEW, settles
from scripts.website.figures import Cell
from scripts.website.plots.draw import (
    EVIDENCE_COLUMNS,
    LINE,
    Key,
    PlotView,
    Trace,
    bars,
    evidence_cells,
    few_or_full,
    figure,
    keys,
    log_axis,
    meanings,
    origin_of,
    rule,
    short,
    slug_of,
    spread_text,
    trace,
)
from scripts.website.plots.points import QUALITY_METRICS, Point, alike, subject
from scripts.website.plots.style import Palette, Styles
from scripts.website.plots.text import differences, left_out, listed, number, span_of, unsettled

WIDE = 8
"""Implementations beyond which a figure takes the page's whole width."""

TEXT_FIELDS = ("text", "tokens", "context_length", "dataset", "task")
"""Fields of a workload that decide whether two qualities may be compared."""


@dataclass(frozen=True)
class Size:
    """The axis of sizes: a metric measured in a case beside the quality's, or a field of the workload."""

    id: str
    title: str
    of: Callable[[Point, "Index"], float | None]
    is_saved: bool = False
    """Whether the axis counts what is taken away, so that more of it is better."""
    is_measured: bool = True
    """Whether each implementation has a size of its own; a field of the workload is no size of the baseline."""


@dataclass(frozen=True)
class Pair:
    """A point of quality with its size. beside: the measurements that the size comes from"""

    point: Point
    size: float
    beside: tuple[Measurement, ...] = ()

    @property
    def sides(self) -> tuple[Measurement, ...]:
        """What was measured of it."""
        return self.point.one, *self.beside

    @property
    def is_settled(self) -> bool:
        """Whether there are samples enough to rank it."""
        return settles(*self.sides)


Index = dict[tuple[str, str, str], Point]
"""(prefix of the case, implementation, metric) -> point."""


def by_metric(metric: str) -> Size:
    """Sizes from the case that measures this metric under the same prefix."""
    known = METRICS[metric]
    unit = "" if known.unit == "1" else f", {known.unit}"
    title = f"{known.title}{unit} ({known.better} is better)"
    return Size(metric, title, _beside(metric), is_saved=known.better == "higher")


def _beside(metric: str) -> Callable[[Point, Index], float | None]:
    def find(point: Point, index: Index) -> float | None:
        found = index.get((point.prefix, point.one.implementation, metric))
        return found.value if found else None

    return find


def by_field(field: str, title: str, is_saved: bool = False) -> Size:
    """Sizes from a field of the workload, such as a share of zeros."""

    def find(point: Point, _: Index) -> float | None:
        value = point.one.workload.get(field)
        return float(value) if isinstance(value, int | float) else None

    return Size(field, title, find, is_saved, is_measured=False)


def index_of(points: Iterable[Point]) -> Index:
    """Points by what joins them."""
    return {(point.prefix, point.one.implementation, point.one.metric): point for point in points}


def pairs_of(points: Iterable[Point], size: Size, metrics: Collection[str] = QUALITY_METRICS) -> list[Pair]:
    """Every quality that has a size. metrics: which count as quality"""
    points = list(points)
    index = index_of(points)
    sized = ((point, size.of(point, index)) for point in points if point.one.metric in metrics)
    return [Pair(point, value, _beside_of(point, size, index)) for point, value in sized if value is not None]


def _beside_of(point: Point, size: Size, index: Index) -> tuple[Measurement, ...]:
    found = index.get((point.prefix, point.one.implementation, size.id)) if size.is_measured else None
    return (found.one,) if found else ()


def front_of(pairs: Sequence[Pair], is_saved: bool = False) -> list[Pair]:
    """The Pareto front: no other saves as much and is better. What saves most comes first; few samples do not count."""
    best: list[Pair] = []
    settled = [pair for pair in pairs if pair.is_settled]
    for pair in sorted(settled, key=lambda pair: (-pair.size if is_saved else pair.size, _badness(pair))):
        if not best or _badness(pair) < _badness(best[-1]):
            best.append(pair)
    return best


def _badness(pair: Pair) -> float:
    return -pair.point.value if pair.point.one.better == "higher" else pair.point.value


def quality_against(
    points: Iterable[Point], size: Size, palette: Palette, folder: str, metrics: Collection[str] = QUALITY_METRICS
) -> list[PlotView]:
    """One figure a model, text and metric."""
    groups: dict[tuple[str, ...], list[Pair]] = {}
    for pair in pairs_of(points, size, metrics):
        groups.setdefault(_group(pair.point), []).append(pair)
    shown = [pairs for pairs in groups.values() if any(pair.point.one.role == "method" for pair in pairs)]
    by_first = {id(pairs[0].point): pairs for pairs in shown}
    views = []
    for together in alike([[pair.point for pair in pairs] for pairs in shown]):
        texts = [{name: group[0].one.workload.get(name) for name in TEXT_FIELDS} for group in together]
        for group, name in zip(together, differences(texts), strict=True):
            views.append(_view(by_first[id(group[0])], name, size, palette, folder))
    return _told_apart(views)


def _told_apart(views: list[PlotView]) -> list[PlotView]:
    """Figures that differ in their baseline alone are named after it, so that each has an address of its own."""
    count = Counter(view.id for view in views)
    names = [view.points[0].baseline.implementation for view in views]
    return [
        replace(view, id=slug_of(f"{view.id} {name}"), title=f"{view.title}, beside {name}")
        if count[view.id] > 1
        else view
        for view, name in zip(views, names, strict=True)
    ]


def _group(point: Point) -> tuple[str, ...]:
    workload = point.one.workload
    return (point.one.metric, subject(point.one), *(str(workload.get(field)) for field in TEXT_FIELDS))


def _view(pairs: list[Pair], name: str, size: Size, palette: Palette, folder: str) -> PlotView:
    """`name`: what tells the text from others of the same model."""
    own = [pair for pair in pairs if pair.point.one.role != "baseline"]
    points = [pair.point for pair in own]
    first = points[0]
    metric, about = METRICS[first.one.metric], subject(first.one) + name
    styles, front = palette.styles(points), front_of(own, size.is_saved)
    base = next((pair for pair in pairs if pair.point.one.role == "baseline"), None)
    ordered = sorted(pairs, key=lambda pair: (pair.size, _badness(pair)))
    legend = [*keys(styles, points, lambda _: "full"), *meanings(few_or_full(*pair.sides) for pair in own)]
    legend += [Key("Pareto front", replace(LINE, dash="dot"))] if front else []
    return PlotView(
        id=slug_of(f"quality-{size.id}-{first.one.metric}-{about}-{first.run.machine.name}"),
        title=f"{metric.title.capitalize()} against {size.title.partition(' (')[0].partition(',')[0]}: {about}",
        summary=_summary(own, front, base),
        source="",
        columns=["implementation", size.title.partition(" (")[0], metric.title, "on the front", *EVIDENCE_COLUMNS],
        rows=[_row(pair, front) for pair in ordered],
        figure=_figure(own, base, size, styles, front),
        folder=folder,
        legend=[*legend, *([Key(f"baseline {base.point.one.implementation}", LINE)] if base else [])],
        origin=origin_of(points),
        notes=_notes(first, own),
        is_wide=len(styles) > WIDE,
        points=[pair.point for pair in ordered],
        styles=styles,
        few=[not pair.is_settled for pair in ordered],
        sizes=[pair.size for pair in ordered],
        is_saved=size.is_saved,
    )


def _part(pair: Pair) -> str:
    """The last part of the case's prefix, which tells points of one size apart."""
    return pair.point.prefix.rpartition("/")[2]


def _row(pair: Pair, front: Sequence[Pair]) -> list[Cell]:
    point = pair.point
    on_front = "yes" if pair in front else "" if pair.is_settled else TOO_FEW
    if point.one.role == "baseline":
        on_front = "baseline"
    return [
        point.one.implementation,
        f"{pair.size:.4g}",
        f"{point.value:.4g}{spread_text(point)}",
        on_front,
        *evidence_cells(point),
    ]


def _notes(first: Point, own: Sequence[Pair]) -> list[str]:
    fields = [(name, first.one.workload.get(name)) for name in ("weights", *TEXT_FIELDS)]
    notes = ["; ".join(f"{name.replace('_', ' ')}: {value}" for name, value in fields if value is not None) + "."]
    if any(pair.point.spread for pair in own):
        notes.append("Bars: range over seeds, or the 95 % interval of the median where there are enough.")
    return notes


def _summary(own: Sequence[Pair], front: Sequence[Pair], base: Pair | None) -> str:
    """Who makes up the front, and what its smallest member costs; of few samples, what they measured."""
    one = own[0].point.one
    if not front:
        spans = span_of([pair.point.value for pair in own], one.unit)
        return unsettled(f"{METRICS[one.metric].title.capitalize()} {spans}", _sides(own))
    judged = base if base and base.is_settled else None
    others = [*own, base] if base else own
    said = _front_text(front, judged)
    if not all(pair.is_settled for pair in own):
        said = f"Among those with enough runs, t{said[1:]}"
    return " ".join([said, *left_out(_sides(others))])


def _sides(pairs: Iterable[Pair]) -> list[Measurement]:
    return [side for pair in pairs for side in pair.sides]


def _front_text(front: Sequence[Pair], base: Pair | None) -> str:
    names = listed(list(dict.fromkeys(pair.point.one.implementation for pair in front)))
    smallest = front[0]
    text = f"The Pareto front is made of {names}"
    if base is None or not base.point.value:
        return f"{text}."
    unit = smallest.point.one.unit
    change = 100 * (smallest.point.value / base.point.value - 1)
    return (
        f"{text}; {smallest.point.one.implementation} at {smallest.size:.3g} saves most and has "
        f"{number(smallest.point.value, unit)} against {number(base.point.value, unit)} of "
        f"{base.point.one.implementation} ({change:+.0f} %)."
    )


def _figure(own: list[Pair], base: Pair | None, size: Size, styles: Styles, front: Sequence[Pair]) -> dict[str, Any]:
    sizes, values = [pair.size for pair in own], [pair.point.value for pair in own]
    low, high = min(sizes), max(sizes)
    ends = (low / 1.12, high * 1.12) if low > 0 else (low, high)
    traces = [_front_line(front)] if front else []
    if base:
        line = [*ends], [short(base.point.value)] * 2
        own_size = f", {base.size:.4g}" if size.is_measured else ""
        traces.append(rule(*line, f"{base.point.one.implementation}{own_size}", "solid", "ink"))
    for name, style in styles.items():
        mine = [pair for pair in own if pair.point.one.implementation == name]
        mine.sort(key=lambda pair: (pair.size, _badness(pair)))  # as the table has them
        traces.append(
            trace(
                name,
                style,
                [short(pair.size) for pair in mine],
                [short(pair.point.value) for pair in mine],
                marks=[few_or_full(*pair.sides) for pair in mine],
                error_y=bars([pair.point.value for pair in mine], [pair.point.spread for pair in mine]),
                hovertext=[f"{name}: {pair.point.value:.4g} at {pair.size:.4g}, {_part(pair)}" for pair in mine],
                **({} if len({pair.size for pair in mine}) == len(mine) else {"mode": "markers"}),
            )
        )
    metric = METRICS[own[0].point.one.metric]
    unit = "" if metric.unit == "1" else f", {metric.unit}"
    spreads = [end for pair in own for end in pair.point.spread or ()]
    reach = [*values, *spreads, *([base.point.value] if base else [])]
    up = _axis(f"{metric.title}{unit} ({metric.better} is better)", reach)
    return figure(traces, {"xaxis": _axis(size.title, sizes), "yaxis": up})


def _front_line(front: Sequence[Pair]) -> Trace:
    places, values = [pair.size for pair in front], [short(pair.point.value) for pair in front]
    line = {"dash": "dot", "shape": "hv", "width": 1.5}
    return rule(places, values, "", tone="ink", mode="lines", line=line)


def _axis(title: str, values: list[float]) -> dict[str, Any]:
    """Logarithmic where that can be: few bits and small losses lie close together."""
    return log_axis(title, values) if min(values) > 0 else {"title": {"text": title}}
