"""Cold starts on technique pages, and the figure that answers which change makes them shorter; from made points."""

import pytest

from scripts.website.cold_starts import cold_starts
from scripts.website.plots import draw_plots
from scripts.website.plots.points import points_of
from scripts.website.plots.start_pace import answer, both_of
from scripts.website.plots.style import Palette
from tests.site.test_evidence import measurement, run_of

FILE = "results/mm/serverless.json"
MODULES = {"quantization": ["rtn", "nf4"], "pruning": ["layers"], "serverless": ["artifact"]}
BEGUN = "a fork of something"
SECONDS = {"dense": (1.0, 0.1), "rtn-int4": (0.5, 0.2), "layers-fewer": (0.8, 0.08), "pickle": (1.5, 0.1)}


def way(name, metric, seconds, spread=0.01):
    role = "baseline" if name == "dense" else "method"
    samples = [seconds * (1 + spread * (at % 3 - 1)) for at in range(9)]
    fields = {"case": f"serverless/forked/m/{metric}", "metric": metric, "workload": {"model": "m", "start": BEGUN}}
    quality = {"metric": "perplexity", "value": 30.0} if metric == "cold_start_latency" else None
    return measurement(name, role, samples, module="artifact" if role == "method" else None, quality=quality, **fields)


def points(seconds=SECONDS, **fields):
    made = [
        way(name, metric, value)
        for name, both in seconds.items()
        for metric, value in zip(("cold_start_latency", "tpot"), both, strict=True)
    ]
    return points_of(FILE, run_of(*made, suite="serverless", **fields), MODULES["serverless"])


def test_a_page_has_the_ways_of_its_methods_only():
    view = cold_starts({FILE: points()}, MODULES, [("quantization", "rtn"), ("quantization", "nf4")])
    [row] = view.rows
    assert (row.model, row.way, row.start, row.seen, row.quality) == ("m", "rtn-int4", "500 ms", True, "perplexity 30")
    assert row.factor.startswith("2×")
    assert row.later.startswith("0.5×")
    assert (view.baseline, view.begun, view.file) == ("dense", BEGUN, FILE)


@pytest.mark.parametrize("shown", [[], [("serverless", "artifact")], [("quantization", "nf4")]])
def test_without_a_way_of_its_own_a_page_has_no_block(shown):
    assert cold_starts({FILE: points()}, MODULES, shown) is None


def test_other_suites_and_half_a_pair_say_nothing():
    other = points_of("results/mm/pruning.json", run_of(way("rtn-int4", "tpot", 1.0), suite="pruning"), [])
    assert cold_starts({"results/mm/pruning.json": other}, MODULES, [("quantization", "rtn")]) is None
    half = [point for point in points() if point.one.metric == "tpot"]
    assert cold_starts({FILE: half}, MODULES, [("quantization", "rtn")]) is None


def test_the_answer_names_who_starts_sooner_who_later_and_who_is_only_faster():
    [rows] = both_of(points(SECONDS | {"warm": (1.0, 0.05)})).values()
    said = answer(rows)
    assert "sooner: rtn-int4 and layers-fewer." in said
    assert "later: pickle." in said
    assert "alone: warm." in said
    [none] = both_of(points({"dense": (1.0, 0.1), "same": (1.0, 0.1)})).values()
    assert answer(none) == "Nothing is seen to start sooner."


def test_the_figure_has_a_mark_a_way_and_a_hollow_one_for_a_tie():
    made = points(SECONDS | {"same": (1.0, 0.05)})
    [view] = draw_plots(["start-pace"], made, Palette({"serverless": ["artifact"]}), "techniques/x/")
    marks = {one["name"]: one for one in view.figure["data"] if one.get("name")}
    assert set(marks) == {"rtn-int4", "layers-fewer", "pickle", "same"}
    assert marks["rtn-int4"]["x"] == [2.0]
    assert marks["rtn-int4"]["y"] == [0.5]
    assert [row[0] for row in view.rows] == ["rtn-int4", "layers-fewer", "same", "pickle"]
    assert view.title.startswith(f"m, {BEGUN}: ")
    assert "dense" in view.notes[0]
    assert "open" in marks["same"]["marker"]["symbol"][0]
    assert "open" not in marks["rtn-int4"]["marker"]["symbol"][0]
