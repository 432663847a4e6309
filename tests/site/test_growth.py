"""The site grows in proportion to its entries: time, bytes, and not at all the page of one entry."""

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from scripts.catalogue.check import check
from scripts.website.derive import RELATED
from scripts.website.generated import make_checkout
from scripts.website.speed import Size, exponent, measure_pages, timed_build

from .conftest import ROOT

FEW, MANY = 250, 1_000
STARTING = ("write the sources", "render what people wrote", "put in place")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Mapping[int, tuple[Path, Size]]:
    """Two generated sites, built cold without search."""
    found = {}
    for count in (FEW, MANY):
        checkout = tmp_path_factory.mktemp("growth") / str(count)
        size = Size(str(count), len(make_checkout(ROOT, checkout, count)))
        cpu, _, steps = timed_build(checkout, "--no-search")
        per_entry = sum(seconds for name, seconds in steps.items() if name not in STARTING)
        size.add({"cold_s": cpu, "per_entry_s": per_entry} | measure_pages(checkout / "public"))
        found[count] = checkout / "public", size
    return found


@pytest.mark.parametrize(
    ("measure", "most"),
    # 0.1 above the goals, as one round on a busy machine is noisy; bytes are not.
    [("cold_s", 1.15), ("per_entry_s", 1.15), ("bytes", 1.05)],
)
def test_four_times_the_entries_take_no_more_than_four_times(built, measure, most):
    assert exponent(built[FEW][1], built[MANY][1], measure) <= most


LIST = re.compile(r'<section aria-labelledby="related".*?</section>', re.DOTALL)


def test_the_page_of_an_entry_is_the_same_whatever_else_there_is(built):
    """Byte for byte, but for the list of related papers; and that list has an upper bound."""
    few, many = built[FEW][0], built[MANY][0]
    pages = sorted(few.glob("papers/*/index.html"))
    assert len(pages) == FEW
    for page in pages:
        texts = [path.read_text("utf-8") for path in (page, many / page.relative_to(few))]
        assert len({LIST.sub("", text) for text in texts}) == 1, page
        for text in texts:
            related = "".join(LIST.findall(text))
            assert related.count("<li") <= RELATED, page
            assert len(related.encode()) < 4_000, page


def test_the_same_seed_gives_the_same_entries_and_another_gives_others(tmp_path):
    make_checkout(ROOT, tmp_path / "one", 40)
    make_checkout(ROOT, tmp_path / "two", 40)
    make_checkout(ROOT, tmp_path / "other", 40, seed=1)
    entries = {
        name: {path.name: path.read_text("utf-8") for path in (tmp_path / name).glob("entries/*/*.yaml")}
        for name in ("one", "two", "other")
    }
    assert entries["one"] == entries["two"]
    assert entries["one"] != entries["other"]


def test_generated_entries_pass_the_check(tmp_path):
    make_checkout(ROOT, tmp_path / "generated", FEW, seed=2)
    catalogue, problems = check(tmp_path / "generated")
    assert len(catalogue.entries) == FEW
    assert not problems
