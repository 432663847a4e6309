"""The ledger and the coverage page hold what the catalogue holds, on the built site; staleness against a real git."""

import csv
import json
import subprocess
from collections import Counter
from html import unescape

import pytest

from scripts.website import staleness
from scripts.website.ledger import COLUMNS
from scripts.website.verdicts import KINDS, RULES
from tests.site.test_verdicts import timed


@pytest.fixture(scope="module")
def items(site):
    return json.loads((site.public / "api/v1/ledger.json").read_text("utf-8"))["ledger"]


def test_every_claim_is_in_the_ledger_once_a_machine(site, items):
    claims = json.loads((site.public / "api/v1/claims.json").read_text("utf-8"))["claims"]
    assert {f"{one['paper']}#{one['claim']}" for one in items} == {one["id"] for one in claims}
    keys = Counter((one["paper"], one["claim"], one["machine"]) for one in items)
    assert set(keys.values()) == {1}
    assert all(one["verdict"] in KINDS for one in items)


def test_csv_and_json_say_the_same(site, items):
    with (site.public / "ledger/ledger.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == list(COLUMNS)
    assert [row["claim"] for row in rows] == [one["claim"] for one in items]
    assert [row["lo"] for row in rows] == ["" if one["lo"] is None else str(one["lo"]) for one in items]


def test_rules_are_on_the_page(site):
    text = unescape(site.html("ledger/"))
    assert all(rule in text for rule in RULES.values())


def test_page_counts_what_it_lists(site, items):
    html = site.html("ledger/")
    verdicts = {(one["paper"], one["claim"]): one["verdict"] for one in items}
    assert html.count('data-verdict="untested"') == sum(one == "untested" for one in verdicts.values())
    assert html.count("<tr data-verdict=") == sum(one != "untested" for one in verdicts.values())


def test_tested_claims_show_figure_and_difference_on_their_paper(site, items):
    tested = [one for one in items if one["machine"]]
    assert tested
    for one in tested:
        html = site.html(f"papers/{one['paper']}/")
        assert one["machine"] in html
        assert "differs" in html


def test_coverage_lists_add_up(site):
    gaps = {gap["id"]: gap for gap in json.loads((site.public / "api/v1/coverage.json").read_text("utf-8"))["coverage"]}
    papers = json.loads((site.public / "api/v1/papers.json").read_text("utf-8"))["papers"]
    assert gaps["no-authors"]["count"] == sum(not paper.get("authors") for paper in papers)
    assert all(gap["count"] == len(gap["lines"]) for gap in gaps.values())
    for gap in gaps.values():
        for line in gap["lines"]:
            assert line["page"] is None or (site.public / line["page"].partition("#")[0] / "index.html").exists()


def test_coverage_knows_what_code_has_no_page_and_what_page_no_code(site):
    gaps = {gap["id"]: gap for gap in json.loads((site.public / "api/v1/coverage.json").read_text("utf-8"))["coverage"]}
    named = {
        line.removeprefix("family:").strip()
        for page in (site.source / "techniques").rglob("*.md")
        for line in page.read_text("utf-8").split("\n")
        if line.startswith("family:")
    }
    hidden = {line["what"].removeprefix("reference_impls/") for line in gaps["no-page"]["lines"]}
    assert not hidden & named
    assert all((site.source / "reference_impls" / family / "__init__.py").exists() for family in hidden)
    counts = [int(line["remark"].split()[0]) for line in gaps["no-implementation"]["lines"]]
    assert counts == sorted(counts, reverse=True)
    pages = {line["page"] for line in gaps["no-implementation"]["lines"]}
    assert all("No reference implementation" in site.html(page) for page in pages)


def test_never_run_modules_have_no_measurement(site):
    gaps = {gap["id"]: gap for gap in json.loads((site.public / "api/v1/coverage.json").read_text("utf-8"))["coverage"]}
    evidence = json.loads((site.public / "api/v1/evidence.json").read_text("utf-8"))["evidence"]
    run = {f"{one['case'].partition('/')[0]}.{one['module']}" for one in evidence}
    missing = {line["what"] for line in gaps["never-run"]["lines"]}
    assert missing
    assert not missing & run


@pytest.fixture
def repository(tmp_path, monkeypatch):
    for name in ("GIT_DIR", "GIT_WORK_TREE"):
        monkeypatch.delenv(name, raising=False)

    def git(*arguments):
        identity = ("-c", "user.name=a", "-c", "user.email=a@b.c")
        done = subprocess.run(["git", *identity, *arguments], cwd=tmp_path, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    for name in ("reference_impls/family/method.py", "reference_impls/family/bench.py", "reference_impls/other/x.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("1\n")
    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "first")
    staleness.forget()
    return tmp_path, git


def recorded(commit):
    run = timed(1.0)
    return run.model_copy(update={"code": run.code.model_copy(update={"commit": commit})})


def test_a_run_is_stale_when_its_code_changed(repository):
    root, git = repository
    run = recorded(git("rev-parse", "HEAD"))
    assert staleness.stale(root, run) is None
    for name in ("other/x.py", "family/bench.py", "family/added.py"):
        (root / "reference_impls" / name).write_text("2\n")
        git("add", ".")  # a new file is another technique: what was measured did not call it
        staleness.forget()
        assert staleness.stale(root, run) is None
    (root / "reference_impls/family/method.py").write_text("2\n")
    staleness.forget()
    assert "family/method.py changed since" in staleness.stale(root, run)


def test_what_git_cannot_tell_is_said(repository, tmp_path):
    root, _ = repository
    assert "not in this copy" in staleness.stale(root, recorded("1" * 40))
