"""Two entries of one work become one: no fact is lost silently, and no address dies."""

from datetime import date

import pytest

from scripts.catalogue.addresses import add_redirect, check_addresses, publish, redirects
from scripts.catalogue.load import load_catalogue
from scripts.contributing.merge import MergeError, merge
from tests.builders import checkout, complaints, entry, page

DAY = date(2026, 1, 2)
KEPT = entry(title='"Paging weights to flash"', preprint='{arxiv: "2401.08092"}', sources="[list one]")
GONE = entry(
    title='"Paging weights to flash memory, quickly"',
    authors="[{family: Ada, given: B.}]",
    published="{venue: MLSys, year: 2024}",
    sources="[list one, list two]",
)
FILES = {
    "entries/2024/paging.yaml": KEPT,
    "entries/2024/flash.yaml": GONE,
    "entries/2024/third.yaml": entry(title="Another thing altogether", distinct_from="[flash]"),
    "techniques/systems/index.md": page("See [it](paper:flash) and [that](paper:flash-attention-2x)."),
    "entries/2024/flash-attention-2x.yaml": entry(title="Tiles in shared memory"),
}


@pytest.fixture
def root(tmp_path):
    return checkout(tmp_path, FILES)


def test_the_kept_entry_gains_what_only_the_other_said(root):
    merged, files = merge(root, "flash", "paging", DAY)
    assert complaints(root) == []
    paper = load_catalogue(root).entries["paging"].paper
    assert paper == merged.paper
    assert [author.family for author in paper.authors] == ["Ada"]
    assert (paper.venue, paper.arxiv, paper.sources) == ("MLSys", "2401.08092", ["list one", "list two"])
    assert paper.also_titled == ["Paging weights to flash memory, quickly"]
    assert paper.corrections[0].what == "merged with the entry flash, which was the same work"
    assert "entries/2024/flash.yaml" in files
    assert not (root / "entries/2024/flash.yaml").exists()


def test_what_led_to_the_duplicate_leads_to_the_kept_one(root):
    publish(root, load_catalogue(root))
    merge(root, "flash", "paging", DAY)
    text = (root / "techniques/systems/index.md").read_text()
    assert "[it](paper:paging) and [that](paper:flash-attention-2x)" in text
    assert "distinct_from: [paging]" in (root / "entries/2024/third.yaml").read_text()
    assert redirects(root) == {"papers/flash/": "papers/paging/"}
    assert complaints(root) == []


def test_facts_that_differ_are_not_dropped_silently(root):
    path = root / "entries/2024/flash.yaml"
    path.write_text(GONE + 'preprint: {arxiv: "2401.11111"}\n')
    before = {file: file.read_bytes() for file in root.glob("entries/*/*")}
    with pytest.raises(MergeError, match=r"preprint.arxiv is 2401.08092 in paging and 2401.11111 in flash"):
        merge(root, "flash", "paging", DAY)
    assert {file: file.read_bytes() for file in root.glob("entries/*/*")} == before
    assert not (root / "site/redirects.yaml").exists()
    merged, _ = merge(root, "flash", "paging", DAY, keep=True)
    assert merged.paper.arxiv == "2401.08092"


@pytest.mark.parametrize(("gone", "kept"), [("flash", "flash"), ("flash", "nothing"), ("../flash", "paging")])
def test_what_cannot_be_merged_is_refused(root, gone, kept):
    with pytest.raises(MergeError):
        merge(root, gone, kept, DAY)


def test_comments_of_the_kept_entry_stay(root):
    path = root / "entries/2024/paging.yaml"
    path.write_text(KEPT.replace("level:", "# looked at twice\nlevel:"))
    merge(root, "flash", "paging", DAY)
    assert "# looked at twice\nlevel:" in path.read_text()


def test_chains_of_redirects_end_at_a_page(root):
    add_redirect(root, "papers/a-a/", "papers/b-b/")
    add_redirect(root, "papers/b-b/", "papers/paging/")
    assert redirects(root) == {"papers/a-a/": "papers/paging/", "papers/b-b/": "papers/paging/"}
    assert complaints(root) == []


BROKEN = [
    ("papers/a-a/: papers/b-b/\n", "site/redirects.yaml:1:1: papers/a-a/ leads to papers/b-b/, which is no page"),
    ("papers/a-a/: papers/b-b/\npapers/b-b/: papers/a-a/\n", "goes round in a circle"),
    ("papers/paging/: papers/flash/\n", "papers/paging/ is a page of its own"),
    ("papers/a-a/: https://evil.example/\n", '"https://evil.example/" is no address of this site'),
    ("papers/a-a/: //evil.example/\n", "is no address of this site"),
    ("../../etc/: papers/paging/\n", '"../../etc/" is no address of this site'),
    ("papers/a-a/: [papers/paging/]\n", "expected lines"),
    ("- papers/a-a/\n", "expected lines"),
    ("papers/a-a/: papers/paging/\npapers/a-a/: papers/flash/\n", "stands twice"),
    ("papers/a-a/: &x papers/paging/\n", "anchor"),
    ('papers/"><script>/: papers/paging/\n', "is no address"),
]


@pytest.mark.parametrize(("text", "message"), BROKEN)
def test_a_redirect_that_leads_nowhere_is_told(root, text, message):
    (root / "site").mkdir()
    (root / "site/redirects.yaml").write_text(text)
    assert any(message in line for line in complaints(root)), complaints(root)


def test_no_published_address_may_disappear(root):
    assert publish(root, load_catalogue(root)) == 5
    assert publish(root, load_catalogue(root)) == 0
    (root / "entries/2024/flash-attention-2x.yaml").rename(root / "entries/2024/renamed.yaml")
    found = list(check_addresses(load_catalogue(root)))
    assert [problem.message for problem in found] == ["papers/flash-attention-2x/ was published and would be gone"]
    add_redirect(root, "papers/flash-attention-2x/", "papers/renamed/")
    assert list(check_addresses(load_catalogue(root))) == []
