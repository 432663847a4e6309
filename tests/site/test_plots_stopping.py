"""The figures of the stopping rules say what the samples say, and nothing where nothing is recorded."""

from statistics import fmean

import pytest

from scripts.website.plots import draw_plots
from scripts.website.plots.points import points_of
from scripts.website.plots.stopping import PLOTS, SUITE, Score, on_every_shape, scores_of, wilson
from scripts.website.plots.style import Palette
from tests.site.test_evidence import measurement, run_of

TRIALS = 500
ROLES = {"fixed-overall-mean": "baseline"}
RULES = {"superflow": (90, 100), "fixed-overall-mean": (70, 100), "superflow-blocks": (95, None)}
"""Rule -> the share that is right on two shapes; None: not run there."""


def study(rules=None):
    found = []
    for place, shape in enumerate(("ar1", "normal")):
        for rule, shares in (rules or RULES).items():
            if shares[place] is None:
                continue
            shared = {
                "workload": {"trials": TRIALS},
                "stop_reason": "trials",
                "unit": "-",
                "better": "higher",
                "limit": None,
            }
            pair = [("right", "stop_coverage", shares[place], "interval_coverage", 80.0)]
            pair += [("cost", "repetitions", 100.0 * (place + 1), "worst_error", 4.0)]
            for what, metric, value, quality, beside in pair:
                # samples around the value, so that a mean and a median would differ
                samples = (
                    [value - 2, value - 2, value + 4] if 4 <= value <= 96 or metric == "repetitions" else [value] * 3
                ) * 2
                more = {"case": f"{SUITE}/{shape}/{what}/{metric}", "metric": metric}
                more["quality"] = {"metric": quality, "value": beside}
                found.append(measurement(rule, ROLES.get(rule, "method"), samples, **shared | more))
    return found


def replays(errors):
    values = {"repetitions": 10.0, "stop_accuracy": 50.0, "independent_accuracy": 40.0}
    found = []
    for rule, error in errors.items():
        for metric, samples in {
            **{name: [value] * len(error) for name, value in values.items()},
            "worst_error": error,
        }.items():
            more = {
                "case": f"{SUITE}/own-operations/replay-x/{metric}",
                "metric": metric,
                "workload": {},
                "limit": None,
                "stop_reason": "deterministic",
            }
            found.append(measurement(rule, ROLES.get(rule, "method"), samples, **more))
    return found


def figures(*measurements, **more):
    """Figure by the id that a page names."""
    points = points_of("results/mm/x.json", run_of(*measurements, **{"suite": SUITE} | more), [])
    return {name: view for name in PLOTS for view in draw_plots([name], points, Palette({}), "techniques/x/")}


def test_scores_join_the_two_cases_of_a_shape_by_rule():
    scores = scores_of(run_of(*study()).measurements)
    assert scores["ar1"]["superflow"] == Score(pytest.approx(90), pytest.approx(100), 80.0, 4.0, TRIALS)
    assert set(scores["normal"]) == {"superflow", "fixed-overall-mean"}
    assert on_every_shape(scores) == ["fixed-overall-mean", "superflow"]


def test_the_worst_shape_and_the_mean_are_drawn_and_told():
    view = figures(*study())["stopping-worst"]
    worst, mean = view.figure["data"]
    assert [*worst["x"]] == [70, 90]
    assert [*mean["x"]] == [85, 95]
    assert [*worst["y"]] == ["fixed-overall-mean (150)", "superflow (150)"]
    assert "150 runs, SuperFlow is right in 95 % on average and 90 % on its worst shape" in view.summary
    assert "one fixed count in 85 % on average and 70 % on its worst" in view.summary
    low, high = wilson(90, TRIALS)
    assert view.rows[1] == ["superflow", "150", "95.0", f"90.0 [{low:.1f}, {high:.1f}]", "ar1", "4.0"]


def test_shapes_differ_in_more_than_colour_and_every_rule_has_a_row():
    for name in ("stopping-coverage", "stopping-intervals"):
        data = [trace for trace in figures(*study())[name].figure["data"] if trace["mode"] == "markers"]
        assert [trace["name"] for trace in data] == ["ar1", "normal"]
        assert (
            len({trace["marker"]["symbol"] for trace in data}) == len({trace["meta"]["series"] for trace in data}) == 2
        )
        assert "superflow-blocks" in data[0]["y"]
        assert "superflow-blocks" not in data[1]["y"]


def test_the_table_of_coverage_has_an_interval_and_the_cost():
    view = figures(*study())["stopping-coverage"]
    low, high = wilson(90, TRIALS)
    assert ["ar1", "superflow", "100", "90.0", f"{low:.1f} to {high:.1f}", "4.0"] in view.rows
    assert len(view.rows) == 5


def test_the_nominal_share_is_a_line():
    view = figures(*study())["stopping-intervals"]
    [line] = [trace for trace in view.figure["data"] if trace["mode"] == "lines"]
    assert [*line["x"]] == [95, 95]
    assert view.columns == ["rule", "ar1 (%)", "normal (%)"]
    low, high = wilson(80, TRIALS)
    assert ["superflow-blocks", f"80.0 [{low:.1f}, {high:.1f}]", ""] in view.rows
    assert "80 % hold" in view.summary


def test_own_operations_show_median_and_worst_error():
    errors = {"one": [1.0, 2.0, 9.0], "fixed-overall-mean": [3.0, 3.0, 4.0]}
    view = figures(*study(), *replays(errors))["stopping-own"]
    worst, middle = view.figure["data"]
    assert ([*worst["x"]], [*middle["x"]]) == ([9, 4], [2, 3])
    assert "one has the least median error, 2.0 %, and fixed-overall-mean the least worst one, 4.0 %" in view.summary
    assert view.rows[0] == ["one", "10", "2.0 [1.0, 9.0]", "9.0", "50.0", "40.0"]
    assert "stopping-own" not in figures(*study())


def test_every_figure_says_where_it_comes_from_and_has_its_data_beside_its_page():
    views = figures(*study(), *replays({"fixed-overall-mean": [1.0]}))
    assert set(views) == set(PLOTS)
    for name, view in views.items():
        assert view.origin.file == "results/mm/x.json"
        assert view.id == f"{name}-mm"
        assert view.csv_href == f"techniques/x/{name}-mm.csv"
        assert all(len(row) == len(view.columns) for row in view.rows)
        assert "is better)" in view.figure["layout"]["xaxis"]["title"]["text"]
        drawn = {
            trace["name"]: trace["marker"]["symbol"] for trace in view.figure["data"] if trace["mode"] == "markers"
        }
        assert drawn == {key.name: key.style.symbol for key in view.legend if key.style.symbol != "line"}


def test_another_suite_or_an_empty_run_has_none():
    assert figures(*study(), suite="quantization") == {}
    assert figures(measurement("superflow", "baseline", [1.0])) == {}


@pytest.mark.parametrize(("share", "low", "high"), [(0, 0, 0.76), (50, 45.63, 54.37), (95, 92.72, 96.60)])
def test_the_interval_of_a_share_is_wilsons(share, low, high):
    """Reference: scipy.stats.binomtest(count, 500).proportion_ci(method="wilson")."""
    assert wilson(share, TRIALS) == (pytest.approx(low, abs=0.01), pytest.approx(high, abs=0.01))


@pytest.mark.parametrize("share", [0, 3, 50, 97, 100])
def test_an_interval_holds_its_share_and_narrows_with_trials(share):
    low, high = wilson(share, TRIALS)
    assert low - 1e-9 <= share <= high + 1e-9
    more = wilson(share, 4 * TRIALS)
    assert more[1] - more[0] < high - low
    assert fmean(wilson(share, 10**9)) == pytest.approx(share, abs=0.01)
