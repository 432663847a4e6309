"""The explorer in use: its address, by keyboard, on a phone, without JavaScript, and with 10,000 papers."""

import gzip
import json
import random
import re
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.site.conftest import ROOT, Site, Visit
from tests.site.test_explorer import QUANTIZATION, TABLE_BYTES, open_explorer, read_table, selection

MEMORY = "input[name=saves][value=memory]"
KEYSTROKE_MS = 50
LONGEST_MS = 200
"""Of the main thread's processor time, for a letter typed and for anything else."""

MANY = 10_000

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def table(site: Site) -> dict[str, Any]:
    """The file that the explorer loads."""
    return read_table(site)


# The address


def test_each_choice_is_a_step_of_the_history_and_a_text_typed_is_one(visit: Visit) -> None:
    page = open_explorer(visit)
    everything = page.locator("#found").text_content()
    page.locator(MEMORY).check()
    page.locator("#filter").press_sequentially("outlier")
    page.locator("#sort").select_option("title")
    assert page.url.endswith("/papers/?q=outlier&saves=memory&sort=title")
    page.go_back()
    expect(page.locator("#sort")).to_have_value("-year")
    page.go_back()
    expect(page.locator("#filter")).to_have_value("")
    expect(page.locator(MEMORY)).to_be_checked()
    page.go_back()
    expect(page.locator(MEMORY)).not_to_be_checked()
    expect(page.locator("#found")).to_have_text(str(everything))
    page.go_forward()
    expect(page.locator(MEMORY)).to_be_checked()


def test_an_address_opens_the_view_it_names(visits: Callable[..., Visit]) -> None:
    here = open_explorer(visits(), f"?q=kv&technique={QUANTIZATION}&from=2023&has=code&sort=author")
    there = open_explorer(visits(), re.sub(r".*/papers/", "", here.url))
    assert selection(here) == selection(there) != []
    for label in ("from 2023", "the authors' code", "Quantization"):
        expect(there.get_by_role("button", name=f"Remove filter: {label}", exact=True)).to_be_visible()
    there.get_by_role("button", name="Clear all").click()
    assert there.url.endswith("/papers/?sort=author")


def test_an_address_that_asks_for_the_unknown_says_so(visit: Visit) -> None:
    page = open_explorer(visit, "?technique=gone/technique&from=soon&sort=%3Cb%3E&venue=%22%3E%3Cimg%20src%3Dx%3E")
    expect(page.get_by_text("No paper matches")).to_be_visible()
    expect(page.locator(".chip").filter(has_text="gone/technique (unknown)")).to_be_visible()
    assert page.locator(".explorer img, .explorer b b").count() == 0
    page.get_by_role("button", name="Clear them").click()
    expect(page.get_by_text("No paper matches")).to_be_hidden()
    expect(page.locator("#filter")).to_be_focused()


def test_back_from_a_paper_leads_to_the_same_rows(visit: Visit) -> None:
    page = open_explorer(visit, "?saves=memory")
    page.evaluate("scrollTo(0, 9000)")
    page.wait_for_timeout(300)
    link = page.locator("tbody a").nth(14)
    title = str(link.text_content())
    link.click()
    page.wait_for_url(re.compile("/papers/[^/?]+/$"))
    page.go_back()
    page.wait_for_selector("[data-ready]")
    expect(page.get_by_role("link", name=title, exact=True)).to_be_in_viewport()


# Ways of using it


def test_rows_are_reached_by_keyboard_alone(visit: Visit, site: Site) -> None:
    page = open_explorer(visit)
    page.locator("#filter").focus()
    page.keyboard.insert_text("quantization")
    page.keyboard.press("ArrowDown")
    count = int(page.locator("table").get_attribute("aria-rowcount") or 0) - 1
    focused = page.locator("tr:focus-within")
    expect(focused).to_have_attribute("aria-rowindex", "2")
    page.keyboard.press("ArrowDown")
    expect(focused).to_have_attribute("aria-rowindex", "3")
    page.keyboard.press("End")
    expect(focused).to_have_attribute("aria-rowindex", str(count + 1))
    page.keyboard.press("ArrowUp")
    expect(focused).to_have_attribute("aria-rowindex", str(count))
    page.keyboard.press("Home")
    expect(focused).to_have_attribute("aria-rowindex", "2")
    href = page.locator(":focus").get_attribute("href")
    page.keyboard.press("Enter")
    page.wait_for_url(str(href))


def test_the_tab_key_reaches_rows_that_were_not_drawn_and_the_focus_stays_where_it_is(visit: Visit) -> None:
    page = open_explorer(visit)
    page.locator("tbody a").first.focus()
    for pressed in range(60):
        page.keyboard.press("Tab")
        if pressed % 6 == 5:  # no finger outruns the frames in which rows are drawn
            page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    expect(page.locator("tr:focus-within")).to_have_attribute("aria-rowindex", "62")
    page.evaluate("scrollTo(0, document.documentElement.scrollHeight / 2)")
    page.wait_for_timeout(200)
    assert page.locator("tr:focus-within").get_attribute("aria-rowindex") == "62"


def test_a_heading_sorts_and_says_so(visit: Visit) -> None:
    page = open_explorer(visit)
    heading = page.get_by_role("columnheader", name="Paper")
    heading.get_by_role("button").press("Enter")
    expect(heading).to_have_attribute("aria-sort", "ascending")
    heading.get_by_role("button").press("Enter")
    expect(heading).to_have_attribute("aria-sort", "descending")
    expect(page.get_by_role("columnheader", name="Year")).not_to_have_attribute("aria-sort", re.compile(".*"))


def test_on_a_phone_the_filters_open_and_nothing_scrolls_sideways(visits: Callable[..., Visit]) -> None:
    page = open_explorer(visits(viewport={"width": 360, "height": 740}, is_mobile=True, has_touch=True))
    memory = page.locator(MEMORY)
    expect(memory).to_be_hidden()
    page.get_by_role("button", name="Filters").tap()
    memory.tap()
    expect(page.get_by_role("button", name="Filters (1)")).to_have_attribute("aria-expanded", "true")
    page.get_by_role("button", name="Filters (1)").tap()
    for _ in range(5):
        page.mouse.wheel(0, 3_000)
        page.wait_for_timeout(100)
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    box = page.locator("tbody tr[data-key]").nth(5).bounding_box()
    assert box
    assert 300 <= box["width"] <= 360


ROW_AT_THE_MIDDLE = "Number(document.elementFromPoint(innerWidth / 2, innerHeight / 2).closest('tr').dataset.index)"
INDICES = "[...document.querySelectorAll('tbody tr[data-key]')].map((row) => Number(row.dataset.index))"


def test_wherever_the_reader_scrolls_there_are_rows_in_order(visit: Visit) -> None:
    page = open_explorer(visit)
    seen = [page.evaluate(ROW_AT_THE_MIDDLE)]
    for step in (300, 2_000, 20_000, 500):
        page.mouse.wheel(0, step)
        page.wait_for_timeout(250)
        seen.append(page.evaluate(ROW_AT_THE_MIDDLE))
        drawn = page.evaluate(INDICES)
        assert drawn == list(range(drawn[0], drawn[0] + len(drawn)))
        assert drawn[0] <= seen[-1] <= drawn[-1]
    assert seen == sorted(set(seen))
    page.mouse.wheel(0, -10_000)
    page.wait_for_timeout(250)
    assert 0 < page.evaluate(ROW_AT_THE_MIDDLE) < seen[-1]


def test_print_has_every_row_of_the_selection(visit: Visit) -> None:
    page = open_explorer(visit, f"?technique={QUANTIZATION}")
    count = int(page.locator("table").get_attribute("aria-rowcount") or 0) - 1
    assert page.locator("tbody tr[data-key]").count() < count
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("tbody tr[data-key]").count() == count > 100
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator("tbody tr[data-key]").count() < count


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(visits: Callable[..., Visit], scheme: str) -> None:
    page = open_explorer(visits(color_scheme=scheme), "?saves=memory&q=cache")
    page.locator("summary").filter(has_text="lgorithms").click()
    page.add_script_tag(path=ROOT / "node_modules/axe-core/axe.min.js")
    found = page.evaluate("axe.run('article', {resultTypes: ['violations']}).then(result => result.violations)")
    assert [(fault["id"], fault["nodes"][0]["target"]) for fault in found] == []


def test_without_javascript_the_newest_papers_and_all_lists_are_there(
    visits: Callable[..., Visit], table: dict[str, Any]
) -> None:
    page = visits(java_script_enabled=False).go("papers/")
    titles = page.locator("table tbody a").all_text_contents()
    assert titles == table["papers"]["title"][: len(titles)]
    assert len(titles) >= 40
    assert page.locator("article :is(input, button, select):visible").count() == 0
    for way in ("2024", "ICML", "Surveys"):
        expect(page.locator(".ways").get_by_role("link", name=re.compile(f"^{way}")).first).to_be_visible()


def test_a_table_that_cannot_be_loaded_leaves_what_there_is_without_javascript(visits: Callable[..., Visit]) -> None:
    visit = visits()
    visit.page.route("**/papers/table.json", lambda route: route.abort())
    page = visit.go("papers/")
    expect(page.get_by_text("could not be loaded")).to_be_visible()
    expect(page.locator(".ways")).to_be_visible()
    expect(page.locator("#filter")).to_be_hidden()
    assert page.locator("tbody a").count() >= 40
    visit.complaints.clear()  # the browser's own, of the request that was cut


# Ten thousand papers


def grown(table: dict[str, Any], count: int) -> str:
    """The table of so many papers: titles put together of two, everything else of a paper that there is."""
    rng = random.Random(0)
    papers = table["papers"]
    chosen = [rng.randrange(len(papers["key"])) for _ in range(count)]
    columns = {name: [column[at] for at in chosen] for name, column in papers.items()}
    columns["key"] = [f"{key}-{number}" for number, key in enumerate(columns["key"])]
    others = rng.choices(papers["title"], k=count)
    columns["title"] = [" ".join(a.split()[:5] + b.split()[-5:]) for a, b in zip(columns["title"], others, strict=True)]
    return json.dumps(table | {"papers": columns}, ensure_ascii=False)


WATCH_SHIFTS = """
window.shifted = 0;
new PerformanceObserver((list) => list.getEntries().forEach(({ value }) => (shifted += value)))
    .observe({ type: "layout-shift", buffered: true });
"""
NEXT_PAINT = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"


class Processor:
    """Time that a page's main thread was at work: unlike the length of its tasks, no other program adds to it."""

    def __init__(self, page: Page) -> None:
        self.page, self.session = page, page.context.new_cdp_session(page)
        self.session.send("Performance.enable", {"timeDomain": "threadTicks"})

    def so_far(self) -> float:
        """Milliseconds since the page was opened."""
        found = {one["name"]: one["value"] for one in self.session.send("Performance.getMetrics")["metrics"]}
        return 1000 * float(found["TaskDuration"])

    def spent_on(self, action: Callable[[], Any]) -> float:
        """Milliseconds that an action takes until its result is painted."""
        before = self.so_far()
        action()
        self.page.evaluate(NEXT_PAINT)
        return self.so_far() - before


def test_ten_thousand_papers_are_light_and_block_nothing(visit: Visit, table: dict[str, Any]) -> None:
    text = grown(table, MANY)
    assert len(gzip.compress(text.encode(), 6)) <= TABLE_BYTES * MANY / 2_055
    visit.page.add_init_script(WATCH_SHIFTS)
    visit.page.route("**/papers/table.json", lambda route: route.fulfill(body=text, content_type="application/json"))
    processor = Processor(visit.page)
    page = open_explorer(visit)
    expect(page.locator("#found")).to_have_text("10,000 papers")
    assert page.evaluate("shifted") < 0.05
    keys = [processor.spent_on(partial(page.locator("#filter").press, letter)) for letter in "language"]
    assert median(keys) <= KEYSTROKE_MS
    expect(page.locator("#found")).to_have_text(re.compile(r"^[\d,]+ of 10,000"))
    page.locator("#filter").fill("")
    choose = page.locator("#sort").select_option
    scroll = "scrollTo(0, document.documentElement.scrollHeight * {})"
    actions = [
        *(partial(choose, sort) for sort in ("title", "author", "-evidence")),
        page.locator(MEMORY).check,
        *(partial(page.evaluate, scroll.format(fraction)) for fraction in (0.5, 1, 0)),
    ]
    for action in actions:
        assert processor.spent_on(action) <= LONGEST_MS
        assert 0 < page.locator("tbody tr").count() < 80
