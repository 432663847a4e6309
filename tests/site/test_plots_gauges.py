"""The figure of gauges, from made points."""

from scripts.website.plots import draw_plots
from scripts.website.plots.points import points_of
from scripts.website.plots.style import Palette
from tests.site.test_evidence import measurement, run_of


def gauge(name, metric, value):
    role = "baseline" if name == "alone" else "method"
    return measurement(name, role, [value] * 6, case=f"ss/g/{metric}", metric=metric, unit="%", better="higher")


def views(*made):
    points = points_of("results/mm/ss.json", run_of(*made), ["shared"])
    return draw_plots(["gauges"], points, Palette({"ss": ["shared"]}), "techniques/x/")


def test_gauges_of_one_way_stand_side_by_side():
    values = {"alone": (35.0, 16.0), "shared": (98.0, 64.0)}
    made = [
        gauge(name, metric, value)
        for name, both in values.items()
        for metric, value in zip(("gpu_utilisation", "sm_activity"), both, strict=True)
    ]
    [view] = views(*made)
    bars = {one["name"]: dict(zip(one["y"], one["x"], strict=True)) for one in view.figure["data"]}
    assert bars["activity of the multiprocessors"] == {"alone": 16, "shared": 64}
    assert [row[:3] for row in view.rows] == [["alone", "35", "16"], ["shared", "98", "64"]]
    assert view.summary == "From alone to shared: utilisation 35 to 98 %, activity of the multiprocessors 16 to 64 %."
    assert view.legend[0].name.startswith("utilisation")


def test_one_gauge_alone_is_no_figure_and_a_gap_is_no_mistake():
    assert views(gauge("alone", "sm_activity", 1.0)) == []
    both = [gauge("alone", metric, 1.0) for metric in ("sm_activity", "gpu_utilisation")]
    [view] = views(*both, gauge("shared", "gpu_utilisation", 2.0))
    assert view.rows[1][:3] == ["shared", "2", ""]
    assert view.summary == "shared shows most of the first gauge."
