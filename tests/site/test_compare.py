"""Compare and /api/v1/evidence.json: they say what the recorded samples say, and every state can be linked."""

import gzip
import json
import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from jsonschema import Draft202012Validator
from playwright.sync_api import Browser, Page, expect

from scripts.catalogue.load import load_catalogue
from scripts.website.compare import KIND_TITLES, Block, Comparison, MachineView, Subject
from scripts.website.derive import derive
from scripts.website.evidence_api import evidence_files
from scripts.website.family import Families
from scripts.website.plots.points import compare, oriented
from scripts.website.settings import read_settings
from tests.site.conftest import ROOT, Site, Visit, run_build, serve, small_checkout
from tests.site.test_evidence import measurement, run_of

in_browser = pytest.mark.browser
expect.set_options(timeout=15_000)
Item = dict[str, Any]


@pytest.fixture(scope="module")
def document(site: Site) -> Item:
    data: Item = json.loads((site.public / "api/v1/evidence.json").read_text("utf-8"))
    return data


@pytest.fixture(scope="module")
def recorded(site: Site) -> dict[tuple[str, str, str], Item]:
    """The measurements as the files hold them: (file, case, implementation) -> measurement."""
    found = {}
    for path in site.source.glob("results/*/*.json"):
        for one in json.loads(path.read_text("utf-8"))["measurements"]:
            found[path.relative_to(site.source).as_posix(), one["case"], one["implementation"]] = one
    return found


@pytest.fixture(scope="module")
def comparison(site: Site) -> Comparison:
    return Comparison(Families(derive(load_catalogue(site.source)), read_settings(site.source)))


def where(item: Item) -> tuple[str, str, str]:
    return item["run"], item["case"], item["implementation"]


# The interface


def test_the_document_follows_its_schema_which_refuses_what_it_does_not_know(site: Site, document: Item) -> None:
    schema = json.loads((site.public / "api/v1/evidence.schema.json").read_text("utf-8"))
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema)
    assert [error.message for error in validator.iter_errors(document)] == []
    item = document["evidence"][0]
    for wrong in (item | {"nonsense": 1}, item | {"median": None}, {k: v for k, v in item.items() if k != "n"}):
        assert list(validator.iter_errors(document | {"evidence": [wrong]}))


def test_every_measurement_is_there_once(document: Item, recorded: dict[tuple[str, str, str], Item]) -> None:
    told = [where(item) for item in document["evidence"]]
    assert sorted(told) == sorted(recorded)
    assert document["count"] == len(told) > 0
    assert {run["file"] for run in document["runs"]} == {file for file, _, _ in recorded}


def test_numbers_follow_from_the_samples(document: Item, recorded: dict[tuple[str, str, str], Item]) -> None:
    for item in document["evidence"]:
        one = recorded[where(item)]
        base = recorded[item["run"], item["case"], item["baseline"]]
        assert item["median"] == pytest.approx(median(one["samples"]), rel=1e-5)
        assert item["n"] == len(one["samples"])
        assert item["settled"] == all(
            side["stop_reason"] == "deterministic" or len(side["samples"]) >= 6 for side in (one, base)
        )
        if item["factor"] is not None:
            rounds = min(len(one["samples"]), len(base["samples"]))
            a, b = median(one["samples"][:rounds]), median(base["samples"][:rounds])
            assert item["factor"] == pytest.approx(a / b if one["better"] == "higher" else b / a, rel=1e-5)
            low, high = item["factor_interval"]
            tied = item["no_difference_seen"]
            is_open = low <= 1 <= high if tied else not low < 1 < high  # rounding moves an end to 1, never past it
            assert is_open if item["settled"] else not tied
            if item["settled"] and 1 in (low, high):  # so that only the samples tell
                exact = oriented(compare(tuple(one["samples"]), tuple(base["samples"])), one["better"])
                assert tied == (exact.lo <= 1 <= exact.hi)
        if one["limit"]:
            reached, most = median(one["samples"]), one["limit"]["value"]
            share = reached / most if one["better"] == "higher" else most / reached
            assert item["limit_share"] == pytest.approx(share, rel=1e-5)


def test_exact_values_and_baselines_have_no_factor(document: Item) -> None:
    for item in document["evidence"]:
        if item["stop_reason"] == "deterministic" or item["role"] == "baseline":
            assert item["factor"] is None
            assert not item["no_difference_seen"]


def test_without_runs_the_interface_and_the_page_are_empty_but_there(tmp_path: Path, comparison: Comparison) -> None:
    empty = Families(comparison.families.derived, comparison.settings)
    empty.runs = {}
    nothing = Comparison(empty)
    assert json.loads(evidence_files(nothing)["api/v1/evidence.json"])["evidence"] == []
    assert nothing.machines == []


# The page without JavaScript


def rows_of(html: str) -> list[tuple[int, str]]:
    return [(int(number), name) for number, name in re.findall(r'<tr data-point="(\d+)" data-name="([^"]*)"', html)]


@pytest.fixture(scope="module")
def everything(site: Site, comparison: Comparison) -> dict[str, str]:
    """Every page of a subject: address -> HTML."""
    hrefs = [subject.href for machine in comparison.machines for subject in machine.subjects]
    assert len(hrefs) == len(set(hrefs)) > 10
    return {href: site.html(href.strip("/")) for href in hrefs}


def test_every_row_is_about_its_point(everything: dict[str, str], document: Item) -> None:
    rows = [row for html in everything.values() for row in rows_of(html)]
    assert rows
    assert [name for number, name in rows if document["evidence"][number]["implementation"] != name] == []


def test_every_method_that_was_timed_or_judged_is_on_a_page(everything: dict[str, str], document: Item) -> None:
    rows = [row for html in everything.values() for row in rows_of(html)]
    shown = {document["evidence"][number]["implementation"] for number, _ in rows}
    units = {"s", "tokens/s", "requests/s"}
    tried = {i["case"] for i in document["evidence"] if i["role"] == "method"}  # else a case compares nothing
    in_batches = [i for i in document["evidence"] if i["unit"] in units and "batch" in i["workload"]]
    timed = {i["implementation"] for i in in_batches if i["case"] in tried}
    judged = {i["implementation"] for i in document["evidence"] if "bits_per_weight" in i["sizes"]}
    baselines = {i["baseline"] for i in document["evidence"]}
    assert timed | judged <= shown | baselines


def test_links_lead_to_records_papers_and_modules_that_exist(site: Site, everything: dict[str, str]) -> None:
    html = "".join(everything.values())
    links = set(re.findall(r'<td><a href="([^"]+)" rel="noopener">record</a>', html))
    assert links
    for link in links:
        assert (site.source / link.partition("/blob/")[2].partition("/")[2]).is_file()
    for href in set(re.findall(r'href="\.\./\.\./((?:techniques|papers)/[^"]+)"', html)):
        path, _, anchor = href.partition("#")
        assert not anchor or f'id="{anchor}"' in site.html(path)


def test_figures_of_few_runs_rank_nobody_and_others_do(comparison: Comparison) -> None:
    """As recorded; made points on both sides of the rule are in test_enough."""
    plots = [b.plot for machine in comparison.machines for subject in machine.subjects for b in subject.blocks]
    few = [plot for plot in plots if all(plot.few)]
    assert few
    assert all(plot.summary.endswith("too few to say.") and len(plot.summary) < 160 for plot in few)
    words = ("wherever measured", " is best", "The Pareto front", "the slowest", "Nearest")
    ranked = [plot for plot in plots if any(word in plot.summary for word in words)]
    assert ranked
    assert not [plot.title for plot in ranked if plot in few]


def test_pages_stay_light(site: Site, everything: dict[str, str], document: Item) -> None:
    for href, html in everything.items():
        figures, rows = html.count("data-block "), len(rows_of(html))
        assert (href, len(html.encode()) <= 30_000 + 3_000 * figures + 700 * rows) == (href, True)
        assert (href, len(gzip.compress(html.encode())) <= 40_000) == (href, True)
    first = next(iter(everything.values()))
    assert rows_of(site.html("compare")) == rows_of(first)
    assert len((site.public / "api/v1/evidence.json").read_bytes()) <= 2_000 + 1_200 * len(document["evidence"])


@in_browser
def test_all_tables_stand_without_javascript(visits: Callable[..., Visit], comparison: Comparison) -> None:
    page = visits(java_script_enabled=False).go("compare/")
    subjects = [subject for machine in comparison.machines for subject in machine.subjects]
    expect(page.locator("[data-block]:visible")).to_have_count(len(subjects[0].blocks))
    expect(page.locator(".compare__all a:visible")).to_have_count(len(subjects))
    assert page.locator(".compare__form:visible, .plot__area:visible, fieldset:visible").count() == 0
    page.get_by_role("link", name=subjects[1].title, exact=True).first.click()
    expect(page.locator("[data-block]:visible")).to_have_count(len(subjects[1].blocks))
    page.locator("[data-block] summary").first.click()
    expect(page.locator("[data-block] table").first).to_be_visible()


# The page with it


def synthetic(machine: str, seed: int) -> dict[str, Any]:
    """A run of another family: qualities by sparsity with seeds, and speeds by batch, of made-up numbers."""
    rng = random.Random(seed)
    exact = {"metric": "perplexity", "unit": "1", "stop_reason": "trials"}
    found = []
    for sparsity in (0.3, 0.5, 0.7):
        workload, case = {"model": "m", "sparsity": sparsity}, f"pruning/m/{sparsity}/perplexity"
        for name, role in (("dense", "baseline"), ("magnitude", "method"), ("wanda", "method")):
            count = 3 if (name, sparsity) == ("magnitude", 0.3) else 9
            samples = [20 * rng.uniform(1, 1 + sparsity) for _ in range(count)]
            found.append(measurement(name, role, samples, case=case, workload=workload, **exact))
    for batch in (1, 8):
        workload, case = {"model": "m", "batch": batch}, f"pruning/decode/m/{batch}"
        for name, role in (("dense", "baseline"), ("wanda", "method"), ("tied", "peer"), ("hasty", "method")):
            samples = [rng.uniform(1, 1.4) / (2 if name == "wanda" else 1) for _ in range(2 if name == "hasty" else 20)]
            limit = {"value": 0.4, "formula": "bytes / bandwidth"}
            found.append(measurement(name, role, samples, case=case, workload=workload, limit=limit))
    run = run_of(*found, suite="pruning")
    data: dict[str, Any] = run.model_dump(mode="json")
    return data | {"machine": data["machine"] | {"name": machine}}


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A small site with two machines of another family, and where it is served."""
    runs = {f"results/{name}/pruning.json": json.dumps(synthetic(name, at)) for at, name in enumerate(("aa", "bb"))}
    root = small_checkout(tmp_path_factory.mktemp("other") / "checkout", runs)
    done = run_build(root, "--no-search")
    assert done.returncode == 0, done.stdout + done.stderr
    with serve(root / "public") as url:
        yield root, url


@in_browser
def test_another_family_needs_nothing_new(other: tuple[Path, str], browser: Browser) -> None:
    root, url = other
    machines = Comparison(Families(derive(load_catalogue(root)), read_settings(root))).machines
    assert sorted(machine.name for machine in machines) == ["aa", "bb"]
    page = browser.new_page()
    for machine in machines:
        page.goto(f"{url}compare/?machine={machine.name}")
        page.locator("[data-compare][data-ready]").wait_for()  # the address leads on: not before it has
        [subject] = machine.subjects
        assert [block.kind for block in subject.blocks] == ["quality", "speed", "limit"]
        for block in subject.blocks:
            assert_drawn_alike(page, block)
    first, second = (machine.name for machine in machines)
    page.locator("select[name=machine]").select_option(first)
    expect(page.get_by_role("heading", level=2, name=f"m on {first}")).to_be_visible()
    page.go_back()
    expect(page.get_by_role("heading", level=2, name=f"m on {second}")).to_be_visible()
    expect(page.locator("select[name=machine]")).to_have_value(second)
    page.close()


def opened(visit: Visit, query: str = "") -> Page:
    """Compare at an address, as the form wrote them while it was one page: they lead on."""
    page = visit.go(f"compare/{query}")
    page.locator("[data-compare][data-ready]").wait_for()
    return page


def asked(page: Page) -> dict[str, list[str]]:
    return parse_qs(urlsplit(page.url).query, keep_blank_values=True)


def drawn(page: Page, block: str) -> dict[str, Any]:
    """The traces of a block, once it is drawn: name -> its places, values and marks."""
    figure = page.locator(f"[id='{block}']")
    figure.scroll_into_view_if_needed()
    figure.locator(".main-svg .point").first.wait_for(state="attached")
    traces = figure.locator(".plot__canvas").evaluate(
        "c => c.data.filter(t => t.name).map(t => [t.name, [[...t.x], [...t.y], [...t.marker.symbol]]])"
    )
    return dict(traces)


def close(one: list[Any], other: list[Any]) -> bool:
    return all(
        a == b if isinstance(a, str) else a == pytest.approx(b, rel=2e-3) for a, b in zip(one, other, strict=True)
    )


def assert_drawn_alike(page: Page, block: Block) -> None:
    """The browser's figure, made from the interface, is the build's: places, values, marks and the front."""
    found = drawn(page, block.id)
    made = {t["name"]: t for t in block.plot.figure["data"] if t.get("name")}
    assert sorted(found) == sorted(made)
    for name, (x, y, symbols) in found.items():
        assert close(x, list(made[name]["x"])), (block.id, name, x, made[name]["x"])
        assert close(y, list(made[name]["y"])), (block.id, name, y, made[name]["y"])
        assert symbols == list(made[name]["marker"]["symbol"])
    if block.kind == "quality":
        front = page.locator(f"[id='{block.id}'] .plot__canvas").evaluate(
            "c => { const t = c.data.find(t => t.line.dash === 'dot' && !t.name); return [[...t.x], [...t.y]]; }"
        )
        built = block.plot.figure["data"][0]
        assert close(front[0], list(built["x"]))
        assert close(front[1], list(built["y"]))


@in_browser
def test_the_page_draws_what_the_build_computed(visit: Visit, comparison: Comparison) -> None:
    """One figure of every kind of plot and axis, the one that has most rows; small sites of other families: above."""
    chosen: dict[Any, tuple[MachineView, Subject, Block]] = {}
    for machine in comparison.machines:
        for subject in machine.subjects:
            for block in subject.blocks:
                kind = block.kind, bool(block.plot.sizes), block.plot.is_saved
                if kind not in chosen or len(block.rows) > len(chosen[kind][2].rows):
                    chosen[kind] = machine, subject, block
    assert {kind for kind, *_ in chosen} == set(KIND_TITLES)
    for machine, subject, block in chosen.values():
        page = opened(visit, f"?machine={machine.name}&subject={quote(subject.title)}")
        assert_drawn_alike(page, block)


@in_browser
def test_a_choice_is_an_address_and_back_leads_back(visit: Visit, comparison: Comparison) -> None:
    machine = comparison.machines[0]
    first, second = machine.subjects[0], machine.subjects[1]
    page = opened(visit)
    expect(page.get_by_role("heading", level=2, name=first.title)).to_be_visible()
    page.get_by_label("Model or layer").select_option(second.title)
    expect(page.get_by_role("heading", level=2, name=second.title)).to_be_visible()
    assert urlsplit(page.url).path.endswith(second.href)
    page.get_by_label("Workload").select_option(second.blocks[0].id)
    expect(page.locator("[data-block]:visible")).to_have_count(1)
    link = page.url
    page.go_back()
    page.go_back()
    expect(page.get_by_role("heading", level=2, name=first.title)).to_be_visible()
    expect(page.get_by_label("Model or layer")).to_have_value(first.title)
    page.goto(link)
    expect(page.locator("[data-block]:visible")).to_have_count(1)
    expect(page.get_by_label("Workload")).to_have_value(second.blocks[0].id)


@in_browser
def test_techniques_can_be_left_out_by_keyboard(visit: Visit, comparison: Comparison) -> None:
    block, [name, *others] = next((one, names) for one, names in drawn_in(comparison) if len(names) > 1)
    page = opened(visit)
    assert name in drawn(page, block.id)
    open_choice(page)
    box = page.get_by_label(name, exact=True).locator("visible=true")
    box.focus()
    page.keyboard.press("Space")
    expect(box).not_to_be_checked()
    assert name not in asked(page)["technique"]
    page.wait_for_function(
        "([id, name]) => !document.getElementById(id).querySelector('.plot__canvas').data.some(t => t.name === name)",
        arg=[block.id, name],
    )
    expect(page.locator(f"[id='{block.id}'] tr[data-name='{name}']").first).to_be_hidden()
    assert set(others) <= drawn(page, block.id).keys()
    page.go_back()
    expect(box).to_be_checked()


def open_choice(page: Page) -> None:
    """Long lists of techniques are folded; a key opens them."""
    if not page.locator(".compare__choose[open]:visible").count():
        page.locator(".compare__choose:visible > summary").focus()
        page.keyboard.press("Enter")


def drawn_in(comparison: Comparison) -> list[tuple[Block, list[str]]]:
    """The figures of the subject that opens first, each with the techniques that it draws."""
    blocks = comparison.machines[0].subjects[0].blocks
    return [
        (b, list(dict.fromkeys(r.implementation for r in b.rows if r.implementation in b.plot.styles))) for b in blocks
    ]


@in_browser
def test_a_figure_with_no_technique_left_draws_nothing_and_keeps_its_baseline(
    visit: Visit, comparison: Comparison
) -> None:
    block, names = next((one, names) for one, names in drawn_in(comparison) if names)
    page = opened(visit)
    drawn(page, block.id)
    open_choice(page)
    page.get_by_role("button", name="none").locator("visible=true").click()
    expect(page.locator(f"[id='{block.id}'] .plot__canvas")).to_be_hidden()
    expect(page.locator(".compare__message")).to_contain_text("No technique is chosen")
    for name in names:
        expect(page.locator(f"[id='{block.id}'] tr[data-name='{name}']").first).to_have_attribute("hidden", "")


@in_browser
@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("?machine=nowhere", "Nothing was recorded on a machine called “nowhere”"),
        ("?subject=nothing", "Nothing was recorded about “nothing”"),
        ("?show=nothing", "There is no workload “nothing” here; all are shown"),
        ("?technique=", "No technique is chosen"),
        ("?technique=magic", "magic"),
        ("?machine=%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E", "<img src=x onerror=alert(1)>"),
    ],
)
def test_what_nobody_recorded_is_said(visit: Visit, query: str, says: str) -> None:
    page = opened(visit, query)
    expect(page.locator(".compare__message")).to_be_visible()
    expect(page.locator(".compare__message")).to_contain_text(says)
    assert page.locator(".compare img").count() == 0


@in_browser
def test_a_site_without_runs_has_a_quiet_page(visit: Visit, site: Site) -> None:
    html = site.html("compare")
    start, end = html.index('<div class="compare__form'), html.index("</article>")
    bare = html[:start] + html[end:]
    visit.page.route("**/compare/", lambda route: route.fulfill(body=bare, content_type="text/html"))
    expect(opened(visit).get_by_role("heading", level=1)).to_have_text("Compare")


@in_browser
def test_numbers_remain_when_the_data_cannot_be_fetched(visits: Callable[..., Visit]) -> None:
    visit = visits()
    visit.page.route("**/evidence.json", lambda route: route.abort())
    page = opened(visit)
    page.locator("[data-block]:visible").first.scroll_into_view_if_needed()
    expect(page.locator(".plot__error").first).to_be_visible()
    expect(page.locator("[data-block] table").first).to_be_visible()
    visit.complaints.clear()  # the browser's own, of the request that was cut


@in_browser
def test_nothing_is_drawn_before_it_is_near(visits: Callable[..., Visit]) -> None:
    visit = visits(viewport={"width": 1280, "height": 300})
    page = opened(visit)
    page.wait_for_load_state("networkidle")
    assert [url for url in visit.requests if "plotly" in url or "evidence.json" in url] == []


@in_browser
def test_the_first_screen_of_a_phone_fetches_nothing_to_draw_with(visits: Callable[..., Visit]) -> None:
    visit = visits(viewport={"width": 412, "height": 823}, is_mobile=True, has_touch=True)
    page = opened(visit)
    page.wait_for_load_state("networkidle")
    assert page.locator("[data-block]:visible").first.bounding_box()["y"] < 823 + 200  # type: ignore[index]
    assert [url for url in visit.requests if "plotly" in url or "evidence.json" in url] == []
    page.locator("[data-block] .plot__area:visible").first.scroll_into_view_if_needed()
    page.locator("[data-block] .main-svg .point").first.wait_for(state="attached")


@in_browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_holds_the_page_and_axe_finds_nothing(
    visits: Callable[..., Visit], comparison: Comparison, scheme: str
) -> None:
    visit = visits(color_scheme=scheme, viewport={"width": 360, "height": 740}, is_mobile=True, has_touch=True)
    subjects = (subject for machine in comparison.machines for subject in machine.subjects)
    some = min((one for one in subjects if len({block.kind for block in one.blocks}) > 1), key=lambda s: len(s.blocks))
    page = opened(visit, f"?subject={quote(some.title)}")
    before = page.evaluate("document.documentElement.scrollHeight")
    for block in page.locator("[data-block]:visible").all():
        block.scroll_into_view_if_needed()
        block.locator(".main-svg .point").first.wait_for(state="attached")
    assert page.evaluate("document.documentElement.scrollHeight") == before
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    page.add_script_tag(path=ROOT / "node_modules/axe-core/axe.min.js")
    found = page.evaluate("axe.run('.compare').then(result => result.violations)")
    assert [(f["id"], f["nodes"][0]["target"]) for f in found if f["impact"] in ("serious", "critical")] == []
