"""Figures of recorded runs by the ids that a technique page names in `plots:`.

Every one works for any family: it asks for metrics and fields of workloads, not for names; only `stopping` knows its
own suite. `draw_plots` gives those of one run.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial

from scripts.website.plots import cold_start, gauges, start_pace, stopping
from scripts.website.plots.apply import time_to_apply
from scripts.website.plots.draw import PlotView
from scripts.website.plots.light import recall_by_light
from scripts.website.plots.load import latency_by_load
from scripts.website.plots.points import Point
from scripts.website.plots.quality import by_field, by_metric, quality_against
from scripts.website.plots.scale import ACCEPTANCE, BATCH, CONTEXT, DRAFT_COST, LIMIT, PASS_RATIO, PROMPT, SPEED, along
from scripts.website.plots.style import Palette

Plot = Callable[[Iterable[Point], Palette, str], list[PlotView]]


def _quality(size: str) -> Plot:
    return lambda points, palette, folder: quality_against(points, by_metric(size), palette, folder)


def _against(metric: str, size: str) -> Plot:
    """One metric against another that was measured beside it."""
    return lambda points, palette, folder: quality_against(points, by_metric(size), palette, folder, (metric,))


def _saved(field: str, title: str) -> Plot:
    size = by_field(field, f"{title} (higher saves more)", is_saved=True)
    return lambda points, palette, folder: quality_against(points, size, palette, folder)


def _kept(field: str, title: str) -> Plot:
    size = by_field(field, f"{title}, share (lower is better)")
    return lambda points, palette, folder: quality_against(points, size, palette, folder)


def _along(points: Iterable[Point], palette: Palette, folder: str, *, which: str) -> list[PlotView]:
    quantity, axis = _ALONG[which]
    return along(points, quantity, axis, palette, folder)


_ALONG = {
    "break-even-acceptance": (SPEED, ACCEPTANCE),
    "break-even-cost": (SPEED, DRAFT_COST),
    "limit-share": (LIMIT, BATCH),
    "limit-context": (LIMIT, CONTEXT),
    "limit-prompt": (LIMIT, PROMPT),
    "speed-batch": (SPEED, BATCH),
    "speed-context": (SPEED, CONTEXT),
    "speed-pass-ratio": (SPEED, PASS_RATIO),
    "speed-prompt": (SPEED, PROMPT),
}

PLOTS: dict[str, Plot] = {
    "apply-time": time_to_apply,
    "latency-load": partial(latency_by_load, tails=False),
    "latency-load-tails": partial(latency_by_load, tails=True),
    "quality-bits": _quality("bits_per_weight"),
    "quality-bytes": _quality("weight_bytes"),
    "quality-cache": _quality("kv_bytes"),
    "quality-blocks": _saved("removed_blocks", "blocks removed"),
    "quality-kept": _kept("kept", "parameters kept"),
    "quality-neurons": _saved("removed_neurons", "share of neurons removed"),
    "quality-sparsity": _saved("sparsity", "share of zeros"),
    "quality-state": _quality("training_state_bytes"),
    "quality-trained": _quality("trained_parameters"),
    "recall-light": recall_by_light,
    "slowdown-throughput": _against("online_slowdown", "offline_throughput"),
    "time-energy": _against("jct", "energy_per_job"),
    **{name: partial(_along, which=name) for name in _ALONG},
    **cold_start.PLOTS,
    **gauges.PLOTS,
    **start_pace.PLOTS,
    **stopping.PLOTS,
}
"""Id -> the function that draws it."""


def draw_plots(names: Iterable[str], points: list[Point], palette: Palette, folder: str) -> list[PlotView]:
    """The figures of one run that a page names, in its order; a name without data gives none.

    folder: the page's path from the site's root, beside which the data are put.
    """
    known = [name for name in names if name in PLOTS]
    return [replace(view, kind=name) for name in known for view in PLOTS[name](points, palette, folder)]
