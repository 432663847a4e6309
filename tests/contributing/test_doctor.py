"""The work list holds every gap once, and what matters most stands first."""

from collections import Counter

import pytest

from scripts.contributing.doctor import WEIGHTS, work_list
from scripts.website.errors import DataError
from tests.builders import REPOSITORY, checkout, entry, page

CONFIG = "site_url: https://example.org/\nrepo_url: https://example.org/repo\n"


@pytest.fixture
def root(tmp_path):
    claims = "\n" + "".join(
        f"  - {{id: c{n}, says: It., metric: latency, form: ratio, value: 2, against: it, where: here, seen: source}}\n"
        for n in range(3)
    )
    files = {
        "mkdocs.yml": CONFIG,
        "techniques/systems/paging.md": page().replace("title: Systems", "title: Paging"),
        "techniques/systems/hardly.md": page().replace("title: Systems", "title: Hardly"),
        "entries/2024/a-a.yaml": entry(title="One thing", level="reviewed", summary="It does.", claims=claims),
        "entries/2024/b-b.yaml": entry(title="Quite another matter", techniques="[systems/paging]"),
        "entries/2024/c-c.yaml": entry(title="Third of all works", techniques="[systems/paging]"),
    }
    return checkout(tmp_path, files)


def test_every_gap_is_listed_once_with_its_remedy(root):
    works = work_list(root)
    kinds = Counter(work.kind for work in works)
    assert kinds["untested"] == 3
    assert kinds["no-ids"] == kinds["no-authors"] == 3
    assert kinds["no-implementation"] == 2
    assert all(work.remedy for work in works)


def test_what_more_papers_wait_for_comes_first(root):
    works = work_list(root)
    values = [work.value for work in works]
    assert values == sorted(values, reverse=True)
    leaves = [work.what for work in works if work.kind == "no-implementation"]
    assert leaves == ["Paging", "Hardly"]
    assert [work.value for work in works if work.kind == "unchecked"] == [4.0]  # the paper and its three claims


def test_every_gap_of_the_site_has_a_weight():
    works = work_list(REPOSITORY)
    assert {work.kind for work in works} <= set(WEIGHTS)


def test_a_broken_catalogue_is_mended_first(root):
    (root / "entries/2024/b-b.yaml").write_text(entry(techniques="[nowhere]"))
    with pytest.raises(DataError):
        work_list(root)
