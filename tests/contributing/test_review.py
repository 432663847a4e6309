"""The report says what a change does, line by line, and nothing in it is alive."""

import json
import subprocess

import pytest

from scripts.contributing.review import LIMIT, ReviewError, review
from tests.builders import checkout, entry, page
from tests.catalogue.test_result_checks import measurement, run


def git(root, *words: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", "-C", str(root), *identity, *words], capture_output=True, text=True, check=True)
    return done.stdout.strip()


CLAIM = """
  - id: faster
    says: It is faster.
    metric: step_time
    form: ratio
    value: {value}
    against: dense
    where: table 1
    seen: source
    test: {{case: quantization/linear, implementation: rtn, comparable: true, differs: nothing}}
"""


@pytest.fixture
def root(tmp_path):
    files = {
        "entries/2024/work.yaml": entry(level="reviewed", summary="It pages.", claims=CLAIM.format(value="1/3")),
        "entries/2024/other.yaml": entry(title="Another thing altogether"),
        ".gitignore": "/build/\n",
    }
    root = checkout(tmp_path, files)
    git(root, "init", "-q", "-b", "main")
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", "first")
    return root


def write(root, name: str, text: str) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text(text)


def test_no_change_changes_nothing(root):
    assert "No problems found." in review(root, "HEAD")
    assert "###" not in review(root, "HEAD")


def test_papers_added_changed_and_removed_are_told_with_their_values(root):
    write(root, "entries/2024/new.yaml", entry(title="Something wholly new"))
    changed = entry(level="reviewed", summary="It pages.", claims=CLAIM.format(value="1/2"), note="seen again")
    write(root, "entries/2024/work.yaml", changed)
    (root / "entries/2024/other.yaml").unlink()
    report = review(root, "main")
    assert "- added `entries/2024/new.yaml`: `Something wholly new`" in report
    assert "- removed `entries/2024/other.yaml`: `Another thing altogether`" in report
    assert "- `work`: note added: `seen again`" in report
    assert "- `work`: claims.faster.value: `1/3` → `1/2`" in report
    assert "- `papers/other/` would be gone; add a redirect" in report


def test_a_result_that_changes_a_verdict_is_told(root):
    one = run() | {"code": {"commit": git(root, "rev-parse", "HEAD"), "dirty": False}}
    slow, fast = [0.03 + k / 1e4 for k in range(9)], [0.01 + k / 1e5 for k in range(9)]
    one["measurements"] = [
        measurement(samples=fast, rounds=9, limit=None),
        measurement("dense", "baseline", samples=slow, rounds=9, limit=None),
    ]
    write(root, "results/box/quantization.json", json.dumps(one))
    report = review(root, "HEAD")
    assert "- `work#faster`: untested → reproduced; `0.33" in report
    assert "- added `results/box/quantization.json`: 1 cases, 2 measurements, all converged; `A CPU`, commit" in report
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", "a run")
    one["measurements"][0]["samples"] = [value * 2 for value in fast]
    write(root, "results/box/quantization.json", json.dumps(one))
    report = review(root, "HEAD")
    assert "- `quantization/linear rtn`: 0.01004 → 0.02008" in report
    assert "- `work#faster`: reproduced → direction holds" in report


def test_problems_stand_first_with_file_line_and_remedy(root):
    write(root, "entries/2024/bad.yaml", entry(title="A bad one indeed", url="javascript:alert(1)"))
    report = review(root, "HEAD")
    assert report.index("### Problems to mend: 1") < 120
    assert "✗ `entries/2024/bad.yaml:6:6: url: expected an http(s) link" in report


def test_pages_and_code_are_told(root):
    write(root, "techniques/systems/index.md", page("More words here.", words=120))
    write(root, ".github/workflows/x.yml", "on: push\n")
    write(root, "requirements/site.txt", "evil==1\n")
    write(root, "NOTES.md", "hello\n")
    report = review(root, "HEAD")
    assert "- `techniques/systems/index.md`: 100 → 123 words" in report
    assert "- `.github/workflows/x.yml`: runs on the project's machines" in report
    assert "- `requirements/site.txt`: decides which packages are installed" in report
    assert "- `NOTES.md`\n" in report


def test_what_is_not_read_as_data_is_told_wherever_it_lies(root):
    for name in ("results/x.py", "results.py", "entries/notes.txt", "techniques/a.js", "conftest.py", "results/a.json"):
        write(root, name, "x\n")
    told = review(root, "HEAD").split("### Files that are not data")[1]
    named = [line.strip("-` ") for line in told.splitlines() if line.startswith("- ")]
    assert named == ["conftest.py", "entries/notes.txt", "results.py", "results/x.py", "techniques/a.js"]


def test_nothing_in_the_report_is_alive(root):
    hostile = "`](https://evil.example) @everyone | ![x](https://evil.example/x.png)"
    write(root, "entries/2024/new.yaml", entry(title=json.dumps(hostile + " a title")))
    write(root, f"@everyone [{'x' * 9}](https:evil)/`a`.md", "x\n")
    report = review(root, "HEAD")
    [line] = [line for line in report.splitlines() if "new.yaml" in line]
    assert line.count("`") == 4  # two spans, and no way out of them
    write(root, "a\u202eb\x1b[2J.md", "x\n")
    assert r"a\u202eb\x1b[2J.md" in review(root, "HEAD")
    [line] = [line for line in report.splitlines() if "xxxxxxxxx" in line]
    assert line.startswith("- `@everyone")
    assert line.count("`") == 2


def test_a_huge_change_fits_a_comment(root):
    for number in range(300):
        write(root, f"entries/2024/bulk-{number}.yaml", entry(title=f"Work {number * 7919} of {'long ' * 30}"))
    report = review(root, "HEAD")
    assert len(report) <= LIMIT + 20
    assert "- … and 260 more" in report


@pytest.mark.parametrize("base", ["nothing", "--output=/tmp/x", "HEAD~99", ""])
def test_a_base_that_is_no_commit_is_refused(root, base):
    with pytest.raises(ReviewError, match="no commit"):
        review(root, base)
