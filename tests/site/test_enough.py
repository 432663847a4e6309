"""One rule of how many samples settle a comparison: verdicts, figures, pages and the interface keep to it alike."""

import re

import pytest

from scripts.website import enough, verdicts
from scripts.website.enough import MIN_SAMPLES, is_enough, settles, too_few
from scripts.website.evidence import run_view
from scripts.website.plots import PLOTS, draw_plots
from scripts.website.plots.points import points_of
from scripts.website.plots.style import Palette
from scripts.website.predictions import _quality
from tests.site.test_evidence import measurement, run_of
from tests.site.test_plots_stopping import study

OUTCOME = re.compile(
    r"\b(best|slower|faster|fastest|quickest|slowest|cheapest|fewest|most|nearest|furthest|front|lead|saves|nothing|"
    r"sooner|later|least|about|from)\b",
    re.IGNORECASE,
)
"""Words with which a summary ranks or decides."""
LIGHT = ("recall-light", "At 50 % of the light base 2.00 and way 1.00.")
"""Values by rank alone, without such a word."""
FEW, ENOUGH = MIN_SAMPLES - 1, MIN_SAMPLES
LIMIT = {"limit": {"value": 0.1, "formula": "f"}}


def one(name, value, n, metric="step_time", case="ss/c", unit="s", better="lower", **more):
    role = "baseline" if name == "base" else "method"
    fields = {"case": f"{case}/{metric}", "metric": metric, "unit": unit, "better": better, "stop_reason": "trials"}
    return measurement(name, role, [value] * n, module="way" if name == "way" else None, **fields | more)


def pair(n, metric="step_time", case="ss/c", base_n=None, values=(2.0, 1.0), **more):
    return [one("base", values[0], base_n or n, metric, case, **more), one("way", values[1], n, metric, case, **more)]


def batches(n, base_n=None):
    return [
        found
        for batch in (1, 4)
        for found in pair(n, case=f"ss/b{batch}", base_n=base_n, workload={"model": "m", "batch": batch}, **LIMIT)
    ]


def loads(n):
    fields = [(load, {"trace": "t", "load_percent": load}) for load in (50, 100)]
    return [found for load, work in fields for found in pair(n, "jct", f"ss/l{load}", workload=work)]


def lights(n):
    work = [(share, {"boxes": "b", "brightness": share}) for share in (1.0, 0.5)]
    more = {"unit": "1", "better": "higher"}
    return [found for share, fields in work for found in pair(n, "recall", f"ss/{share}", workload=fields, **more)]


def both(n, first, second, **more):
    return [*pair(n, first, **more), *pair(n, second, **more)]


def phases(n):
    names = ("imports", "load")
    return [
        found
        for name in names
        for found in pair(n, "phase_time", f"ss/m/{name}", workload={"model": "m", "phase": name})
    ]


def sizes(n):
    work = {512: {"model": "m", "memory_mb": 512}, 1024: {"model": "m", "memory_mb": 1024}}
    return [
        one("base", value, n, metric, f"ss/{mb}", workload=fields)
        for mb, fields in work.items()
        for metric, value in (("latency", 600 / mb), ("invocation_cost", mb))
    ]


MADE = {
    "speed-batch": batches,
    "limit-share": batches,
    "apply-time": lambda n: pair(n, "quantize_time"),
    "quality-bits": lambda n: both(n, "bits_per_weight", "perplexity", unit="1", workload={"model": "m"}),
    "latency-load": loads,
    "recall-light": lights,
    "gauges": lambda n: both(n, "gpu_utilisation", "sm_activity", unit="%"),
    "cold-start-parts": phases,
    "cold-start-idle": lambda n: both(n, "cold_start_rate", "idle_memory"),
    "memory-cost": sizes,
    "start-pace": lambda n: both(n, "cold_start_latency", "tpot", workload={"model": "m"}),
}
"""Plot -> what it draws, with n samples each; every function that says something of its points."""


def view_of(plot, made):
    points = points_of("results/mm/ss.json", run_of(*made), ["way"])
    [view, *_] = draw_plots([plot], points, Palette({"ss": ["way"]}), "techniques/x/")
    return view


def marks(view):
    """What the marks or bars of a figure say: hollow with a dot or pale, or not."""
    traces = [t for t in view.figure["data"] if t.get("meta", {}).get("series") is not None]
    symbols = {symbol.endswith("-open-dot") for t in traces for symbol in t.get("marker", {}).get("symbol", [])}
    return symbols | {pale for t in traces if t["type"] == "bar" for pale in t["meta"].get("few", [False])}


# The rule


def test_verdicts_and_figures_ask_the_same_function():
    assert verdicts.is_enough is enough.is_enough
    assert not hasattr(verdicts, "MIN_SAMPLES")  # nobody has a number of its own


@pytest.mark.parametrize(("n", "why", "said"), [
    (FEW, "trials", False), (ENOUGH, "trials", True), (1, "deterministic", True), (1, "converged", False),
    (FEW, "max_seconds", False), (ENOUGH, "max_seconds", True),
])  # fmt: skip
def test_exact_values_need_one_sample_and_others_six(n, why, said):
    [found] = run_of(one("base", 1.0, n, stop_reason=why)).measurements
    assert is_enough(found) is said
    assert bool(too_few([found])) is not said


def test_both_sides_count():
    few, many = run_of(one("base", 1.0, FEW), one("way", 1.0, ENOUGH)).measurements
    assert settles(many, many)
    assert not settles(few, many)
    assert not settles(many, few)


@pytest.mark.parametrize(("counts", "says"), [
    ((2, 2), "2 runs each: too few to say"), ((2, 5), "2 to 5 runs each: too few to say"),
    ((3, 9), "3 runs of base: too few to say"), ((9, 1), "1 run of way: too few to say"), ((9, 9), ""),
])  # fmt: skip
def test_words_name_how_few_there_are(counts, says):
    found = run_of(*(one(name, 1.0, n) for name, n in zip(("base", "way"), counts, strict=True))).measurements
    assert too_few(found) == says


# Figures


def test_no_figure_is_forgotten():
    """Every id is drawn by a function that a made figure here calls; `stopping` has a test below."""
    like = ("break-even-", "latency-", "limit-", "quality-", "speed-", "slowdown-", "stopping-", "time-energy")
    assert {name for name in PLOTS if not name.startswith(like)} <= set(MADE)


@pytest.mark.parametrize("plot", MADE)
def test_few_samples_are_told_and_drawn_as_such(plot):
    view = view_of(plot, MADE[plot](FEW))
    assert "5 runs" in view.summary
    assert "too few to say" in view.summary
    assert OUTCOME.search(view.summary) is None
    assert re.search(r"\d", view.summary.partition(";")[0])  # what was measured
    assert marks(view) == {True}
    assert any("fewer than 6 runs" in key.name for key in view.legend)
    assert not {"better", "worse", "yes", "no difference seen"} & {cell for row in view.rows for cell in row[:5]}


@pytest.mark.parametrize("plot", MADE)
def test_samples_enough_are_judged_as_ever(plot):
    """The control: the words and marks above follow from the number of samples, and from nothing else."""
    view = view_of(plot, MADE[plot](ENOUGH))
    assert "too few" not in view.summary + " ".join(view.notes) + " ".join(key.name for key in view.legend)
    assert OUTCOME.search(view.summary) or (plot, view.summary) == LIGHT
    assert marks(view) == {False}


def test_an_exact_value_of_one_sample_is_judged():
    made = both(1, "bits_per_weight", "perplexity", unit="1", workload={"model": "m"}, stop_reason="deterministic")
    view = view_of("quality-bits", made)
    assert view.summary.startswith("The Pareto front is made of way")
    assert marks(view) == {False}


def test_a_baseline_of_few_samples_settles_nothing_either():
    view = view_of("speed-batch", batches(ENOUGH, base_n=2))
    assert view.summary == "Factor over base 2×; 2 runs of base: too few to say."
    assert {row[4] for row in view.rows} == {"too few to say"}
    assert view_of("speed-batch", batches(2, base_n=ENOUGH)).summary.endswith("2 runs of way: too few to say.")
    share = view_of("limit-share", batches(ENOUGH, base_n=2))  # a limit is no measurement: the point's own count
    assert "2 runs of base" in share.summary
    assert share.summary.startswith("Nearest to the limit is way")


def test_some_of_a_figure_are_judged_and_the_others_named():
    made = [*batches(ENOUGH), *(found for found in batches(2) if found["implementation"] == "way")]
    made = [*made[:4], *(found | {"implementation": "other", "samples": [0.5, 0.5]} for found in made[4:])]
    view = view_of("speed-batch", made)
    assert view.summary == (
        "At batch size 1, among those with enough runs, way is best, 2× [2, 2]; at batch size 4, among those with "
        "enough runs, way is best, 2× [2, 2]. 2 runs of other: too few to say."
    )
    assert marks(view) == {True, False}
    assert [point.one.implementation for point, few in zip(view.points, view.few, strict=True) if few] == ["other"] * 2


def test_a_slow_method_is_called_so_only_where_every_point_of_it_is_settled():
    def made(n):
        slow = {"values": (1.0, 2.0), "workload": {"model": "m", "batch": 4}}
        return [
            *pair(9, case="ss/b1", **slow | {"workload": {"model": "m", "batch": 1}}),
            *pair(n, case="ss/b4", **slow),
        ]

    assert "way is slower than base wherever measured." in view_of("speed-batch", made(ENOUGH)).summary
    assert "wherever" not in view_of("speed-batch", made(FEW)).summary


@pytest.mark.parametrize("plot", ["speed-batch", "apply-time"])
def test_rows_of_few_samples_stand_below_and_are_not_ranked(plot):
    shape = {"speed-batch": ("step_time", "ss/b1"), "apply-time": ("quantize_time", "ss/c")}[plot]
    work = {"workload": {"model": "m", "batch": 1}}
    made = pair(9, *shape, **work)
    made += [one(name, value, 2, *shape, **work) for name, value in (("b-few", 0.1), ("a-few", 0.5))]
    view = view_of(plot, made)
    assert view.figure["layout"]["yaxis"]["categoryarray"] == ["b-few", "a-few", "way"]  # from below


def test_few_samples_are_on_no_front_and_hide_no_one_else():
    made = both(9, "bits_per_weight", "perplexity", unit="1", workload={"model": "m"})
    made += [one("lucky", 0.5, 2, m, unit="1", workload={"model": "m"}) for m in ("bits_per_weight", "perplexity")]
    view = view_of("quality-bits", made)
    assert {row[0]: row[3] for row in view.rows} == {"base": "baseline", "way": "yes", "lucky": "too few to say"}
    assert view.summary.startswith("Among those with enough runs, the Pareto front is made of way;")
    assert view.summary.endswith("2 runs of lucky: too few to say.")


def test_a_size_of_few_samples_counts_as_the_quality_does():
    made = [*pair(2, "bits_per_weight", unit="1"), *pair(9, "perplexity", unit="1")]
    view = view_of("quality-bits", made)
    assert view.summary == "Token perplexity 1; 2 runs of way: too few to say."
    assert marks(view) == {True}


def test_rates_of_stopping_rules_are_told_by_samples_enough_alone():
    def view(n):
        found = [found | {"samples": found["samples"][:1] * n} for found in study()]
        points = points_of("results/mm/x.json", run_of(*found, suite="measurement"), [])
        [view] = draw_plots(["stopping-worst"], points, Palette({}), "techniques/x/")
        return view

    few, enough = view(FEW), view(ENOUGH)
    assert few.summary == "5 runs each: too few to say."
    assert all(trace["marker"]["symbol"].endswith("-open-dot") for trace in few.figure["data"])
    assert "SuperFlow is right" in enough.summary
    assert not any(trace["marker"]["symbol"].endswith("-open-dot") for trace in enough.figure["data"])


# Other places


@pytest.mark.parametrize(("n", "says"), [(FEW, "5 runs each: too few to say"), (ENOUGH, "")])
def test_a_record_s_table_says_so_instead_of_no_difference(n, says):
    [case] = run_view("results/mm/ss.json", run_of(*pair(n, values=(1.0, 1.0)))).cases
    [row] = [row for row in case.rows if row.name == "way"]
    assert (row.few, row.distinguishable) == (says, bool(says))


def test_the_planner_s_best_method_has_samples_enough_where_one_has():
    def seen(*counts):
        made = [one("base", 10.0, 9, "perplexity", "ss/g", unit="1", workload={"model": "m"})]
        made += [
            one(name, value, n, "perplexity", "ss/g", unit="1", workload={"model": "m"})
            for name, value, n in zip(("lucky", "way"), (11.0, 12.0), counts, strict=True)
        ]
        [found] = _quality("g", ("lucky", "way"), {"f": run_of(*made)})
        return found.method, found.few

    assert seen(2, 9) == ("way", "")
    assert seen(9, 9) == ("lucky", "")
    assert seen(2, 2) == ("lucky", "2 runs of lucky: too few to say")
