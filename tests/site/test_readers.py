"""Five readers, each with a question, from the home page to the answer: on a desk, on a phone, and once by keyboard."""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.site.conftest import Visit

pytestmark = pytest.mark.browser
expect.set_options(timeout=15_000)
DESK, PHONE = {"width": 1280, "height": 800}, {"width": 360, "height": 740}
Act = Callable[[Page, Locator], None]


def click(_page: Page, target: Locator) -> None:
    target.click()


def press(page: Page, target: Locator) -> None:
    """Reach a link or button by Tab alone, then Enter."""
    handle = target.element_handle()
    for _ in range(400):
        page.keyboard.press("Tab")
        if page.evaluate("one => document.activeElement === one", handle):
            page.keyboard.press("Enter")
            return
    raise AssertionError("not reached by Tab")


def follow(page: Page, act: Act, name: str) -> None:
    """A link of that name in the main part of the page."""
    before = page.url
    act(page, page.locator("main, article").get_by_role("link", name=name).first)
    page.wait_for_url(lambda url: url != before)


def choose_for_a_24_gb_card(page: Page, act: Act) -> None:
    """Which of these can I use on a 24 GB card, and what does it really give?"""
    follow(page, act, "Plan a deployment")
    page.locator("select[name=model]").select_option("qwen2.5-14b")
    page.locator("select[name=machine]").select_option("rtx-4090")
    answer = page.locator("[aria-live]").first
    expect(answer).to_contain_text("Does not fit")
    page.locator("select[name=weights]").select_option("int4-g64")
    expect(answer).to_contain_text(re.compile(r"Fits: [\d.]+ GB of [\d.]+ GB usable"))
    assert "int4-g64" in page.url
    text = page.locator("main, article").first.inner_text()
    assert "not measured" in text or "measured" in text


def find_and_export(page: Page, act: Act) -> None:
    """What has been written on KV eviction since 2024, as BibTeX?"""
    follow(page, act, "Explore the papers")
    page.locator("#filter").fill("eviction")
    if not page.locator("input[name=from]").is_visible():
        act(page, page.get_by_role("button", name=re.compile("Filter")).first)
    page.locator("input[name=from]").fill("2024")
    expect(page.locator("#found")).to_have_text(re.compile(r"^\d+ of [\d,]+ papers"))
    expect(page).to_have_url(re.compile("2024"))
    with page.expect_download() as download:
        act(page, page.get_by_role("button", name="BibTeX"))
    text = download.value.path().read_text("utf-8")
    assert text.count("@") >= 3
    assert all(int(year) >= 2024 for year in re.findall(r"year = \{(\d+)\}", text))


def check_a_claim(page: Page, act: Act) -> None:
    """Did anyone check this claim?"""
    follow(page, act, "Claims and verdicts")
    row = page.locator("#tested ~ table tbody tr, section[aria-labelledby=tested] tbody tr").first
    expect(row).to_contain_text(re.compile("reproduced|direction holds|not comparable"))
    act(page, row.get_by_role("link").first)
    expect(page).to_have_url(re.compile("#claim-"))
    expect(page.locator("tr:target")).to_contain_text(re.compile(r"n = \d+"))


def compare_two_methods(page: Page, act: Act) -> None:
    """GPTQ or rounding to nearest?"""
    follow(page, act, "Compare techniques")
    page.locator("select[name=machine]").select_option("amd-epyc-2-cores")
    page.locator("select[name=subject]").select_option("tiny-target")
    if not page.locator(".compare__choose[open]:visible").count():
        act(page, page.locator(".compare__choose:visible > summary").first)
    act(page, page.get_by_role("button", name="none").locator("visible=true"))
    for name in ("gptq", "rtn"):
        page.locator(f"input[name=technique][value={name}]:visible").set_checked(True)
    expect(page.locator("li[data-name=gptq]:visible").first).to_be_visible()
    expect(page.locator("li[data-name=rtn]:visible").first).to_be_visible()
    expect(page.locator("li[data-name=awq]:visible")).to_have_count(0)
    assert "gptq" in page.url


def use_an_implementation(page: Page, act: Act) -> None:
    """How do I call it, and what does it leave out?"""
    follow(page, act, "Tour: from 16 to 3 GB in five steps")
    follow(page, act, "Weight-only quantization")
    text = page.locator("main, article").first.text_content() or ""  # headers are behind a summary
    assert "from reference_impls.quantization import" in text
    assert "Simplified" in text
    assert "Checked against" in text


TASKS = [choose_for_a_24_gb_card, find_and_export, check_a_claim, compare_two_methods, use_an_implementation]


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.__name__)
def test_a_reader_finds_the_answer(visits: Callable[..., Visit], task: Callable[[Page, Act], None], size) -> None:
    page = visits(viewport=size, accept_downloads=True).go("")
    task(page, click)
    assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.__name__)
def test_a_reader_finds_the_answer_by_keyboard_alone(visits: Callable[..., Visit], task) -> None:
    task(visits(accept_downloads=True).go(""), press)
