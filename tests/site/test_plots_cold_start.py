"""Figures of cold starts, from made points: phases stack, policies trade, sizes have a cheapest."""

import pytest

from scripts.website.plots import draw_plots
from scripts.website.plots.points import points_of
from scripts.website.plots.style import Palette
from tests.site.test_evidence import measurement, run_of

WAYS = {"pickle": "baseline", "mapped": "method"}


def views(plot, *measurements):
    points = points_of("results/mm/ss.json", run_of(*measurements), ["mapped"])
    return draw_plots([plot], points, Palette({"ss": ["mapped"]}), "techniques/x/")


def phase(name, which, seconds, model="m"):
    return measurement(
        name,
        WAYS[name],
        [seconds] * 6,
        case=f"ss/cold/{model}/{which}/phase_time",
        metric="phase_time",
        workload={"model": model, "phase": which},
    )


def test_phases_of_one_model_are_stacked_in_their_order():
    seconds = {"pickle": {"load": 3.0, "imports": 1.0, "teardown": 9.0}, "mapped": {"load": 0.5, "imports": 1.0}}
    made = [phase(way, name, value) for way, parts in seconds.items() for name, value in parts.items()]
    made.append(phase("pickle", "teardown", 9.0))
    [view] = views("cold-start-parts", *made)
    assert [one["name"] for one in view.figure["data"]] == ["imports", "weights"]  # nobody waits for the end
    assert [row[:4] for row in view.rows] == [["mapped", "1", "0.5", "1.5"], ["pickle", "1", "3", "4"]]
    assert "mapped, takes 1.5 s" in view.summary
    assert "67%" in view.summary
    assert view.figure["layout"]["barmode"] == "stack"


def test_each_model_has_a_figure_of_its_own():
    made = [phase("pickle", "load", 1.0, model) for model in ("m", "n")]
    assert len(views("cold-start-parts", *made)) == len({one.id for one in views("cold-start-parts", *made)}) == 2


def test_policies_are_points_of_two_quantities():
    made = []
    for name, role, cold, idle in (("fixed", "baseline", 10.0, 100.0), ("mapped", "method", 5.0, 40.0)):
        for metric, value, unit in (("cold_start_rate", cold, "%"), ("idle_memory", idle, "GiB·s")):
            made.append(measurement(name, role, [value] * 6, case=f"ss/k/{metric}", metric=metric, unit=unit))
    [view] = views("cold-start-idle", *made)
    assert [row[:3] for row in view.rows] == [["mapped", "5", "40"], ["fixed", "10", "100"]]
    assert {(one["x"][0], one["y"][0]) for one in view.figure["data"]} == {(100, 10), (40, 5)}
    assert view.summary.startswith("mapped has the fewest cold starts, 5 %")
    assert views("cold-start-idle", *made[:1]) == []  # half a pair is none


def size(memory, latency, cost):
    workload = {"model": "m", "memory_mb": memory}
    return [
        measurement("f", "baseline", [value] * 6, case=f"ss/m/{memory}/{metric}", metric=metric, workload=workload)
        for metric, value in (("latency", latency), ("invocation_cost", cost))
    ]


def test_the_cheapest_and_the_fastest_size_are_named():
    made = [one for row in ((256, 2.0, 1.5), (512, 1.0, 1.0), (1024, 0.8, 1.9)) for one in size(*row)]
    [view] = views("memory-cost", *made)
    assert view.figure["data"][0]["x"] == [256, 512, 1024]
    assert view.summary.startswith("512 MB is the cheapest size, 1 s a request; 1024 MB the fastest")


@pytest.mark.parametrize("plot", ["cold-start-parts", "cold-start-idle", "memory-cost"])
def test_other_runs_have_none(plot):
    assert views(plot, measurement("a", "baseline", [1.0] * 6)) == []
