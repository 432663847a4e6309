"""Words for figures: numbers with units, lists, and sentences that follow from the data."""

from collections.abc import Iterable, Mapping, Sequence
from textwrap import shorten
from typing import Any

from scripts.catalogue.model import Measurement
from scripts.website.enough import is_enough, too_few
from scripts.website.plots.points import Point

_PREFIXES = ((1.0, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n"))


def number(value: float, unit: str) -> str:
    """A value with its unit; seconds with the prefix that leaves one to three digits before the point."""
    if unit != "s":
        return f"{value:.4g}" + ("" if unit == "1" else f" {unit}")
    scale, prefix = next(((s, p) for s, p in _PREFIXES if value >= s), _PREFIXES[-1])
    return f"{value / scale:.3g} {prefix}s"


def span_of(values: Sequence[float], unit: str) -> str:
    """From the least to the largest."""
    low, high = (number(end, unit) for end in (min(values), max(values)))
    return low if low == high else f"{low} to {high}"


def unsettled(said: str, sides: Iterable[Measurement]) -> str:
    """What was measured, where there were too few samples for more: nobody is named first, best or slowest."""
    return f"{said}; {too_few(sides)}."


def left_out(sides: Iterable[Measurement]) -> list[str]:
    """A sentence on those that the ones before it do not judge, for their few samples; none where there are none."""
    short = [one for one in sides if not is_enough(one)]
    if not short:
        return []
    names = list(dict.fromkeys(one.implementation for one in short))
    if len(names) == 1:
        return [f"{too_few(short)}."]
    whose = listed(names) if len(names) < 5 else f"{len(names)} implementations"
    return [f"Not judged: points of {whose}, {too_few(short)}."]


def listed(names: Sequence[str]) -> str:
    """a, b and c."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def differences(workloads: Iterable[Mapping[str, Any]], but: Iterable[str] = ()) -> list[str]:
    """For each of several workloads the fields that tell it from the others, in words; nothing where it is alone."""
    workloads, left_out = list(workloads), set(but)
    fields = [name for name in dict.fromkeys(name for one in workloads for name in one) if name not in left_out]
    differing = [name for name in fields if len({str(one.get(name)) for one in workloads}) > 1]
    words = [
        [
            f"{name.replace('_', ' ')} {shorten(str(one[name]), 60, placeholder='…')}"
            for name in differing
            if name in one
        ]
        for one in workloads
    ]
    return ["".join(f", {word}" for word in found) for found in words]


def extremes(group: Sequence[Point], field: str, title: str) -> str:
    """Who comes nearest to the limit, and who stays furthest from it; field, title: of the axis."""
    sides = [point.one for point in group]
    ordered = sorted((point for point in group if is_enough(point.one)), key=lambda point: point.share or 0.0)
    if not ordered:
        reached = sorted(group, key=lambda point: point.share or 0.0)
        ends = dict.fromkeys(_percent(point) for point in (reached[0], reached[-1]))
        return unsettled(f"{' to '.join(ends)} of the limit", sides)
    low, high = ordered[0], ordered[-1]
    if len(ordered) == 1:
        said = f"{_where(high, field, title)} reaches {_percent(high)} of the limit."
    else:
        near, far = (f"{_where(point, field, title)} with {_percent(point)}" for point in (high, low))
        said = f"Nearest to the limit is {near}, furthest {far}."
    return " ".join([said, *left_out(sides)])


def _where(point: Point, field: str, title: str) -> str:
    return f"{point.one.implementation} at {title} {point.one.workload[field]}"


def _percent(point: Point) -> str:
    share = 100 * (point.share or 0.0)
    return f"{share:.0f} %" if share >= 10 else f"{share:.2g} %"


def change_points(name: str, axis: str, before: float, after: float, is_better: bool) -> str:
    """A series that passes break-even between two places."""
    return f"{name} {'gains' if is_better else 'loses'} its lead between {axis} {before:g} and {after:g}."
