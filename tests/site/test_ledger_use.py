"""The ledger and the coverage page in a browser: the filter, its address, a phone, and no JavaScript."""

import json
from collections.abc import Callable
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Page

from tests.site.conftest import Site, Visit

pytestmark = pytest.mark.browser
SHOWN = "[data-verdict]:not([hidden])"


@pytest.fixture(scope="module")
def verdicts(site: Site) -> dict[tuple[str, str], str]:
    """Claim -> verdict, as programs read it."""
    items = json.loads((site.public / "api/v1/ledger.json").read_text("utf-8"))["ledger"]
    return {(one["paper"], one["claim"]): one["verdict"] for one in items}


def shown(page: Page) -> list[str]:
    """The verdicts of the claims that are not filtered out."""
    found: list[str] = page.eval_on_selector_all(SHOWN, "all => all.map(one => one.dataset.verdict)")
    return found


def count(page: Page) -> int:
    """How many claims the page says that it shows."""
    return int((page.text_content("[data-count]") or "").split(" of ")[0])


def test_a_verdict_can_be_chosen_and_is_in_the_address(visit: Visit, verdicts: dict[tuple[str, str], str]) -> None:
    page = visit.go("ledger/")
    assert len(shown(page)) == count(page) == len(verdicts)
    page.uncheck("input[value=untested]")
    assert len(shown(page)) == count(page) == sum(one != "untested" for one in verdicts.values())
    assert "untested" not in shown(page)
    assert "untested" not in parse_qs(urlsplit(page.url).query)["verdict"][0].split()
    address = page.url.removeprefix(visit.url)
    before = shown(page)
    assert shown(visit.go(address)) == before


def test_words_are_sought_in_claim_paper_and_setting(visit: Visit) -> None:
    page = visit.go("ledger/")
    page.fill("input[name=words]", "PERPLEXITY rounding")
    texts = page.eval_on_selector_all(SHOWN, "all => all.map(one => one.textContent.toLowerCase())")
    assert texts
    assert all("perplexity" in text and "rounding" in text for text in texts)
    page.fill("input[name=words]", "no such words anywhere")
    assert count(page) == 0


def test_an_address_with_nonsense_shows_everything(visit: Visit, verdicts: dict[tuple[str, str], str]) -> None:
    assert count(visit.go("ledger/?area=no-such-area&colour=red")) == len(verdicts)


def test_without_javascript_everything_is_there(visits: Callable[..., Visit]) -> None:
    page = visits(java_script_enabled=False).go("ledger/")
    assert page.is_hidden(".ledger-filter")
    assert page.is_visible("#tested")
    page.locator("details[data-paper] summary").first.click()
    assert page.locator("details[data-paper] li").first.is_visible()


def test_both_pages_fit_a_phone(visits: Callable[..., Visit]) -> None:
    visit = visits(viewport={"width": 360, "height": 740}, is_mobile=True, has_touch=True)
    widths = {
        href: visit.go(href).evaluate("document.documentElement.scrollWidth") for href in ("ledger/", "coverage/")
    }
    assert widths == {"ledger/": 360, "coverage/": 360}
