"""Which modules, figures and records stand on which technique page, and that their data lie where the page says."""

import csv
import io
import json
import re
from pathlib import Path

import pytest
from playwright.sync_api import expect

from scripts.catalogue.addresses import technique_href
from scripts.catalogue.load import load_catalogue
from scripts.website.derive import derive
from scripts.website.errors import BuildError
from scripts.website.family import Families, support
from scripts.website.implementations import implementations
from scripts.website.plots.points import points_of
from scripts.website.plots.style import family_modules
from scripts.website.settings import read_settings
from tests.site.conftest import Site
from tests.site.test_evidence import measurement, run_of

ROOT = Path(__file__).parents[2]
QUANTIZATION = "algorithms/model-compression/quantization"

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


def test_a_work_without_an_id_is_found_by_its_title(families):
    filed = next(e for e in families.derived.newest if e.key == "hqq").paper.techniques
    for slug in family_pages(families, "quantization"):
        names = {one.name for one in families.view(slug).implementations}
        assert (slug, "hqq" in names) == (slug, any(f"{own}/".startswith(f"{slug}/") for own in filed))


def test_kernels_stand_on_the_page_of_what_they_multiply_by_with_their_speed(families):
    view = families.view(f"{QUANTIZATION}/weight-only")
    assert {"matmul", "fused", "compiled", "w4a16_triton", "w8a8_cpu"} <= {one.name for one in view.implementations}
    drawn = {figure.id for machine in view.machines for figure in machine.figures}
    if not any(point.module == "fused" for found in families.points.values() for point in found):
        pytest.skip("no kernel has been recorded")
    assert any(one.startswith("speed-batch") for one in drawn)
    assert any(one.startswith("limit-batch") for one in drawn)


def test_records_on_a_page_are_those_of_its_modules(families):
    for slug in family_pages(families, "quantization"):
        view = families.view(slug)
        names = {one.name for one in view.implementations}
        rows = [
            (run.file, case.id, row.name)
            for run in view.runs
            for case in run.cases
            for row in case.rows
            if row.role == "method"
        ]
        points = [point for found in families.points.values() for point in found]
        modules = {(p.file, p.one.case, p.one.implementation): p.module for p in points}
        assert (view.topmost is None) == (slug == QUANTIZATION)
        assert view.topmost is None or all(modules[row] in names for row in rows)


def test_what_was_never_run_says_so(families):
    shown = families.view(QUANTIZATION).implementations
    empty = support(shown, [])
    assert empty.columns == ["CPU", "CUDA GPU"]
    assert all(cells == ["not run", "not run"] for _, cells in empty.rows)
    method = measurement("gptq", "method", [1.0], workload={"dtype": "float32"})
    found = points_of("results/mm/ss.json", run_of(measurement("b", "baseline", [1.0]), method), {"gptq"})
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
    rules = "{rules: {'target-size': {enabled: true}}}"  # a finger's width, which axe leaves out unless asked
    found = page.evaluate(f"axe.run('section[aria-labelledby=measured]', {rules}).then(result => result.violations)")
    assert [fault["id"] for fault in found if fault["impact"] in ("serious", "critical")] == []


@pytest.mark.browser
def test_without_javascript_the_tables_stand_alone(visits) -> None:
    page = visits(java_script_enabled=False).go(f"techniques/{QUANTIZATION}/")
    figure = page.locator(".plot--evidence").first
    expect(figure.locator(".plot__area")).to_be_hidden()
    expect(figure.locator(".legend")).to_be_hidden()
    figure.locator("summary").first.click()
    expect(figure.locator("table")).to_be_visible()
