"""Figures of the recorded study of stopping rules: how often each is right, at which cost, on which kind of noise.

Everything is computed from one recorded run of the suite `measurement`. On figures by shape a colour and a mark stand
for a kind of noise, not for a technique: the techniques are the rows.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from math import sqrt
from statistics import fmean, median
from typing import Any

from scripts.catalogue.model import Measurement
from scripts.website.enough import settles, too_few
from scripts.website.figures import Cell
from scripts.website.plots.draw import (
    LINE,
    OPEN,
    Key,
    PlotView,
    Trace,
    figure,
    log_axis,
    meanings,
    origin_of,
    short,
    slug_of,
)
from scripts.website.plots.draw import rule as reference_line
from scripts.website.plots.points import Point
from scripts.website.plots.style import COLOURS, SYMBOLS, Palette, Style

SUITE = "measurement"
NOMINAL = 95.0
MIDDLE, WORST = Style(1, "circle", "solid"), Style(5, "diamond", "solid")
_METRICS = ("stop_coverage", "repetitions", "interval_coverage", "worst_error")


@dataclass(frozen=True)
class Score:
    """One rule on one shape: shares in %, cost in runs, error in %."""

    stop_coverage: float
    repetitions: float
    interval_coverage: float
    worst_error: float
    trials: int

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of `stop_coverage`, in %."""
        return wilson(self.stop_coverage, self.trials)


@dataclass(frozen=True)
class Drawing:
    """A figure before its place and origin are known."""

    id: str
    title: str
    summary: str
    note: str
    columns: list[str]
    rows: list[list[Cell]]
    legend: list[Key]
    figure: dict[str, Any]


Scores = dict[str, dict[str, Score]]
"""Shape -> rule -> score."""


def stopping_plot(
    points: Iterable[Point],
    palette: Palette,  # noqa: ARG001 colours stand for kinds of noise here
    folder: str,
    *,
    which: Callable[[list[Measurement]], Drawing | None],
    of: Callable[[Measurement], bool],
) -> list[PlotView]:
    """One of the figures of this module, of one run; none where the run did not record what it shows.

    of: whether the figure is about a measurement.
    """
    found = [point for point in points if point.run.suite == SUITE and of(point.one)]
    drawn = which([point.one for point in found])
    return [_placed(drawn, found, folder)] if drawn else []


def _placed(drawn: Drawing, points: Sequence[Point], folder: str) -> PlotView:
    """A drawing as a page shows it, with its origin; each of its numbers comes from all of the points."""
    sides = [point.one for point in points]
    is_settled = settles(*sides)
    return PlotView(
        id=slug_of(f"{drawn.id}-{points[0].run.machine.name}"),
        title=drawn.title,
        summary=drawn.summary if is_settled else f"{too_few(sides)}.",
        source="",
        columns=drawn.columns,
        rows=drawn.rows,
        figure=drawn.figure if is_settled else _hollow(drawn.figure),
        folder=folder,
        legend=drawn.legend if is_settled else [*drawn.legend, *meanings(["few"])],
        origin=origin_of(points),
        notes=[drawn.note],
    )


def _hollow(drawn: dict[str, Any]) -> dict[str, Any]:
    """The figure with every mark as one of too few samples."""
    traces = [
        one | {"marker": one["marker"] | {"symbol": one["marker"]["symbol"] + OPEN["few"], "line": {"width": 1.5}}}
        if "marker" in one
        else one
        for one in drawn["data"]
    ]
    return drawn | {"data": traces}


def _is_study(one: Measurement) -> bool:
    """Of series whose truth is known."""
    return "trials" in one.workload


def _is_replay(one: Measurement) -> bool:
    """Of recorded latencies, watched by a rule."""
    return "/replay-" in one.case


def scores_of(measurements: Iterable[Measurement]) -> Scores:
    """Shape by shape, what both of its cases hold: the samples of one metric each, and the quality beside them."""
    values: dict[str, dict[str, dict[str, float]]] = {}
    trials: dict[str, int] = {}
    for one in measurements:
        if not _is_study(one):
            continue
        shape = one.case.split("/")[1]
        trials[shape] = int(one.workload["trials"] or 0)
        found = values.setdefault(shape, {}).setdefault(one.implementation, {})
        found[one.metric] = fmean(one.samples)
        if one.quality:
            found[one.quality.metric] = one.quality.value
    return {
        shape: {
            rule: Score(**{name: found[name] for name in _METRICS}, trials=trials[shape])
            for rule, found in rules.items()
            if set(_METRICS) <= set(found)
        }
        for shape, rules in sorted(values.items())
    }


def wilson(share: float, trials: int, z: float = 1.96) -> tuple[float, float]:
    """The 95 % score interval of a share of independent trials, all in %."""
    p, grain = share / 100, z * z / trials
    middle = (p + grain / 2) / (1 + grain)
    reach = z / (1 + grain) * sqrt(p * (1 - p) / trials + grain / (4 * trials))
    return 100 * max(0.0, middle - reach), 100 * min(1.0, middle + reach)


def on_every_shape(scores: Scores) -> list[str]:
    """The rules that were run on all shapes, the cheapest on average first."""
    rules = set.intersection(*(set(rules) for rules in scores.values())) if scores else set()
    return sorted(rules, key=lambda rule: (_mean_cost(scores, rule), rule))


def _mean_cost(scores: Scores, rule: str) -> float:
    return fmean(rules[rule].repetitions for rules in scores.values())


def _worst_shape(scores: Scores, rule: str) -> str:
    return min(scores, key=lambda shape: scores[shape][rule].stop_coverage)


def _with_interval(share: float, trials: int) -> str:
    low, high = wilson(share, trials)
    return f"{share:.1f} [{low:.1f}, {high:.1f}]"


def _shares(scores: Scores, rule: str) -> list[float]:
    return [rules[rule].stop_coverage for rules in scores.values()]


def _mean_and_worst(measurements: Iterable[Measurement]) -> Drawing | None:
    """What a rule buys over a fixed count of the same cost is the worst shape, so both are drawn."""
    scores = scores_of(measurements)
    rules = on_every_shape(scores)
    if not rules:
        return None
    labels = [f"{rule} ({_mean_cost(scores, rule):.0f})" for rule in rules]
    shares = {rule: _shares(scores, rule) for rule in rules}
    rows: list[list[Cell]] = [
        [
            rule,
            f"{_mean_cost(scores, rule):.0f}",
            f"{fmean(shares[rule]):.1f}",
            _with_interval(min(shares[rule]), scores[_worst_shape(scores, rule)][rule].trials),
            _worst_shape(scores, rule),
            f"{max(found[rule].worst_error for found in scores.values()):.1f}",
        ]
        for rule in rules
    ]
    traces = [
        _dots("worst shape", [min(shares[rule]) for rule in rules], labels, WORST),
        _dots("mean of the shapes", [fmean(shares[rule]) for rule in rules], labels, MIDDLE),
    ]
    return Drawing(
        id="stopping-worst",
        title="How often a rule is right at its stop: on average and on the worst shape",
        summary=_worst_summary(shares, scores),
        note=_seeded(scores),
        columns=[
            "rule",
            "mean runs",
            "right, mean (%)",
            "right, worst shape (%) [95 % interval]",
            "worst shape",
            "largest error (%)",
        ],
        rows=rows,
        legend=[Key("mean of the shapes", MIDDLE), Key("worst shape", WORST)],
        figure=_figure(traces, labels, "right at the stop, %<br>(higher is better)"),
    )


def _worst_summary(shares: dict[str, list[float]], scores: Scores) -> str:
    pair = ("superflow", "fixed-overall-mean")
    if not set(pair) <= set(shares):
        return "Rules in the order of their mean cost, in brackets."
    rule, count = (
        f"{fmean(shares[name]):.0f} % on average and {min(shares[name]):.0f} % on its worst" for name in pair
    )
    cost = _mean_cost(scores, pair[0])
    return f"At the same mean cost of {cost:.0f} runs, SuperFlow is right in {rule} shape, one fixed count in {count}."


def _coverage(measurements: Iterable[Measurement]) -> Drawing | None:
    """Every rule on every shape, with the cost in the table."""
    scores = scores_of(measurements)
    if not scores:
        return None
    view = _by_shape(scores, "stop_coverage", "right at the stop, %")
    rows: list[list[Cell]] = []
    for shape, rules in scores.items():
        for rule, score in sorted(rules.items(), key=lambda item: item[1].repetitions):
            low, high = score.interval
            share, span = f"{score.stop_coverage:.1f}", f"{low:.1f} to {high:.1f}"
            rows.append([shape, rule, f"{score.repetitions:.0f}", share, span, f"{score.worst_error:.1f}"])
    hardest = min(scores, key=lambda shape: fmean(score.stop_coverage for score in scores[shape].values()))
    return Drawing(
        id="stopping-coverage",
        title="How often a rule is right at its stop, by kind of noise",
        summary=f"Right: all three quartiles within the error bound. Hardest is {hardest}. The table has the runs.",
        note=_seeded(scores),
        columns=["shape", "rule", "mean runs", "right (%)", "95 % interval", "largest error (%)"],
        rows=rows,
        legend=_shape_keys(scores),
        figure=view,
    )


def _intervals(measurements: Iterable[Measurement]) -> Drawing | None:
    """Optional stopping and dependence make a stated 95 % something else."""
    scores = scores_of(measurements)
    if not scores:
        return None
    text = "intervals that hold the truth, %"
    rules = list(dict.fromkeys(rule for rules in scores.values() for rule in rules))
    rows: list[list[Cell]] = [
        [
            rule,
            *(
                _with_interval(found[rule].interval_coverage, found[rule].trials) if rule in found else ""
                for found in scores.values()
            ),
        ]
        for rule in rules
    ]
    said = {shape: found["superflow"].interval_coverage for shape, found in scores.items() if "superflow" in found}
    reading = "Stated are 95 %."
    if said:
        shape = min(said, key=lambda shape: said[shape])
        reading = f"SuperFlow states 95 %; at its stop, {said[shape]:.0f} % hold on {shape}, its worst shape."
    return Drawing(
        id="stopping-intervals",
        title="What a stated 95 % interval is worth at the stop",
        summary=reading,
        note=_seeded(scores),
        columns=["rule", *(f"{shape} (%)" for shape in scores)],
        rows=rows,
        legend=[*_shape_keys(scores), Key(f"stated: {NOMINAL:.0f} %", LINE)],
        figure=_by_shape(scores, "interval_coverage", text, NOMINAL),
    )


def _own_operations(measurements: Iterable[Measurement]) -> Drawing | None:
    """Every rule replayed on latencies recorded on a real machine: the error of the worst quartile, and the cost."""
    replays = [one for one in measurements if _is_replay(one)]
    by_rule: dict[str, dict[str, list[float]]] = {}
    for one in replays:
        by_rule.setdefault(one.implementation, {})[one.metric] = one.samples
    needed = {"repetitions", "worst_error", "stop_accuracy", "independent_accuracy"}
    rules = [rule for rule, found in by_rule.items() if needed <= set(found)]
    if not rules:
        return None
    rules.sort(key=lambda rule: fmean(by_rule[rule]["repetitions"]))
    labels = [f"{rule} ({fmean(by_rule[rule]['repetitions']):.0f})" for rule in rules]
    errors = [by_rule[rule]["worst_error"] for rule in rules]
    rows: list[list[Cell]] = [
        [
            rule,
            f"{fmean(by_rule[rule]['repetitions']):.0f}",
            f"{median(error):.1f} [{min(error):.1f}, {max(error):.1f}]",
            f"{max(error):.1f}",
            f"{fmean(by_rule[rule]['stop_accuracy']):.1f}",
            f"{fmean(by_rule[rule]['independent_accuracy']):.1f}",
        ]
        for rule, error in zip(rules, errors, strict=True)
    ]
    series = len(errors[0])
    usual = min(rules, key=lambda rule: median(by_rule[rule]["worst_error"]))
    safest = min(rules, key=lambda rule: max(by_rule[rule]["worst_error"]))
    least, bounded = median(by_rule[usual]["worst_error"]), max(by_rule[safest]["worst_error"])
    traces = [
        _dots("worst series", [max(error) for error in errors], labels, WORST),
        _dots("median series", [median(error) for error in errors], labels, MIDDLE),
    ]
    return Drawing(
        id="stopping-own",
        title="The rules on latencies of our own operations",
        summary=f"Over {series} recorded series, {usual} has the least median error, {least:.1f} %, and {safest} the"
        f" least worst one, {bounded:.1f} %.",
        note="Error: of the quartile that is furthest off, against a thousand other runs of the same operation.",
        columns=[
            "rule",
            "mean runs",
            "error, median [range over series] (%)",
            "error, worst (%)",
            "similarity (%)",
            "with other runs (%)",
        ],
        rows=rows,
        legend=[Key("median series", MIDDLE), Key("worst series", WORST)],
        figure=_figure(traces, labels, "error of a quartile, %<br>(lower is better)", log=True),
    )


def _by_shape(scores: Scores, metric: str, title: str, nominal: float | None = None) -> dict[str, Any]:
    """A row a rule, a mark a shape."""
    first = on_every_shape(scores)
    rest = sorted({rule for rules in scores.values() for rule in rules} - set(first))
    rules = [*first, *rest]
    traces = []
    for key, found in zip(_shape_keys(scores), scores.values(), strict=True):
        present = [rule for rule in rules if rule in found]
        values = [float(getattr(found[rule], metric)) for rule in present]
        cost = [f"{found[rule].repetitions:.0f} runs" for rule in present]
        traces.append(_dots(key.name, values, present, key.style, cost))
    if nominal is not None:
        traces.append(reference_line([nominal, nominal], [rules[-1], rules[0]], "", "dot", mode="lines"))
    return _figure(traces, rules, f"{title}<br>(higher is better)")


def _shape_keys(scores: Scores) -> list[Key]:
    """The kinds of noise, each with a colour and a mark."""
    return [
        Key(shape, Style(number % COLOURS + 1, SYMBOLS[number % len(SYMBOLS)], "solid"))
        for number, shape in enumerate(scores)
    ]


def _dots(name: str, x: list[float], y: list[str], style: Style, extra: list[str] | None = None) -> Trace:
    """Marks without a line: rows have no order that a line could follow."""
    more = [f", {text}" for text in extra] if extra else [""] * len(x)
    return {
        "type": "scatter",
        "name": name,
        "mode": "markers",
        "x": [short(value) for value in x],
        "y": y,
        "hovertext": [f"{row}: {value:.1f} %{text}, {name}" for row, value, text in zip(y, x, more, strict=True)],
        "hovertemplate": "%{hovertext}<extra></extra>",
        "marker": {"symbol": style.symbol, "size": 9},
        "meta": {"series": style.series},
    }


def _figure(traces: list[Trace], rows: list[str], title: str, log: bool = False) -> dict[str, Any]:
    values = [value for one in traces for value in one["x"]]
    layout = {
        "xaxis": log_axis(title, values) if log else {"title": {"text": title}},
        "yaxis": {"type": "category", "categoryorder": "array", "categoryarray": rows[::-1], "dtick": 1},
    }
    return figure(traces, layout)


def _seeded(scores: Scores) -> str:
    trials = min(score.trials for rules in scores.values() for score in rules.values())
    return f"{trials} seeded series a rule and shape, the same on every machine. In brackets: 95 % score intervals."


PLOTS: dict[str, Callable[[Iterable[Point], Palette, str], list[PlotView]]] = {
    "stopping-coverage": partial(stopping_plot, which=_coverage, of=_is_study),
    "stopping-intervals": partial(stopping_plot, which=_intervals, of=_is_study),
    "stopping-own": partial(stopping_plot, which=_own_operations, of=_is_replay),
    "stopping-worst": partial(stopping_plot, which=_mean_and_worst, of=_is_study),
}
"""Id -> the function that draws it."""
