"""The catalogue itself."""

import pytest

from scripts.catalogue.check import check
from tests.builders import REPOSITORY

FOUNDING = {
    "bias-behind-the-wheel", "fastserve", "llmcad", "muxflow", "powerflow", "resource-efficient-fm-survey",
    "superflow", "wen2022software", "wen2025unveiling", "zhang2023characterizing",
}  # fmt: skip


@pytest.fixture(scope="module")
def checked():
    return check(REPOSITORY, use_cache=False)


def test_the_repository_has_no_problem(checked):
    told = [str(problem) for problem in checked[1]]
    assert [one for one in told if "warning: measurements:" not in one or "other machines" not in one] == []


def test_no_entry_was_lost(checked):
    assert len(checked[0].entries) >= 2_050


@pytest.mark.parametrize("key", sorted(FOUNDING))
def test_a_founding_paper_is_reviewed_and_has_claims_or_says_why_not(checked, key):
    paper = checked[0].entries[key].paper
    assert paper.level == "reviewed" and (paper.claims or "claims" in (paper.note or "").casefold())


def test_the_founding_papers_with_figures_keep_them(checked):
    assert sum(bool(checked[0].entries[key].paper.claims) for key in FOUNDING) >= 8


def test_every_technique_that_is_no_branch_has_a_paper(checked):
    catalogue = checked[0]
    used = {slug for entry in catalogue.entries.values() for slug in entry.paper.techniques}
    branches = {slug.rpartition("/")[0] for slug in catalogue.pages}
    assert sorted(set(catalogue.pages) - used - branches) == []
