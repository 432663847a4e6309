"""The planner: the page computes what Python computes, its address is its state, and it answers without JavaScript."""

import json
import random
import re
from collections.abc import Callable
from dataclasses import asdict
from math import inf, isclose
from pathlib import Path
from typing import Any

import pytest
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from playwright.sync_api import Page, expect

from reference_impls.cost_model import Settings, load_tables, plan, rank
from reference_impls.cost_model.parameters import total_parameters
from reference_impls.cost_model.words import ADVICE
from scripts.website.planner import STATIC_CONTEXT, make_planner, planner_context, static_table
from scripts.website.predictions import TOLERANCE
from scripts.website.settings import Settings as SiteSettings
from tests.site.conftest import ROOT, Site, Visit

TABLES = load_tables()
CONFIGURATIONS = 400
AGREE = 1e-9
COMPUTE = """async ([script, data, asked]) => {
  const model = await import(script);
  const tables = await (await fetch(data)).json();
  const row = (part, name, key) => ({ ...tables.defaults[key ?? part], ...tables[part][name].format });
  return asked.map((one) => {
    const shape = { ...tables.defaults.shape, ...tables.models[one.model].shape };
    const machine = { ...tables.defaults.machine, ...tables.machines[one.machine].machine };
    const made = model.plan(shape, machine, row("weights", one.weights), row("kv", one.kv), one.settings);
    return JSON.stringify(made, (key, value) => (value === Infinity ? "inf" : value));
  });
}"""


def random_configurations() -> list[dict[str, Any]]:
    """Every model, machine and format at least once, and settings from one token to a million."""
    chance = random.Random(7)
    names = {"model": [*TABLES.models], "machine": [*TABLES.machines], "weights": [*TABLES.weights], "kv": [*TABLES.kv]}
    shuffled = {key: chance.sample(values, len(values)) for key, values in names.items()}
    return [
        {
            **{key: values[at % len(values)] for key, values in shuffled.items()},
            "settings": {
                "context": chance.choice([1, 2, 100, 511, 4096, 40_000, 1_000_000]),
                "batch": chance.choice([1, 1, 3, 16, 700]),
                "offload": chance.random() < 0.5,
                "draft_length": chance.choice([0, 0, 1, 5, 16]),
                "acceptance": chance.choice([0.0, 1.0, chance.random()]),
                "draft_cost": chance.choice([0.0, chance.random()]),
            },
        }
        for at in range(CONFIGURATIONS)
    ]


def differences(here: Any, there: Any, where: str) -> list[str]:
    """Every place in which two answers differ by more than AGREE."""
    if isinstance(here, dict):
        assert here.keys() == there.keys()
        return [found for key in here for found in differences(here[key], there[key], f"{where}.{key}")]
    if isinstance(here, bool | str):
        return [] if here == there else [f"{where}: {here} {there}"]
    other = inf if there == "inf" else there
    return [] if here == other or isclose(here, other, rel_tol=AGREE) else [f"{where}: {here} {there}"]


@pytest.mark.browser
def test_the_page_computes_what_python_computes(visit: Visit) -> None:
    asked = random_configurations()
    page = visit.go("planner/", quiet=True)
    script, data = (visit.url + path for path in ("assets/js/cost-model.js", "planner/data.json"))
    answers = page.evaluate(COMPUTE, [script, data, asked])
    found: list[str] = []
    for one, answer in zip(asked, answers, strict=True):
        shape, machine = TABLES.shape(one["model"]), TABLES.machine(one["machine"])
        weights, kv = TABLES.weights[one["weights"]], TABLES.kv[one["kv"]]
        here = asdict(plan(shape, machine, weights, kv, Settings(**one["settings"])))
        found += differences(here, json.loads(answer), f"{one}")
    assert found == []


def test_a_difference_would_be_seen() -> None:
    here = {"a": 1.0, "b": {"c": inf, "d": "link"}}
    assert differences(here, {"a": 1.0 + 1e-12, "b": {"c": "inf", "d": "link"}}, "") == []
    assert len(differences(here, {"a": 1.0 + 1e-8, "b": {"c": 5, "d": "compute"}}, "")) == 3


def verdict(page: Page) -> str:
    """The line that says whether it fits, once it is there."""
    line = page.locator("[data-verdict]")
    expect(line).to_have_text(re.compile("^(Fits|Does not fit|One of)"))
    return line.inner_text()


def choose(page: Page, **fields: str) -> None:
    """Set fields of the form as a user does, each by its name."""
    for name, value in fields.items():
        field = page.locator(f"[data-planner] [name={name}]")
        if field.evaluate("field => field.tagName") == "SELECT":
            field.select_option(value)
        else:
            field.fill(value)
            field.blur()


@pytest.mark.browser
def test_the_form_answers_with_the_models_numbers(visit: Visit) -> None:
    page = visit.go("planner/")
    verdict(page)
    choose(
        page, model="mixtral-8x7b", machine="a100-sxm-80gb", weights="int4-g64", kv="int8", context="32768", batch="4"
    )
    expected = plan(
        TABLES.shape("mixtral-8x7b"), TABLES.machine("a100-sxm-80gb"), TABLES.weights["int4-g64"], TABLES.kv["int8"],
        Settings(context=32768, batch=4),
    )  # fmt: skip
    assert f"{expected.total_bytes / 1e9:.1f} GB of {expected.usable_bytes / 1e9:.1f} GB" in verdict(page)
    text = page.locator("[data-details]").inner_text()
    assert f"{expected.weight_bytes / 1e9:.1f} GB" in text
    assert f"{expected.longest_context:,.0f}" in text
    assert ADVICE[expected.advice] in text


@pytest.mark.browser
def test_options_are_those_of_python_one_a_format_then_all(visit: Visit) -> None:
    page = visit.go("planner/")
    verdict(page)
    found = rank(
        TABLES.shape("llama-3.1-8b"), TABLES.machine("rtx-4090"), TABLES.weights, TABLES.kv, Settings(context=8192)
    )
    rows = page.locator("[aria-label='Pairs of formats that fit'] tbody tr")
    assert rows.count() == len({one.weights for one in found})
    page.get_by_role("button", name=f"Show all {len(found)}").click()
    shown = rows.locator("th").all_inner_texts()
    assert shown == [TABLES.weight_rows[one.weights].title for one in found]
    evidence = rows.locator("td:last-child").all_inner_texts()
    assert all("not measured" in text or "perplexity" in text or "of the bound" in text for text in evidence)
    links = rows.locator("td:last-child a").evaluate_all("links => links.map(link => link.href)")
    assert links
    assert all("/blob/" in link and "/results/" in link for link in links)


@pytest.mark.browser
def test_the_address_is_the_state_and_the_back_button_returns(visit: Visit) -> None:
    page = visit.go("planner/?model=gemma-2-9b&machine=t4&weights=int8&context=2048&gamma=3&offload=1&junk=1")
    first = verdict(page)
    form = page.locator("[data-planner]")
    assert form.locator("[name=model]").input_value() == "gemma-2-9b"
    assert form.locator("[name=offload]").is_checked()
    choose(page, weights="int4-g128")
    second = verdict(page)
    assert second != first
    assert "weights=int4-g128" in page.url
    page.reload()
    assert verdict(page) == second
    page.go_back()
    expect(form.locator("[name=weights]")).to_have_value("int8")
    assert verdict(page) == first
    page.locator("[data-use]").nth(1).click()
    assert verdict(page) != first
    page.go_back()
    assert verdict(page) == first


@pytest.mark.browser
@pytest.mark.parametrize(
    "query", ["?model=nothing", "?context=-5", "?context=abc", "?machine=%3Cscript%3E&kv=", "?gamma=1e9"]
)
def test_an_odd_address_does_no_harm(visit: Visit, query: str) -> None:
    page = visit.go("planner/" + query)
    assert verdict(page)
    choose(page, context="4096", gamma="0", model="gpt2", machine="t4", kv="bf16")
    assert verdict(page).startswith("Fits")


@pytest.mark.browser
def test_a_field_out_of_range_is_told_and_computes_nothing(visit: Visit) -> None:
    page = visit.go("planner/")
    verdict(page)
    choose(page, context="0")
    assert verdict(page).startswith("One of the fields is not valid")
    assert page.locator("[data-details]").inner_text() == ""


@pytest.mark.browser
def test_every_field_has_a_label_and_the_keyboard_reaches_the_answer(visit: Visit) -> None:
    page = visit.go("planner/")
    verdict(page)
    fields = page.locator("[data-planner] :is(select, input)")
    labels = fields.evaluate_all("all => all.map(one => one.labels.length && one.labels[0].textContent.trim().length)")
    assert len(labels) == 11
    assert all(labels)
    page.locator("[data-planner] [name=model]").focus()
    before = verdict(page)
    page.keyboard.type("GPT-2 XL")
    expect(page.locator("[data-planner] [name=model]")).to_have_value("gpt2-xl")
    page.keyboard.press("Tab")
    assert verdict(page) != before
    assert page.locator("[data-verdict][aria-live=polite]").count() == 1


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_in_both_schemes(visits: Callable[..., Visit], scheme: str) -> None:
    visit = visits(viewport={"width": 360, "height": 740}, color_scheme=scheme)
    page = visit.go("planner/?model=llama-3.1-70b&weights=int4-g128&offload=1&gamma=4")
    assert verdict(page).startswith("Fits with")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.locator(".answer .wide").evaluate_all("all => all.every(one => one.tabIndex === 0)")
    page.evaluate("document.querySelectorAll('details').forEach(one => (one.open = true))")
    page.add_script_tag(path=ROOT / "node_modules/axe-core/axe.min.js")
    faults = page.evaluate("axe.run({resultTypes: ['violations']}).then(result => result.violations)")
    assert [fault["id"] for fault in faults] == []


@pytest.mark.browser
def test_without_javascript_the_tables_answer(visits: Callable[..., Visit]) -> None:
    page = visits(java_script_enabled=False).go("planner/")
    expect(page.locator("[data-planner]")).to_be_hidden()
    expect(page.get_by_role("heading", name="What fits a 24 GB card")).to_be_visible()
    expect(page.get_by_role("rowheader", name="Llama 3.1 8B")).to_be_visible()
    expect(page.get_by_role("heading", name="How it is computed")).to_be_visible()


def test_the_static_table_is_the_cost_models(site: Site) -> None:
    table = static_table(TABLES, "rtx-4090", "a 24 GB card")
    row = next(row for row in table.rows if row.title == "Llama 3.1 8B")
    found = plan(TABLES.shape("llama-3.1-8b"), TABLES.machine("rtx-4090"), TABLES.weights["bf16"], TABLES.kv["bf16"],
                 Settings(context=STATIC_CONTEXT))  # fmt: skip
    assert row.cells[0] == (True, f"{found.tokens_per_s:,.0f}")
    assert row.parameters == f"{total_parameters(TABLES.shape('llama-3.1-8b')) / 1e9:,.3g}"
    html = site.html("planner")
    assert f'<th scope="row">Llama 3.1 8B</th><td>{row.parameters}</td><td>{row.cells[0][1]}</td>' in html
    assert len(table.rows) + table.left_out == len(TABLES.models)


def test_the_page_prints_the_models_own_error(site: Site) -> None:
    html = site.html("planner")
    said = re.search(r"Of (\d+) recorded rows .*?<b>(\d+) \((\d+) %\)</b> took at most twice the bound", html)
    assert said
    rows, within, share = map(int, said.groups())
    assert round(100 * within / rows) == share
    assert "faster than it by more than a tenth" in html
    assert TOLERANCE == 1.1


def test_data_and_script_stay_small(site: Site) -> None:
    import gzip

    sizes = {
        path: len(gzip.compress((site.public / path).read_bytes()))
        for path in ("planner/index.html", "planner/data.json", "assets/js/cost-model.js", "assets/js/planner.js")
    }
    assert sum(sizes.values()) < 60_000, sizes


def test_without_recorded_runs_the_page_still_answers(tmp_path: Path) -> None:
    url = "https://example.org/"
    settings = SiteSettings(tmp_path, url, f"{url}repo", None, "2026-01-01T00:00:00+00:00")
    planner = make_planner({}, settings)
    assert planner.error.rows == 0
    assert not any("evidence" in row for row in planner.data["weights"].values())
    context = planner_context(planner)
    folder = FileSystemLoader(ROOT / "site" / "templates")
    jinja = Environment(loader=folder, autoescape=True, undefined=StrictUndefined)
    html = jinja.get_template("planner.html").render(root="../", **context)
    assert "No recorded run can be compared" in html
    assert "measured here" not in html
