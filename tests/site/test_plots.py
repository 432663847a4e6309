"""Figures of recorded runs: they join, group, orient and colour as they say, and every number in them is recorded."""

import csv
import io
import itertools
import json
import random
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from playwright.sync_api import expect

from scripts.catalogue.load import load_catalogue
from scripts.website.derive import derive
from scripts.website.errors import BuildError
from scripts.website.family import Families, support
from scripts.website.implementations import implementations
from scripts.website.plots import PLOTS, draw_plots
from scripts.website.plots.draw import ticks
from scripts.website.plots.points import points_of, shown_for
from scripts.website.plots.quality import Pair, by_metric, front_of, pairs_of
from scripts.website.plots.style import COLOURS, DASHES, PEER, SYMBOLS, Palette, colour_numbers, family_modules
from scripts.website.settings import read_settings
from scripts.website.views import technique_href
from tests.site.conftest import Site
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


def test_no_difference_is_a_hollow_mark_and_is_said():
    wobble = [1.0, 1.1, 0.9, 1.05]
    [view] = views("speed-batch", step("bf16", "baseline", 1, *wobble), step("gptq", "method", 1, *wobble[::-1]))
    [mark] = [trace for trace in view.figure["data"] if trace.get("name") == "gptq"]
    assert mark["marker"]["symbol"][0].removesuffix("-open") in SYMBOLS
    assert mark["marker"]["symbol"][0].endswith("-open")
    assert view.rows[0][4] == "no difference seen"
    assert any(key.is_tie for key in view.legend)


def test_the_same_axis_serves_another_family():
    fields = {"workload": {"model": "m", "cached_tokens": 512}, "case": "kv/m/512"}
    [view] = views(
        "speed-context",
        measurement("full", "baseline", [1.0] * 9, **fields),
        measurement("evict", "method", [0.25] * 9, **fields),
    )
    assert view.rows[0][:4] == ["512", "evict", "250 ms", "4× [4, 4]"]


def test_a_share_of_zeros_serves_as_size():
    fields = EXACT | {"metric": "perplexity"}
    [view] = views(
        "quality-sparsity",
        measurement("dense", "baseline", [5.0], case="p/m/0.5/ppl", workload={"model": "m", "sparsity": 0.5}, **fields),
        measurement("wanda", "method", [6.0], case="p/m/0.5/ppl", workload={"model": "m", "sparsity": 0.5}, **fields),
    )
    assert [row[:3] for row in view.rows] == [["dense", "0.5", "5"], ["wanda", "0.5", "6"]]


def test_applying_is_compared_as_a_time():
    fields = {"metric": "quantize_time", "case": "ss/apply/l"}
    [view] = views(
        "apply-time",
        measurement("rtn", "baseline", [0.001] * 9, **fields),
        measurement("gptq", "method", [0.1] * 9, **fields),
    )
    assert view.rows[1][:3] == ["gptq", "100 ms", "100× [100, 100]"]
    assert view.summary == "rtn takes 1 ms; the slowest, gptq, 100 ms."


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
    css = (ROOT / "site/assets/pages.css").read_text("utf-8")
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


# Which modules are on which page


@pytest.fixture(scope="module")
def families():
    return Families(derive(load_catalogue(ROOT)), read_settings(ROOT))


def family_pages(families, family):
    return [slug for slug, page in families.pages.items() if page.technique.family == family]


@pytest.mark.parametrize("family", sorted(family_modules(ROOT)))
def test_every_module_of_a_named_family_is_on_some_page(families, family):
    pages = family_pages(families, family)
    if not pages:
        pytest.skip(f"no page names {family}")
    shown = {one.name for slug in pages for one in families.view(slug).implementations}
    assert shown == {one.name for one in implementations(ROOT, family, "r")}


def test_a_module_is_on_the_pages_under_which_its_paper_is_filed(families):
    entry = next(e for e in families.derived.newest if e.paper.arxiv == "2210.17323")
    for slug in family_pages(families, "quantization"):
        names = {one.name for one in families.view(slug).implementations}
        filed = any(f"{own}/".startswith(f"{slug}/") for own in entry.paper.techniques)
        assert (slug, "gptq" in names) == (slug, filed)


def test_records_on_a_page_are_those_of_its_modules(families):
    for slug in family_pages(families, "quantization"):
        view = families.view(slug)
        names = {one.name for one in view.implementations}
        rows = [row for run in view.runs for case in run.cases for row in case.rows if row.role == "method"]
        modules = {p.one.implementation: p.module for found in families.points.values() for p in found}
        assert view.is_topmost == (slug == QUANTIZATION)
        assert view.is_topmost or all(modules[row.name] in names for row in rows)


def test_what_was_never_run_says_so(families):
    shown = families.view(QUANTIZATION).implementations
    empty = support(shown, [])
    assert empty.columns == ["CPU", "CUDA GPU"]
    assert all(cells == ["not run", "not run"] for _, cells in empty.rows)
    found = points(
        measurement("b", "baseline", [1.0]), measurement("gptq", "method", [1.0], workload={"dtype": "float32"})
    )
    filled = support(shown, found)
    assert filled.columns == ["CPU, float32", "CUDA GPU"]
    assert dict(filled.rows)["gptq"] == ["mm, 2026-01-01", "not run"]
    assert dict(filled.rows)["awq"] == ["not run", "not run"]


def test_an_unknown_plot_is_refused_by_name(families):
    page = families.pages[QUANTIZATION]
    wrong = page.technique.model_copy(update={"plots": ["quality-bitz"]})
    families.pages[QUANTIZATION] = type(page)(page.slug, page.file, wrong, page.body, page.body_line)
    families._views.pop(QUANTIZATION, None)
    try:
        with pytest.raises(BuildError, match=r"quality-bitz.*quality-bits"):
            families.view(QUANTIZATION)
    finally:
        families.pages[QUANTIZATION] = page


def test_every_plotted_number_is_in_the_table_and_every_figure_says_where_it_comes_from(families):
    figures = families.figures()
    assert len({figure.json_href for figure in figures}) == len(figures) > 0
    for figure in figures:
        assert figure.summary.endswith(".")
        assert figure.origin.command
        assert figure.origin.commit
        assert figure.origin.file in families.runs
        assert json.loads(figure.json_text())["data"]
        assert len(list(csv.reader(io.StringIO(figure.csv_text())))) == len(figure.rows) + 1
        assert len(figure.json_text()) < 40_000


# On the built site


def measured_pages(site):
    catalogue = load_catalogue(site.source)
    named = [slug for slug, page in catalogue.pages.items() if page.technique.plots]
    return [technique_href(slug) for slug in named if "plot--evidence" in site.html(technique_href(slug))]


def test_data_lie_beside_the_page_and_pages_without_plots_have_none(site: Site) -> None:
    pages = measured_pages(site)
    assert f"techniques/{QUANTIZATION}/" in pages
    for href in pages:
        figures = re.findall(r'data-figure="([^"]+)"', site.html(href))
        assert figures
        for figure in figures:
            file = (site.public / href / figure).resolve()
            assert file.is_file()
            assert file.with_suffix(".csv").is_file()
    without = [slug for slug, page in load_catalogue(site.source).pages.items() if not page.technique.plots]
    assert [slug for slug in without if "data-figure" in site.html(technique_href(slug))] == []


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_figures_are_drawn_without_moving_the_page(visits, scheme) -> None:
    visit = visits(color_scheme=scheme, viewport={"width": 360, "height": 740})
    page = visit.go(f"techniques/{QUANTIZATION}/")
    figures = page.locator(".plot--evidence:visible")
    before = page.evaluate("document.documentElement.scrollHeight")
    for number in range(min(figures.count(), 6)):
        figure = figures.nth(number)
        figure.scroll_into_view_if_needed()
        figure.locator(".main-svg .points path, .main-svg .point").first.wait_for(state="attached")
        colours = figure.locator(".main-svg .trace .point").evaluate_all(
            "all => all.map(p => getComputedStyle(p).fill)"
        )
        assert "rgb(68, 68, 68)" not in colours  # plotly's own grey: a colour that was not set
    assert page.evaluate("document.documentElement.scrollHeight") == before
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    page.add_script_tag(path=ROOT / "node_modules/axe-core/axe.min.js")
    found = page.evaluate("axe.run('section[aria-labelledby=measured]').then(result => result.violations)")
    assert [fault["id"] for fault in found if fault["impact"] in ("serious", "critical")] == []


@pytest.mark.browser
def test_without_javascript_the_tables_stand_alone(visits) -> None:
    page = visits(java_script_enabled=False).go(f"techniques/{QUANTIZATION}/")
    figure = page.locator(".plot--evidence").first
    expect(figure.locator(".plot__area")).to_be_hidden()
    expect(figure.locator(".legend")).to_be_hidden()
    figure.locator("summary").first.click()
    expect(figure.locator("table")).to_be_visible()
