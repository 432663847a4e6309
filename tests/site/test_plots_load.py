"""Latency against load from made points: groups, values, intervals, words."""

from scripts.website.plots import draw_plots
from scripts.website.plots.points import points_of
from scripts.website.plots.style import Palette
from tests.site.test_evidence import measurement, run_of


def one(name, load, value, metric="latency_per_token", trace="zipf"):
    samples = [value * (1 + 0.01 * n) for n in range(6)]
    return measurement(
        name,
        "baseline" if name == "fcfs" else "method",
        samples,
        case=f"serving/{trace}/load-{load}/{metric}",
        metric=metric,
        workload={"trace": trace, "load_percent": load, "batch": 16},
        stop_reason="trials",
    )


MADE = [one(name, load, value) for load, pair in ((50, (0.03, 0.03)), (100, (0.5, 0.04))) for name, value in zip(
    ("fcfs", "mlfq"), pair, strict=True
)]  # fmt: skip


def views(plot, made):
    points = points_of("results/mm/serving.json", run_of(*made, suite="serving"), ["mlfq"])
    return draw_plots([plot], points, Palette({"serving": ["fcfs", "mlfq"]}), "techniques/x/")


def test_a_line_a_policy_with_its_intervals():
    [view] = views("latency-load", MADE)
    lines = {line["name"]: line for line in view.figure["data"]}
    assert list(lines["fcfs"]["x"]) == [50.0, 100.0]
    assert lines["fcfs"]["y"][1] == 0.5125  # the median of six seeds
    assert lines["mlfq"]["error_y"]["array"][0] > 0
    assert "lower is better" in view.figure["layout"]["yaxis"]["title"]["text"]


def test_words_say_what_light_and_heavy_load_show():
    [view] = views("latency-load", MADE)
    assert (
        view.summary
        == "At 50 % load fcfs and mlfq have about 30.8 ms. At 100 % load mlfq has about 41 ms, fcfs 512 ms."
    )


def test_the_table_has_a_row_a_point_and_the_factor():
    [view] = views("latency-load", MADE)
    assert len(view.rows) == len(MADE)
    assert all(len(row) == len(view.columns) for row in view.rows)
    assert [row[4][:5] for row in view.rows if row[1] == "mlfq" and row[0] == "100"] == ["12.5×"]


def test_tails_metrics_and_traces_have_figures_of_their_own():
    made = [*MADE]
    for load in (50, 100):
        made += [
            one("fcfs", load, 2.0, "jct"),
            one("fcfs", load, 9.0, "jct_tail"),
            one("fcfs", load, 1.0, trace="bimodal"),
        ]
    assert len(views("latency-load", made)) == 3
    assert len(views("latency-load-tails", made)) == 1


def test_one_load_is_no_figure():
    assert views("latency-load", MADE[:2]) == []
