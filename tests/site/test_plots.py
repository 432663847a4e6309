"""Figures of recorded runs: they join, group, orient and colour as they say, and every number in them is recorded."""

import itertools
import random
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.website.plots import PLOTS, draw_plots
from scripts.website.plots.draw import ticks
from scripts.website.plots.points import points_of, shown_for
from scripts.website.plots.quality import Pair, by_metric, front_of, pairs_of
from scripts.website.plots.style import COLOURS, DASHES, PEER, SYMBOLS, Palette, colour_numbers
from tests.site.test_evidence import measurement, run_of

ROOT = Path(__file__).parents[2]
QUANTIZATION = "algorithms/model-compression/quantization"
EXACT = {"stop_reason": "deterministic", "unit": "1", "better": "lower"}


def points(*measurements, modules=("gptq", "rtn"), **more):
    return points_of("results/mm/ss.json", run_of(*measurements, **more), modules)


def only(points_, name):
    [found] = [point for point in points_ if point.one.implementation == name]
    return found


def quality(name, role, bits, perplexity, case="ss/m/4-bit", model="m", **workload):
    """The two measurements of one method: its size and its quality."""
    fields = {"workload": {"model": model, "text": "t"} | workload} | EXACT
    return [
        measurement(name, role, [bits], case=f"{case}/bits_per_weight", metric="bits_per_weight", **fields),
        measurement(name, role, [perplexity], case=f"{case}/perplexity", metric="perplexity", **fields),
    ]


def step(name, role, batch, *samples, **more):
    workload = {"in": 8, "out": 8, "batch": batch}
    return measurement(name, role, list(samples) * 8, case=f"ss/l/batch-{batch}", workload=workload, **more)


def views(plot, *measurements, **more):
    return draw_plots([plot], points(*measurements, **more), Palette({"ss": ["gptq", "rtn"]}), "techniques/x/")


# What follows from a measurement


def test_a_factor_above_one_is_better_whatever_the_metric():
    time = points(measurement("b", "baseline", [4.0] * 9), measurement("m", "method", [2.0] * 9))
    rate = {"metric": "decode_throughput", "unit": "tokens/s", "better": "higher"}
    speed = points(measurement("b", "baseline", [2.0] * 9, **rate), measurement("m", "method", [4.0] * 9, **rate))
    assert only(time, "m").factor.value == only(speed, "m").factor.value == pytest.approx(2)
    assert only(time, "b").factor is None


def test_an_inverted_interval_keeps_its_order_and_holds_the_value():
    rng = random.Random(1)
    samples = [[rng.uniform(1, 2) for _ in range(30)] for _ in range(2)]
    factor = only(points(measurement("b", "baseline", samples[0]), measurement("m", "method", samples[1])), "m").factor
    assert factor.lo <= factor.value <= factor.hi
    assert only(points(measurement("b", "baseline", samples[0]), measurement("m", "method", samples[0])), "m").is_tied


def test_samples_at_zero_give_no_ratio_instead_of_nonsense():
    found = points(measurement("b", "baseline", [0.0] * 9), measurement("m", "method", [1.0] * 9))
    assert only(found, "m").factor is None


def test_a_share_of_the_limit_is_one_at_the_limit_for_times_and_rates():
    limit = {"limit": {"value": 2.0, "formula": "f"}}
    rate = {"metric": "decode_throughput", "unit": "tokens/s", "better": "higher"}
    slow, fast = measurement("b", "baseline", [4.0], **limit), measurement("b", "baseline", [1.0], **limit, **rate)
    assert only(points(slow), "b").share == only(points(fast), "b").share == 0.5


def test_three_seeds_have_a_range_and_thirty_rounds_an_interval():
    few, many = (points(measurement("b", "baseline", [1.0, 2.0, 3.0] * n))[0] for n in (1, 10))
    assert (few.spread, few.spread_is) == ((1.0, 3.0), "range of 3")
    assert many.spread_is == "95 % interval"


def test_a_method_belongs_to_the_module_recorded_or_named_like_it():
    found = points(
        measurement("rtn", "baseline", [1.0]),
        measurement("gptq", "method", [1.0], case="s/c"),
        measurement("gptq-act-order", "method", [1.0], module="gptq"),
        measurement("other", "method", [1.0]),
    )
    modules = {point.one.implementation: point.module for point in found}
    assert modules == {"rtn": None, "gptq": "gptq", "gptq-act-order": "gptq", "other": None}


def test_a_page_shows_its_modules_with_the_baselines_and_peers_of_their_cases_alone():
    found = points(
        measurement("base", "baseline", [1.0], case="s/one"),
        measurement("gptq", "method", [1.0], case="s/one"),
        measurement("rtn", "method", [1.0], case="s/one"),
        measurement("peer", "peer", [1.0], case="s/one"),
        measurement("base", "baseline", [1.0], case="s/two"),
        measurement("rtn", "method", [1.0], case="s/two"),
    )
    shown = {(point.one.case, point.one.implementation) for point in shown_for(found, {"gptq"})}
    assert shown == {("s/one", "base"), ("s/one", "gptq"), ("s/one", "peer")}


# Quality against size


def test_quality_and_size_join_by_prefix_and_name():
    found = points(
        *quality("float32", "baseline", 32, 20),
        *quality("gptq", "method", 5, 21),
        *quality("gptq", "method", 4, 25, case="ss/m/3-bit"),
        *quality("float32", "baseline", 32, 20, case="ss/m/3-bit"),
    )
    joined = {(pair.size, pair.point.value) for pair in pairs_of(found, by_metric("bits_per_weight"))}
    assert joined == {(32, 20), (5, 21), (4, 25)}


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=12))
def test_the_front_holds_what_nothing_else_dominates(sizes):
    base = measurement("b", "baseline", [1.0], **EXACT)
    found = [
        Pair(only(points(base, measurement("m", "method", [float(value)], **EXACT)), "m"), float(size))
        for size, value in sizes
    ]
    front = {(pair.size, pair.point.value) for pair in front_of(found)}
    every = {(pair.size, pair.point.value) for pair in found}
    assert front == {one for one in every if not any(o != one and o[0] <= one[0] and o[1] <= one[1] for o in every)}


def test_models_and_texts_are_never_mixed_in_one_figure():
    made = [quality("float32", "baseline", 32, 20), quality("gptq", "method", 5, 21)]
    for number, workload in enumerate(({"model": "n"}, {"tokens": 9})):
        case = f"ss/{number}/4-bit"
        made += [
            quality("float32", "baseline", 32, 30, case, **workload),
            quality("gptq", "method", 5, 31, case, **workload),
        ]
    found = views("quality-bits", *itertools.chain(*made))
    assert len(found) == 3
    assert all({row[0] for row in view.rows} == {"float32", "gptq"} for view in found)


def test_where_more_is_saved_by_more_the_front_turns_round():
    fields = EXACT | {"metric": "perplexity"}

    def at(sparsity, name, role, value):
        workload = {"model": "m", "sparsity": sparsity}
        return measurement(name, role, [value], case=f"p/m/{sparsity}/ppl", workload=workload, **fields)

    [view] = views(
        "quality-sparsity",
        *(at(sparsity, "dense", "baseline", 5.0) for sparsity in (0.5, 0.7)),
        at(0.5, "wanda", "method", 6.0),
        at(0.7, "wanda", "method", 9.0),
        at(0.5, "sparsegpt", "method", 7.0),
        at(0.7, "sparsegpt", "method", 8.0),
    )
    assert {(row[0], row[1]) for row in view.rows if row[3] == "yes"} == {("wanda", "0.5"), ("sparsegpt", "0.7")}
    assert "sparsegpt at 0.7 saves most and has 8 against 5 of dense (+60 %)" in view.summary


def test_points_of_one_size_are_not_joined_by_a_line():
    made = [quality("float32", "baseline", 32, 20), quality("gptq", "method", 4, 21)]
    made += [quality("float32", "baseline", 32, 20, "ss/m/other"), quality("gptq", "method", 4, 25, "ss/m/other")]
    [view] = views("quality-bits", *itertools.chain(*made))
    [marks] = [trace for trace in view.figure["data"] if trace.get("name") == "gptq"]
    assert marks["mode"] == "markers"


def test_the_table_names_the_front_and_the_baseline_is_a_line_not_a_point():
    [view] = views(
        "quality-bits",
        *quality("float32", "baseline", 32, 20),
        *quality("gptq", "method", 5, 21),
        *quality("rtn", "method", 5, 24),
    )
    front = {row[0]: row[3] for row in view.rows}
    assert front == {"float32": "baseline", "gptq": "yes", "rtn": ""}
    marks = [trace["name"] for trace in view.figure["data"] if "markers" in trace["mode"]]
    assert sorted(marks) == ["gptq", "rtn"]
    assert "+5 %" in view.summary


# Along an axis


def test_batches_make_one_figure_with_break_even_said():
    [view] = views(
        "speed-batch",
        *(step("bf16", "baseline", batch, 1.0) for batch in (1, 4, 16)),
        step("gptq", "method", 1, 0.5),
        step("gptq", "method", 4, 0.8),
        step("gptq", "method", 16, 2.0),
        *(step("rtn", "method", batch, 3.0) for batch in (1, 4, 16)),
    )
    assert "gptq loses its lead between batch size 4 and 16." in view.summary
    assert "rtn is slower than bf16 wherever measured." in view.summary
    line = next(trace for trace in view.figure["data"] if trace.get("name") == "gptq")
    assert list(line["x"]) == [1, 4, 16]
    assert list(line["y"]) == pytest.approx([2, 1.25, 0.5])


def test_a_lossy_method_shows_its_quality_beside_its_speed():
    lossy = step("gptq", "method", 1, 0.5, quality={"metric": "perplexity", "value": 21.5})
    [view] = views("speed-batch", step("bf16", "baseline", 1, 1.0), lossy)
    assert dict(zip(view.columns, view.rows[0], strict=True))["quality"] == "token perplexity 21.5"
    assert any("gptq" in note and "change" in note for note in view.notes)


def test_no_difference_is_a_hollow_mark_and_is_said():
    wobble = [1.0, 1.1, 0.9, 1.05]
    [view] = views("speed-batch", step("bf16", "baseline", 1, *wobble), step("gptq", "method", 1, *wobble[::-1]))
    [mark] = [trace for trace in view.figure["data"] if trace.get("name") == "gptq"]
    assert mark["marker"]["symbol"][0].removesuffix("-open") in SYMBOLS
    assert mark["marker"]["symbol"][0].endswith("-open")
    assert view.rows[0][4] == "no difference seen"
    assert [key.mark for key in view.legend if key.mark != "full"] == ["tied"]


def test_the_same_axis_serves_another_family():
    fields = {"workload": {"model": "m", "cached_tokens": 512}, "case": "kv/m/512"}
    [view] = views(
        "speed-context",
        measurement("full", "baseline", [1.0] * 9, **fields),
        measurement("evict", "method", [0.25] * 9, **fields),
    )
    assert view.rows[0][:4] == ["512", "evict", "250 ms", "4× [4, 4]"]


def test_a_prompt_s_length_is_an_axis_of_its_own():
    made = []
    for tokens in (256, 1024):
        fields = {"workload": {"model": "m", "prompt_tokens": tokens}, "case": f"attention/m/{tokens}"}
        made += [
            measurement("whole", "baseline", [1.0] * 9, **fields),
            measurement("flash", "method", [0.5] * 9, **fields),
        ]
    [view] = views("speed-prompt", *made)
    assert [row[0] for row in view.rows] == ["256", "1024"]
    assert "by tokens of the prompt" in view.title
    assert views("speed-context", *made) == []


def test_figures_of_one_subject_are_told_apart_by_what_differs():
    made = []
    for tokens in (64, 512):
        fields = {
            "workload": {"model": "m", "batch": 1, "cached_tokens": tokens, "text": "t"},
            "case": f"ss/m/{tokens}",
        }
        made += [measurement("b", "baseline", [1.0] * 9, **fields), measurement("gptq", "method", [0.5] * 9, **fields)]
    found = views("speed-batch", *made)
    assert [view.title.rpartition(": ")[2] for view in found] == ["m, cached tokens 64", "m, cached tokens 512"]
    assert len({view.id for view in found}) == 2


def test_a_share_of_zeros_serves_as_size():
    fields = EXACT | {"metric": "perplexity"}
    [view] = views(
        "quality-sparsity",
        measurement("dense", "baseline", [5.0], case="p/m/0.5/ppl", workload={"model": "m", "sparsity": 0.5}, **fields),
        measurement("wanda", "method", [6.0], case="p/m/0.5/ppl", workload={"model": "m", "sparsity": 0.5}, **fields),
    )
    assert [row[:3] for row in view.rows] == [["dense", "0.5", "5"], ["wanda", "0.5", "6"]]


def test_a_share_that_is_kept_serves_as_size_and_less_of_it_is_better():
    fields = EXACT | {"metric": "perplexity"}
    made = []
    for kept, value in ((0.6, 9.0), (0.8, 6.0)):
        place = {"case": f"low_rank/m/{kept}/ppl", "workload": {"model": "m", "kept": kept}}
        made += [
            measurement("dense", "baseline", [5.0], **place, **fields),
            measurement("svd", "method", [value], **place, **fields),
        ]
    [view] = views("quality-kept", *made)
    assert {row[1]: row[2] for row in view.rows if row[0] == "svd"} == {"0.6": "9", "0.8": "6"}
    assert "dense" in str(view.figure["data"])
    assert "dense, 0." not in str(view.figure["data"])  # the baseline keeps all
    assert "svd at 0.6 saves most and has 9 against 5 of dense" in view.summary


def test_applying_is_compared_as_a_time():
    fields = {"metric": "quantize_time", "case": "ss/apply/l"}
    [view] = views(
        "apply-time",
        measurement("rtn", "baseline", [0.001] * 9, **fields),
        measurement("gptq", "method", [0.1] * 9, **fields),
    )
    assert view.rows[1][:3] == ["gptq", "100 ms", "100× [100, 100]"]
    assert view.summary == "rtn takes 1 ms; the slowest, gptq, 100 ms."


def test_measured_and_foretold_speeds_share_a_break_even_figure():
    """One figure an axis, with the forecast as a line of its own; a case of another axis is not drawn into it."""

    def pair(field, place, name, role, speed, **fixed):
        more = {"metric": "decode_throughput", "better": "higher", "unit": "tokens/s"}
        workload = {field: place, "values": "measured" if role == "method" else "foretold", **fixed}
        case = f"ss/{field}/{place}-{role}/decode_throughput"
        plain = measurement("plain", "baseline", [100.0] * 9, case=case, workload=workload, **more)
        return [plain, measurement(name, role, [100.0 * speed] * 9, case=case, workload=workload, **more)]

    both = [
        *(one for alpha in (0.2, 0.8) for one in pair("acceptance", alpha, "oracle", "method", 0.5 + alpha)),
        *(one for alpha in (0.2, 0.8) for one in pair("acceptance", alpha, "formula", "peer", 0.6 + alpha)),
        *(one for cost in (0.1, 1.0) for one in pair("draft_cost", cost, "oracle", "method", 1.5 - cost)),
    ]
    (figure,) = views("break-even-acceptance", *both, modules=("oracle",))
    drawn = {trace.get("name"): trace for trace in figure.figure["data"]}
    assert list(drawn["oracle"]["y"]) == [0.7, 1.3]
    assert list(drawn["formula"]["y"]) == [0.8, 1.4]
    assert drawn["formula"]["mode"] == "lines+markers"
    assert "nothing is faster than plain" in figure.summary or "0.2" in figure.summary
    (other,) = views("break-even-cost", *both, modules=("oracle",))
    assert [row[0] for row in other.rows] == ["0.1", "1"]


def test_a_figure_without_data_is_not_drawn():
    assert [name for name in PLOTS if views(name)] == []
    alone = [step("bf16", "baseline", batch, 1.0) for batch in (1, 4)]
    assert views("speed-batch", *alone) == []


# Colours, marks and axes


def test_a_family_up_to_the_number_of_colours_has_no_two_alike():
    names = [f"module_{number}" for number in range(COLOURS)]
    assert sorted(colour_numbers(names).values()) == list(range(1, COLOURS + 1))
    assert colour_numbers(names) == colour_numbers(reversed(names))


@given(st.sets(st.text("abcdefgh_", min_size=1), max_size=8), st.text("xyz", min_size=1, max_size=5))
def test_a_new_module_leaves_most_colours_alone(names, new):
    before, after = colour_numbers(names), colour_numbers({*names, new})
    moved = [name for name in names if before[name] != after[name]]
    assert moved == []  # `new` sorts last, so it takes what is left


def test_a_module_keeps_its_colour_on_every_figure_and_others_are_neutral():
    palette = Palette({"ss": ["gptq", "rtn"]})
    for company in ([], [measurement("rtn", "method", [1.0])]):
        found = points(measurement("b", "baseline", [1.0]), measurement("gptq", "method", [1.0]), *company)
        styles = palette.styles(found)
        assert (styles["gptq"].series, styles["b"].series) == (palette.numbers["ss"]["gptq"], PEER)


def test_what_is_learnt_looks_the_same_in_any_company():
    names = ["gptq", "gptq-act-order", "gptq-static"]
    base = measurement("rtn", "baseline", [1.0])
    found = points(base, *(measurement(name, "method", [1.0], module="gptq") for name in names))
    found += points(measurement("b", "baseline", [1.0], case="s/d"), measurement("rtn", "method", [1.0], case="s/d"))
    palette = Palette({"ss": ["gptq", "rtn"]})
    palette.learn(found)
    whole = palette.styles(found)
    assert [palette.styles([point]) for point in found] == [
        {point.one.implementation: whole[point.one.implementation]} for point in found
    ]
    assert whole["rtn"].series == palette.numbers["ss"]["rtn"]  # a baseline here, a method there
    assert len({style.series for name, style in whole.items() if name in names}) == 1


def test_no_two_implementations_share_mark_and_dash():
    names = [f"way-{number}" for number in range(len(SYMBOLS) * len(DASHES))]
    found = points(measurement("b", "baseline", [1.0]), *(measurement(n, "method", [1.0], module="rtn") for n in names))
    styles = Palette({"ss": ["rtn"]}).styles(point for point in found if point.one.role == "method")
    assert len({(style.symbol, style.dash) for style in styles.values()}) == len(names)


@given(st.floats(1e-6, 1e6), st.floats(1.05, 1e5))
def test_ticks_lie_inside_in_order_and_are_neither_few_nor_many(low, span):
    found = ticks(low, low * span)
    assert found == sorted(set(found))
    assert all(low * 0.999 <= tick <= low * span * 1.001 for tick in found)
    assert 1 <= len(found) <= 18


def test_every_colour_is_defined_for_both_schemes_and_readable():
    css = (ROOT / "site/assets/evidence.css").read_text("utf-8")
    paper = re.search(r"--paper: light-dark\((#\w+), (#\w+)\)", (ROOT / "site/assets/theme.css").read_text("utf-8"))
    found = dict(re.findall(r"--series-(\d+): light-dark\((#\w+, #\w+)\)", css))
    assert sorted(map(int, found)) == list(range(COLOURS + 1))
    for number, pair in found.items():
        for ink, ground in zip(pair.split(", "), paper.groups(), strict=True):
            assert (number, contrast(ink, ground) >= 4.5) == (number, True)


def contrast(one, other):
    """WCAG 2: (lighter + 0.05) / (darker + 0.05) of relative luminances."""

    def luminance(colour):
        digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
        parts = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)
