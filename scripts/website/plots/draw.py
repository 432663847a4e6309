"""Pieces that all figures of recorded runs share: the view, its origin, traces, axes and ticks.

Figures carry numbers for colours (`meta.series`, 0 for what is not ours) and words for lines (`meta.tone`); the page
turns both into colours of its scheme. A hollow mark always means that no difference from the baseline was seen, one
with a dot in it that there were too few samples to see any (`scripts.website.enough`).
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from math import ceil, floor, log10
from typing import Any, Literal

from scripts.catalogue.model import Measurement, Run
from scripts.website.enough import MIN_SAMPLES, TOO_FEW, settles
from scripts.website.figures import Cell, FigureView
from scripts.website.plots.points import Point
from scripts.website.plots.style import Style, Styles

TRIALS = "trials"
"""Why a series ended whose number of samples was fixed beforehand, so that the question of convergence is not asked."""
Trace = dict[str, Any]
"""As plotly.js reads it. plotly's classes would check every field of thousands; a test does it for each kind."""
LINE = Style(0, "line", "solid")
"""Of a legend entry that stands for a line without marks."""
Mark = Literal["full", "tied", "few", "pale"]
"""Of points, and of bars, which are pale or full."""
OPEN: dict[Mark, str] = {"full": "", "tied": "-open", "few": "-open-dot"}
"""What plotly puts behind the name of a symbol."""
MEANING: dict[Mark, str] = {
    "tied": "hollow: no difference seen",
    "few": f"hollow with a dot: fewer than {MIN_SAMPLES} runs, {TOO_FEW}",
    "pale": f"pale: fewer than {MIN_SAMPLES} runs, {TOO_FEW}",
}
FEW_NOTE = f"With fewer than {MIN_SAMPLES} runs neither bars nor brackets are 95 % intervals."


@dataclass(frozen=True)
class Key:
    """One line of a legend: `line` where it stands for a line without marks."""

    name: str
    style: Style
    mark: Mark = "full"


@dataclass(frozen=True)
class Origin:
    """Where the numbers of a figure come from, so that anybody can fetch or repeat them."""

    machine: str
    facts: str
    when: str
    commit: str
    is_dirty: bool
    command: str
    file: str
    samples: str

    @property
    def anchor(self) -> str:
        """Where a page with many figures of one run says all of this."""
        return "run-" + slug_of(self.file.removeprefix("results/").removesuffix(".json"))


@dataclass(frozen=True)
class PlotView(FigureView):
    """A figure of recorded runs; its data lie beside the page that shows it. `is_wide`: it needs the page's width."""

    folder: str
    legend: list[Key]
    origin: Origin
    notes: list[str]
    is_wide: bool = False
    kind: str = ""
    """The id of the function that drew it."""
    points: Sequence[Point] = ()
    """The point of each row, where rows are points."""
    styles: Styles = field(default_factory=dict)
    is_saved: bool = False
    """Whether more along x is better."""
    few: Sequence[bool] = ()
    """Which points have too few samples for what the figure compares."""
    sizes: Sequence[float] = ()
    """Where each point lies along x, where the drawing has an axis of values there."""

    @property
    def json_href(self) -> str:
        """The plotly figure."""
        return f"{self.folder}{self.id}.json"

    @property
    def csv_href(self) -> str:
        """The table."""
        return f"{self.folder}{self.id}.csv"


def machine_facts(run: Run) -> str:
    """The hardware line: what ran, on how much of it, with which software."""
    machine = run.machine
    load = f"load {machine.load_average[0]:.1f} at the start" if machine.load_average else None
    parts = [
        machine.gpu,
        machine.cpu,
        f"{machine.cores} cores",
        f"{machine.threads} thread{'s' if machine.threads > 1 else ''}",
        f"torch {machine.torch}",
        f"CUDA {machine.cuda}" if machine.cuda else None,
        f"Python {machine.python}",
        load,
    ]
    return ", ".join(part for part in parts if part)


def origin_of(points: Sequence[Point]) -> Origin:
    """Of points that come from one run."""
    run = points[0].run
    return Origin(
        machine=run.machine.name,
        facts=machine_facts(run),
        when=run.started.date().isoformat(),
        commit=run.code.commit,
        is_dirty=run.code.dirty,
        command=run.command,
        file=points[0].file,
        samples=_samples(points),
    )


def _samples(points: Sequence[Point]) -> str:
    """How many samples, and how many of the series came to rest."""
    counts = sorted(len(point.one.samples) for point in points)
    timed = [point for point in points if not point.is_exact]
    if not timed:
        return "exact values, nothing to repeat"
    stopped = [point for point in timed if point.one.stop_reason != TRIALS]
    rest = sum(point.one.converged for point in stopped)
    kinds = [point.spread_is for point in timed]
    words = {"95 % intervals": "95 % interval" in kinds, "ranges": any(kind.startswith("range") for kind in kinds)}
    what = (
        f" with {' or '.join(word for word, is_there in words.items() if is_there)}"
        if any(words.values())
        else " without an interval"
    )
    span = f"{counts[0]}" if counts[0] == counts[-1] else f"{counts[0]} to {counts[-1]}"
    cut = ", the others were cut by their budget" if rest < len(stopped) else ""
    ends = [f"{rest} of {len(stopped)} converged{cut}"] if stopped else []
    if fixed := len(timed) - len(stopped):
        ends.append(f"{fixed} of a number fixed beforehand" if stopped else "a number fixed beforehand")
    return "; ".join([f"n = {span} a point{what}", *ends])


def trace(name: str, style: Style, x: list[Any], y: list[Any], **more: Any) -> Trace:
    """Marks, and a line between them where there are several. `marks`: which of them are hollow."""
    marks: Sequence[Mark] = more.pop("marks", ["full"] * len(x))
    symbols = [style.symbol + OPEN[mark] for mark in marks]
    marker = {"symbol": symbols, "size": 10, "line": {"width": _widths(marks)}}
    mode = more.pop("mode", "lines+markers" if len(x) > 1 else "markers")
    more.setdefault("hovertemplate", "%{hovertext}<extra></extra>")
    line = {"dash": style.dash, "width": 1.5}
    drawn = {"type": "scatter", "name": name, "x": x, "y": y, "mode": mode, "marker": marker, "line": line}
    return drawn | {"meta": {"series": style.series}} | more


def _widths(marks: Sequence[Mark]) -> float | list[float]:
    """Of the lines round marks: a hollow one needs more than a full one, and one of few samples stays light."""
    widths = {"tied": 2, "few": 1.5}
    return 1 if set(marks) <= {"full"} else [widths.get(mark, 1) for mark in marks]


def rule(x: list[Any], y: list[Any], text: str, dash: str = "solid", tone: str = "ink-2", **more: Any) -> Trace:
    """A line to read the others against, with its meaning written at its end."""
    return {
        "type": "scatter",
        "x": x,
        "y": y,
        "mode": "lines+text",
        "text": [text, *[""] * (len(x) - 1)],
        "textposition": "top right",
        "line": {"dash": dash, "width": 1},
        "hoverinfo": "skip",
        "meta": {"tone": tone},
    } | more


def mark_of(point: Point) -> Mark:
    """The mark of a point that is compared with its baseline."""
    return "few" if not point.is_settled else "tied" if point.is_tied else "full"


def few_or_full(*sides: Measurement) -> Mark:
    """The mark of values that are drawn as they are."""
    return "full" if settles(*sides) else "few"


def mark_alone(point: Point) -> Mark:
    """The mark of a point that is compared with others of its figure, by its own samples."""
    return few_or_full(point.one)


def bars_across(
    name: str, series: int, x: list[float], y: list[str], hovertext: list[str], few: Sequence[bool], hover: str = ""
) -> Trace:
    """Horizontal bars, one a row. few: which are pale, for too few samples; hover: what follows the text"""
    meta: dict[str, Any] = {"series": series} | ({"few": [*few]} if any(few) else {})
    return {
        "type": "bar",
        "name": name,
        "orientation": "h",
        "x": x,
        "y": y,
        "hovertext": hovertext,
        "hovertemplate": f"%{{hovertext}}{hover}<extra></extra>",
        "meta": meta,
    }


def bars(values: Sequence[float], spreads: Sequence[tuple[float, float] | None]) -> dict[str, Any]:
    """Error bars up to the ends of the spreads."""
    ends = [spread or (value, value) for value, spread in zip(values, spreads, strict=True)]
    return {
        "type": "data",
        "symmetric": False,
        "array": [short(high - value) for value, (_, high) in zip(values, ends, strict=True)],
        "arrayminus": [short(value - low) for value, (low, _) in zip(values, ends, strict=True)],
        "thickness": 1,
        "width": 3,
    }


def short(value: float) -> float:
    """Four digits: what a figure of some hundred pixels can show."""
    return float(f"{value:.4g}")


def figure(traces: Iterable[Trace], layout: dict[str, Any]) -> dict[str, Any]:
    """The figure without plotly's default template; the legend is the page's own."""
    return {"data": [*traces], "layout": {"showlegend": False} | layout}


def log_axis(title: str, values: Iterable[float], suffix: str = "") -> dict[str, Any]:
    """A logarithmic axis with round ticks over all values."""
    found = [value for value in values if value > 0] or [1.0]
    low, high = min(found) / 1.12, max(found) * 1.12
    marks = ticks(low, high)
    return {
        "title": {"text": title},
        "type": "log",
        "range": [round(log10(low), 3), round(log10(high), 3)],
        "tickvals": marks,
        "ticktext": [f"{mark:g}{suffix}" for mark in marks],
    }


def ticks(low: float, high: float) -> list[float]:
    """Round numbers between two positive ends: even steps over a short span, some of each decade over a longer one."""
    span = high / low
    if span < 3:
        rough = (high - low) / 5
        size = 10.0 ** floor(log10(rough))
        step = next(size * factor for factor in (1, 2, 5, 10) if size * factor >= rough)
        return [short(step * n) for n in range(ceil(low / step), floor(high / step) + 1)]
    steps: tuple[int, ...] = (1, 2, 3, 4, 6, 8) if span < 20 else (1, 2, 5) if span < 2000 else (1,)
    decades = range(floor(log10(low)), ceil(log10(high)) + 1)
    return [mark for decade in decades for step in steps if low <= (mark := short(step * 10.0**decade)) <= high]


def keys(styles: Styles, points: Iterable[Point], mark: Callable[[Point], Mark] = mark_alone) -> list[Key]:
    """The legend: ours first, then what others made; and what a hollow mark means, where there is one."""
    points = list(points)
    names = {point.one.implementation for point in points}
    ordered = sorted(names & set(styles), key=lambda name: (styles[name].series == 0, name))
    return [*(Key(name, styles[name]) for name in ordered), *meanings(map(mark, points))]


def meanings(marks: Iterable[Mark], symbol: str = "circle") -> list[Key]:
    """The lines of a legend that say what hollow marks mean, of those that a figure has."""
    found = set(marks)
    return [Key(text, Style(0, symbol, "solid"), mark) for mark, text in MEANING.items() if mark in found]


def pale(few: Iterable[bool]) -> list[Key]:
    """The line of a legend that says what pale bars mean, where a figure has some."""
    return meanings(["pale"] if any(few) else [], "square")


def slug_of(text: str) -> str:
    """A name for files and anchors."""
    return "-".join(
        "".join(letter if letter.isalnum() and letter.isascii() else " " for letter in text.lower()).split()
    )


def evidence_cells(point: Point) -> list[Cell]:
    """The last columns of every table: n, whether it came to rest, the kind of effect."""
    state = "yes" if point.one.converged else f"no: {point.one.stop_reason.replace('_', ' ')}"
    known = "exact" if point.is_exact else "n fixed" if point.one.stop_reason == TRIALS else ""
    return [len(point.one.samples), known or state, point.one.effect]


EVIDENCE_COLUMNS = ["n", "converged", "effect"]


def spread_text(point: Point) -> str:
    """What follows a median in a cell: its interval, or the range of few samples; nothing where all are the same."""
    low, high = (f"{end:.4g}" for end in point.spread or (0.0, 0.0))
    return "" if low == high else f" [{low}, {high}]"


def ratio_text(value: float, low: float, high: float) -> str:
    """A factor with its interval."""
    return f"{value:.3g}× [{low:.3g}, {high:.3g}]"
