"""One metric against another that was measured beside it: joined by case and name, turned the right way."""

import pytest

from tests.site.test_evidence import measurement
from tests.site.test_plots import points, views


def beside(name, role, first, second, case="ss/frontier/set-1"):
    metrics = (("jct", "s", "lower", first), ("energy_per_job", "kWh", "lower", second))
    return [
        measurement(name, role, [value] * 6, case=f"{case}/{metric}", metric=metric, unit=unit, better=better)
        for metric, unit, better, value in metrics
    ]


def shared(name, role, slowdown, done):
    sides = (("online_slowdown", "lower", slowdown), ("offline_throughput", "higher", done))
    return [
        measurement(name, role, [value] * 6, case=f"ss/sharing/p99/{metric}", metric=metric, unit="1", better=better)
        for metric, better, value in sides
    ]


def test_time_against_energy_has_a_point_a_setting():
    made = [
        *beside("base", "baseline", 9.0, 9.0),
        *beside("rtn", "method", 5.0, 2.0),
        *beside("gptq", "method", 4.0, 2.0),
    ]
    made += [
        *beside("base", "baseline", 9.0, 9.0, "ss/frontier/set-2"),
        *beside("rtn", "method", 3.0, 6.0, "ss/frontier/set-2"),
    ]
    [view] = views("time-energy", *made)
    assert view.title.startswith("Mean job completion time against energy per job")
    assert sorted(zip(view.sizes, (point.value for point in view.points), strict=True)) == [
        (2.0, 4.0), (2.0, 5.0), (6.0, 3.0), (9.0, 9.0), (9.0, 9.0),
    ]  # fmt: skip
    assert [row[0] for row in view.rows if row[3] == "yes"] == ["gptq", "rtn"]
    assert "energy per job" in view.figure["layout"]["xaxis"]["title"]["text"]


def test_slowdown_against_throughput_counts_more_work_as_better():
    made = [
        *shared("base", "baseline", 1.0, 0.01),
        *shared("rtn", "method", 1.5, 0.8),
        *shared("gptq", "method", 1.2, 0.8),
    ]
    [view] = views("slowdown-throughput", *made)
    assert view.is_saved
    assert [row[0] for row in view.rows if row[3] == "yes"] == ["gptq"]
    assert "higher is better" in view.figure["layout"]["xaxis"]["title"]["text"]


@pytest.mark.parametrize("plot", ["time-energy", "slowdown-throughput"])
def test_nothing_is_drawn_of_other_metrics(plot):
    assert views(plot, measurement("base", "baseline", [1.0]), measurement("rtn", "method", [2.0])) == []
    assert points(measurement("base", "baseline", [1.0]))
