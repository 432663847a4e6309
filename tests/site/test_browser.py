"""The site in a browser: search, figures, keyboard, phone, dark scheme, no JavaScript, and nothing from elsewhere."""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from tests.site.conftest import ROOT, Site, Visit

pytestmark = pytest.mark.browser

QUANTIZATION = "techniques/algorithms/model-compression/quantization/"
LISTED, REVIEWED = "papers/gptqv2/", "papers/superflow/"
FIRST_SEARCH_BYTES = 250_000
PALETTE = "[data-switch]"
expect.set_options(timeout=15_000)  # a busy machine is no fault of the site


def search(page: Page, query: str) -> list[str]:
    """Type into the dialog; -> the paths of the results shown, best first."""
    page.keyboard.press("/")
    box = page.get_by_role("combobox")
    expect(box).to_be_focused()
    page.keyboard.insert_text(query)  # at once: the results of half a word would be results, too
    expect(page.get_by_role("status")).to_have_text(re.compile("result|Nothing"), timeout=15_000)
    links = page.locator("[role=listbox] a").evaluate_all("links => links.map(link => link.pathname.slice(1))")
    return list(links)


def chosen(page: Page) -> str:
    """The path of the result that Enter would open."""
    found = page.locator("[role=option][aria-selected=true]").evaluate(
        "option => (option.closest('a') ?? option.querySelector('a')).pathname.slice(1)"
    )
    return str(found)


FOUND = [
    ("GPTQ", "papers/gptq/", 1),
    ("SnapKV", "papers/snapkv/", 1),
    ("2305.05920", "papers/fastserve/", 1),
    ("arXiv:2210.17323v2", "papers/gptq/", 1),
    ("Ashkboos", "papers/quarot/", 5),
    ("PagedAttention", "papers/vllm/", 5),
    ("SuperFlow", "papers/superflow/", 1),
    ("SCOPE serverless", "papers/superflow/", 5),
    ("LoRA", "papers/lora/", 5),
    ("quantization", QUANTIZATION, 5),
    ("speculative decoding", "techniques/algorithms/inference/opportunistic-decoding/", 5),
]


@pytest.mark.parametrize(("query", "href", "rank"), FOUND)
def test_search_finds(visit: Visit, query: str, href: str, rank: int) -> None:
    results = search(visit.go("about/"), query)
    assert href in results[:rank]


def test_a_search_without_results_says_what_to_try(visit: Visit) -> None:
    assert search(visit.go("about/"), "Fratar") == []
    expect(visit.page.get_by_role("status")).to_contain_text("Try")


def test_search_works_by_keyboard_alone(visit: Visit, site: Site) -> None:
    page = visit.go(LISTED)
    first, second = search(page, "gptq")[:2]
    assert chosen(page) == first
    page.keyboard.press("ArrowDown")
    assert chosen(page) == second
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    page.wait_for_url(site.url + first)
    page.keyboard.press("/")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()


def test_the_first_search_is_light_and_a_page_without_one_fetches_nothing_of_it(visit: Visit) -> None:
    page = visit.go("papers/gptq/", quiet=True)
    assert [url for url in visit.requests if "pagefind" in url or "search." in url] == []
    visit.sizes.clear()
    search(page, "GPTQ")
    page.wait_for_load_state("networkidle")
    assert "pagefind/pagefind.js" in visit.sizes
    assert sum(visit.sizes.values()) <= FIRST_SEARCH_BYTES, visit.sizes


def test_a_missing_index_is_admitted(visits: Callable[..., Visit]) -> None:
    visit = visits()
    visit.page.route("**/pagefind/*", lambda route: route.abort())
    page = visit.go("about/")
    page.keyboard.press("/")
    expect(page.get_by_role("status")).to_contain_text("could not be loaded")
    assert visit.complaints
    visit.complaints.clear()  # the browser's own, of the requests that were cut


def test_a_page_fetches_its_own_styles_and_scripts_and_no_more(visit: Visit) -> None:
    visit.go("papers/gptq/", quiet=True)
    paths = {url.removeprefix(visit.url) for url in visit.requests} - {"papers/gptq/", "favicon.ico"}
    assert [path for path in paths if not path.startswith("assets/")] == []
    assert len(paths) <= 8, paths


def figure(page: Page, name: str) -> None:
    """Scroll to a figure and wait until it is drawn."""
    page.locator(f"#figure-{name}").scroll_into_view_if_needed()
    page.locator(f"#figure-{name} .main-svg").locator(".point path, path.point").first.wait_for(state="attached")


def ink(page: Page, name: str) -> str:
    colour = page.locator(f"#figure-{name} .xtick text").first.evaluate("text => getComputedStyle(text).fill")
    return str(colour)


def test_figures_are_drawn_in_both_schemes_and_follow_a_change(visits: Callable[..., Visit]) -> None:
    colours = {}
    for scheme in ("light", "dark"):
        page = visits(color_scheme=scheme).go("")
        figure(page, "papers-by-year")
        colours[scheme] = ink(page, "papers-by-year")
    assert colours["light"] != colours["dark"]
    page.locator(PALETTE).click()
    expect(page.locator("body")).to_have_attribute("data-md-color-scheme", "default")
    page.wait_for_function(
        "ink => getComputedStyle(document.querySelector('#figure-papers-by-year .xtick text')).fill === ink",
        arg=colours["light"],
    )


@pytest.mark.parametrize("name", ["papers-by-year", "taxonomy", "savings"])
def test_every_figure_is_drawn(visit: Visit, name: str) -> None:
    page = visit.go("")
    figure(page, name)
    expect(page.locator(f"#figure-{name} .plot__error")).to_have_count(0)
    box = page.locator(f"#figure-{name} .main-svg").first.bounding_box()
    assert box and box["width"] > 400 and box["height"] > 150


def test_a_click_on_a_rectangle_leads_to_its_technique(visit: Visit, site: Site) -> None:
    page = visit.go("")
    figure(page, "taxonomy")
    box = page.locator("#figure-taxonomy .main-svg .point path").first.bounding_box()
    assert box
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] * 0.85)
    page.wait_for_url(re.compile(re.escape(site.url) + "techniques/.+/"))


def test_plotly_is_fetched_once_and_only_for_a_figure_near_the_viewport(visits: Callable[..., Visit]) -> None:
    visit = visits(viewport={"width": 1280, "height": 400})
    page = visit.go("", quiet=True)
    assert [url for url in visit.requests if "plotly" in url or "/figures/" in url] == []
    for name in ("papers-by-year", "taxonomy"):
        figure(page, name)
    assert len([url for url in visit.requests if "plotly" in url]) == 1


def test_a_figure_that_cannot_be_drawn_shows_its_numbers(visits: Callable[..., Visit]) -> None:
    visit = visits()
    visit.page.route("**/plotly.min.js", lambda route: route.abort())
    page = visit.go("")
    page.locator("#figure-papers-by-year").scroll_into_view_if_needed()
    expect(page.locator("#figure-papers-by-year .plot__error")).to_be_visible()
    expect(page.locator("#figure-papers-by-year table")).to_be_visible()
    visit.complaints.clear()  # the browser's own, of the request that was cut


def test_nothing_is_fetched_from_elsewhere(visit: Visit, site: Site) -> None:
    for href in (
        "",
        "techniques/",
        QUANTIZATION,
        REVIEWED,
        LISTED,
        "papers/",
        "years/2020/",
        "venues/iclr/",
        "data/",
        "about/",
    ):
        visit.go(href, quiet=True)
    visit.go("")
    figure(visit.page, "taxonomy")
    search(visit.page, "cache")
    assert len(set(visit.requests)) > 25
    assert {url for url in visit.requests if not url.startswith(site.url)} == set()


PHONE = ("", QUANTIZATION, REVIEWED, LISTED, "years/2024/", "papers/", "techniques/", "data/", "about/", "contribute/")


def test_nothing_scrolls_sideways_on_a_phone(visits: Callable[..., Visit]) -> None:
    visit = visits(viewport={"width": 360, "height": 740}, is_mobile=True, has_touch=True)
    widths = {href: visit.go(href).evaluate("document.documentElement.scrollWidth") for href in PHONE}
    assert widths == dict.fromkeys(PHONE, 360)


def test_the_header_fits_between_phone_and_desk(visit: Visit) -> None:
    page = visit.go("ledger/")
    for width in (600, 800, 1024, 1089, 1130, 1169, 1280):
        page.set_viewport_size({"width": width, "height": 700})
        assert page.evaluate("document.documentElement.scrollWidth") == width


MOST_READ = ("", "techniques/systems/serving-cloud/disaggregation/", REVIEWED, "ledger/", "coverage/")
OTHER_KINDS = (
    "papers/", "planner/", "tour/", "measure/", "data/", "corrections/", "years/2024/", "venues/iclr/", "techniques/",
    "techniques/architectures/efficient-attention/approximate-attention/", "reference/", "reference/quantization/",
    "records/amd-epyc-2-cores-quantization/", "records/algorithms-model-compression-quantization/", "404.html",
)  # fmt: skip


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("pages", [MOST_READ, pytest.param(OTHER_KINDS, marks=pytest.mark.slow)], ids=["most", "all"])
def test_axe_finds_no_serious_fault(visits: Callable[..., Visit], pages: tuple[str, ...], scheme: str) -> None:
    visit = visits(color_scheme=scheme)
    faults = []
    for href in pages:
        page = visit.go(href)
        page.add_script_tag(path=ROOT / "node_modules/axe-core/axe.min.js")
        for found in page.evaluate("axe.run({resultTypes: ['violations']}).then(result => result.violations)"):
            if found["impact"] in ("serious", "critical"):
                faults += [f"{href}: {found['id']}: {' '.join(node['target'])}" for node in found["nodes"][:3]]
    assert faults == []


def test_axe_finds_no_serious_fault_in_the_open_search(visit: Visit) -> None:
    page = visit.go("about/")
    search(page, "cache")
    page.add_script_tag(path=ROOT / "node_modules/axe-core/axe.min.js")
    found = page.evaluate("axe.run('dialog').then(result => result.violations)")
    assert [fault["id"] for fault in found if fault["impact"] in ("serious", "critical")] == []


def test_everything_can_be_read_without_javascript(visits: Callable[..., Visit]) -> None:
    page = visits(java_script_enabled=False).go("")
    expect(page.locator("[data-figure]")).not_to_have_count(0)
    assert page.locator(".plot__area:visible, .js-only:visible").count() == 0
    page.locator("#figure-taxonomy summary").click()
    expect(page.locator("#figure-taxonomy table")).to_be_visible()
    page.locator("[data-search]").first.click()
    expect(page).to_have_url(re.compile("/papers/$"))
    page = visits(java_script_enabled=False).go(REVIEWED)
    for text in ("SuperFlow, later SCOPE", "97.22 %", "@article{superflow", "untested"):
        expect(page.get_by_text(text).first).to_be_visible()
    assert page.locator(".js-only:visible").count() == 0
    page = visits(java_script_enabled=False).go(QUANTIZATION)
    assert page.locator("table.papers tbody tr:visible").count() == 20
    page.locator("section[aria-labelledby=papers] summary").click()
    assert page.locator("table.papers tbody tr:visible").count() >= 100


def test_without_javascript_the_dark_scheme_is_kept(visits: Callable[..., Visit]) -> None:
    grounds = set()
    for scheme in ("light", "dark"):
        page = visits(java_script_enabled=False, color_scheme=scheme).go(LISTED)
        grounds.add(page.screenshot(clip={"x": 2, "y": 400, "width": 1, "height": 1}))
    assert len(grounds) == 2


@pytest.mark.parametrize("href", ["", QUANTIZATION, REVIEWED, "about/"])
def test_the_first_stop_of_the_tab_key_skips_to_the_content(visit: Visit, href: str) -> None:
    page = visit.go(href)
    page.keyboard.press("Tab")
    skip = page.locator(":focus")
    expect(skip).to_have_class(re.compile("md-skip"))
    page.keyboard.press("Enter")
    target = page.evaluate("document.querySelector(':target')?.closest('main, article, .md-content') !== null")
    assert target


def test_the_copy_button_copies_the_bibtex_entry(visits: Callable[..., Visit], site: Site) -> None:
    visit = visits(permissions=["clipboard-read", "clipboard-write"])
    page = visit.go("papers/gptq/")
    page.get_by_role("button", name="Copy BibTeX").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied == (site.public / "papers/gptq/gptq.bib").read_text("utf-8")


def test_the_scheme_chosen_is_kept_from_page_to_page(visits: Callable[..., Visit]) -> None:
    visit = visits(color_scheme="light")
    visit.go("").locator(PALETTE).click()
    for href in ("papers/gptq/", QUANTIZATION):
        expect(visit.go(href).locator("body")).to_have_attribute("data-md-color-scheme", "slate")


def test_an_address_that_does_not_exist_has_a_page_of_its_own(visit: Visit) -> None:
    page = visit.go("404.html")
    expect(page.get_by_role("heading", level=1)).to_have_text("No such page")
    page.get_by_role("link", name="All papers").click()
    expect(page).to_have_url(re.compile("/papers/$"))
