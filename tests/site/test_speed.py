"""What is measured is the real site, and the bars are those of its size."""

import shutil
import subprocess
from pathlib import Path

from scripts.website.generated import copy_checkout
from scripts.website.settings import read_settings
from scripts.website.speed import REAL, Size
from scripts.website.speed_report import judged

from .conftest import ROOT

MADE_FROM = ("mkdocs.yml", "site", "techniques", "entries", "results", "reference_impls", "tests")


def small_repository(folder: Path) -> Path:
    """One file in each place that the site is made from, committed."""
    for name in MADE_FROM[1:]:
        (folder / name / "2024").mkdir(parents=True)
        (folder / name / "2024" / "some.yaml").write_text(name)
    (folder / "reference_impls" / "__pycache__").mkdir()
    (folder / "node_modules").mkdir()
    shutil.copy(ROOT / "mkdocs.yml", folder)
    git = ["git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@example.org"]
    for command in (["init", "-q"], ["add", *MADE_FROM], ["commit", "-q", "-m", "All"]):
        subprocess.run([*git, *command], check=True)
    return folder


def test_the_real_site_is_measured_with_its_records_its_library_and_its_history(tmp_path):
    real = small_repository(tmp_path / "real")
    (real / "results" / "2024" / "some.yaml").write_text("not committed")
    assert copy_checkout(real, tmp_path / "copy") == ["some"]
    for name in MADE_FROM[1:]:
        assert (tmp_path / "copy" / name / "2024" / "some.yaml").read_text() in (name, "not committed")
    assert (tmp_path / "copy/results/2024/some.yaml").read_text() == "not committed"
    assert not (tmp_path / "copy/reference_impls/__pycache__").exists()
    one, two = read_settings(real), read_settings(tmp_path / "copy")
    assert one.commit is not None
    assert (one.commit, one.generated_at, one.added) == (two.commit, two.generated_at, two.added)
    status = subprocess.run(
        ["git", "-C", str(tmp_path / "copy"), "diff", "--name-only"], capture_output=True, text=True
    )
    assert status.stdout.split() == ["results/2024/some.yaml"]


def test_a_checkout_without_history_is_copied_too(tmp_path):
    real = small_repository(tmp_path / "real")
    shutil.rmtree(real / ".git")
    assert copy_checkout(real, tmp_path / "copy") == ["some"]
    assert read_settings(tmp_path / "copy").commit is None


def test_an_edit_with_search_may_cost_what_the_edit_and_the_index_may():
    names = ("edited_s", "search_ms", "edited_with_search_s")
    sizes = [Size(label, count) for label, count in (("1000", 1000), (REAL, 2000), ("10000", 10_000))]
    for size in sizes:
        size.add(dict.fromkeys((*names, "cold_s", "bytes"), 7.5 * size.entries / 1000))
    bars = {(value.measure, value.size): value for value in judged(sizes)}
    row = "one entry edited, with search, CPU s"
    assert [bars[row, size].bar for size in ("1,000", "2,000 (real)", "10,000")] == [7.5, 10.0, None]
    assert [bars[row, size].passed for size in ("1,000", "2,000 (real)", "10,000")] == [True, False, None]
    assert bars["one entry edited, without search, CPU s", "1,000"].bar == 5
