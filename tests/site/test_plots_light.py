"""Recall by light from made points: a figure a group, the same axes, words that say each light."""

from scripts.website.plots import draw_plots
from scripts.website.plots.points import points_of
from scripts.website.plots.style import Palette
from tests.site.test_evidence import measurement, run_of


def one(name, light, value, boxes="small boxes", role="method"):
    return measurement(
        name,
        role,
        [value],
        case=f"measurement/video/light-{light}/{boxes[:5]}/recall",
        metric="recall",
        unit="1",
        better="higher",
        workload={"video": "v", "brightness": light, "boxes": boxes, "labels": "what was found before"},
        stop_reason="deterministic",
    )


MADE = [
    one(name, light, value, boxes, role)
    for boxes, drop in (("small boxes", 0.4), ("tall boxes", 0.1))
    for name, role in (("float", "baseline"), ("int8", "method"))
    for light, value in ((1.0, 1.0), (0.1, 0.0 if name == "int8" else 1 - drop))
]


def views(made):
    points = points_of("results/mm/measurement.json", run_of(*made, suite="measurement"), ["detectors"])
    return draw_plots(["recall-light"], points, Palette({"measurement": ["detectors"]}), "techniques/x/")


def test_each_group_has_a_figure_with_the_same_axes():
    small, tall = views(MADE)
    assert [view.title for view in (small, tall)] == ["Recall by light: small boxes", "Recall by light: tall boxes"]
    assert small.id != tall.id
    assert small.figure["layout"]["yaxis"] == tall.figure["layout"]["yaxis"]


def test_a_line_a_detector_and_nothing_found_is_drawn_as_nothing():
    small, _ = views(MADE)
    lines = {line["name"]: line for line in small.figure["data"]}
    assert list(lines["int8"]["x"]) == [10.0, 100.0] and list(lines["int8"]["y"]) == [0.0, 1.0]
    assert list(lines["float"]["y"]) == [0.6, 1.0]
    low, high = small.figure["layout"]["yaxis"]["range"]
    assert low < 0 and high > 1 and small.figure["layout"]["yaxis"].get("type") != "log"


def test_words_say_what_each_darker_light_shows():
    small, tall = views(MADE)
    assert small.summary == "At 10 % of the light float 0.60 and int8 0.00."
    assert tall.summary == "At 10 % of the light float 0.90 and int8 0.00."
    assert small.notes == ["Labels: what was found before."]
    assert len(small.rows) == 4 and all(len(row) == len(small.columns) for row in small.rows)


def test_one_light_or_another_metric_is_no_figure():
    assert views([each for each in MADE if each["workload"]["brightness"] == 1.0]) == []
    assert views([each | {"metric": "accuracy", "unit": "%"} for each in MADE]) == []
