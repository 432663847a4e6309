"""A stranger's pull request, tried as a whole in processes of their own: clone, write, check, preview, report.

What is meant well is shown, and nothing beside it. What is meant badly is refused with file, line and reason, the
report on it stays inert, and none of it runs: the tools are those of this checkout, over the stranger's clone, as a
maintainer uses them. The slow half does the same to a clone of the whole repository.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.builders import checkout, entry, page
from tests.catalogue.test_result_checks import measurement
from tests.catalogue.test_result_checks import run as recorded
from tests.contributing.test_review import CLAIM, git

ROOT = Path(__file__).resolve().parents[2]
RUN = "results/box/quantization.json"


def scripts(root: Path, *words: str, tools: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """`python -m scripts WORDS` with the tools of one checkout on the files of another."""
    command = [sys.executable, "-m", "scripts", *words, "--root", str(root)]
    env = os.environ | {"COLUMNS": "250", "HOME": str(root.parent)}
    return subprocess.run(command, cwd=tools, env=env, capture_output=True, text=True, check=False)


def write(root: Path, files: Mapping[str, str | bytes]) -> None:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content.encode() if isinstance(content, str) else content)


def honest_run(commit: str) -> dict:
    """A run in which rtn takes a third of the time of dense."""
    slow, fast = [0.03 + k / 1e4 for k in range(9)], [0.01 + k / 1e5 for k in range(9)]
    timed = [
        measurement(samples=fast, rounds=9, limit=None),
        measurement("dense", "baseline", samples=slow, rounds=9, limit=None),
    ]
    return recorded() | {"code": {"commit": commit, "dirty": False}, "measurements": timed}


@pytest.fixture(scope="module")
def origin(tmp_path_factory):
    """A small project with a paper and a recorded run."""
    files = {
        "entries/2023/known.yaml": entry(title="Known for years", year="2023"),
        ".gitignore": "/build/\n/public/\n",
    }
    root = checkout(tmp_path_factory.mktemp("origin"), files)
    git(root, "init", "-q", "-b", "main")
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", "first")
    write(root, {RUN: json.dumps(honest_run(git(root, "rev-parse", "HEAD")))})
    git(root, "add", "-A")
    git(root, "commit", "-q", "-m", "a run")
    return root


@pytest.fixture
def fork(origin, tmp_path):
    subprocess.run(["git", "clone", "-q", str(origin), str(tmp_path / "fork")], check=True)
    return tmp_path / "fork"


GOOD = ["new", "10.5555/1234567", "--offline", "--title", "Fetcher: weights in good time", "--year", "2024"]
AUTHORS = ["--authors", "Doe, Jane and Roe, Richard"]


def claiming(value: str, name: str = "rtn", title: str = "A bold work") -> str:
    claims = CLAIM.format(value=value).replace("implementation: rtn", f"implementation: {name}")
    return entry(title=title, level="reviewed", summary="It is fast.", claims=claims)


def test_a_good_paper_is_the_only_thing_that_the_report_shows(fork):
    made = scripts(fork, *GOOD, *AUTHORS, "--technique", "systems")
    assert made.returncode == 0, made.stderr
    file = made.stdout.strip()
    assert file == "entries/2024/fetcher.yaml"
    checked = scripts(fork, "check")
    assert (checked.returncode, checked.stdout) == (0, "")
    report = scripts(fork, "review", "origin/main")
    assert report.returncode == 0
    shown = report.stdout.strip().split("\n\n")
    assert shown[0] == "## What this change does to the site"
    assert shown[2:] == ["No problems found.", "### Papers", f"- added `{file}`: `Fetcher: weights in good time`"]


def test_a_wrong_claim_about_what_was_measured_is_told(fork):
    write(
        fork, {"entries/2024/honest.yaml": claiming("1/3"), "entries/2024/boast.yaml": claiming("1/30", title="Bolder")}
    )
    assert scripts(fork, "check").returncode == 0
    report = scripts(fork, "review", "origin/main").stdout
    assert "- `honest#faster`: new → reproduced; `0.33" in report
    assert re.search(r"- `boast#faster`: new → (direction holds|not reproduced); ", report)


RUNS_IF_READ = "import pathlib; pathlib.Path({canary!r}).touch()\n"
DRAWING = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 640 90"><title>a</title><desc>b</desc>{}</svg>'


def forged(**changes) -> str:
    """A run of a machine that nobody knows."""
    one = honest_run("f" * 40)
    one["machine"] = one["machine"] | {"name": "forged"}
    one["measurements"][0] |= {"limit": {"value": 0.02, "formula": "bytes / bandwidth"}}
    return json.dumps(one | changes)


def hostile(canary: Path) -> list[tuple[str, str | bytes, str]]:
    """(file, what it holds, how `check` refuses it)."""
    touch = f"touch {canary}"
    body = "`a\n` <script>alert(1)</script> `\nb`\n\n> [x]: javascript:alert(1)\n\n![x](https://evil.example/x.png)"
    return [
        ("entries/2024/script.yaml", entry(title='"<script>alert(1)</script>"'), ":2:8: title: holds markup"),
        ("entries/2024/template.yaml", entry(title="'{{ 7 * 7 }} {% raw %}'"), ":2:8: title: holds markup"),
        ("entries/2024/image.yaml", entry(summary='"x <img src=x onerror=alert(1)>"'), ":6:10: summary: holds markup"),
        ("entries/2024/link.yaml", entry(url="'javascript:alert(1)'"), ":6:6: url: expected an http(s) link"),
        ("entries/2024/data.yaml", entry(code="'data:text/html,x'"), ":6:7: code: expected an http(s) link"),
        ("entries/2024/inner.yaml", entry(url="http://169.254.169.254/"), ":6:6: url: expected a link to a named host"),
        ("entries/2024/up.yaml", entry(techniques="[../../etc/passwd]"), ":4:14: techniques.0: expected the path of a"),
        ("entries/2024/..%2fup.yaml", entry(title="Going up"), ':1:1: the file name "..%2fup" is no key'),
        (f"entries/2024/$({touch.replace('/', '%')}).yaml", entry(title="Named for a shell"), "is no key"),
        ("entries/2024/-rf.yaml", entry(title="Named like an option"), ':1:1: the file name "-rf" is no key'),
        ("entries/2024/a\n::error::b.yaml", entry(title="Named for a log"), r'the file name "a\n::error::b" is no key'),
        ("entries/2024/tag.yaml", entry(title=f"!!python/object/apply:os.system ['{touch}']"), ":2:8: uses the tag"),
        ("entries/2024/alias.yaml", "a: &a [x, x]\nb: [*a, *a]\n", ":1:4: uses an anchor or alias"),
        ("entries/2024/huge.yaml", entry(note="x" * 2**19), ":1:1: the file has 524,"),
        ("entries/2024/hidden.yaml", entry(title='"a\u202eb"'), "title: holds the invisible character U+202E"),
        ("entries/2024/verdict.yaml", entry(verdict="reproduced"), ":6:10: verdict: unknown field"),
        (
            "entries/2024/boast.yaml",
            claiming("1/30", "magic"),
            '"magic" is not in quantization/linear; it has dense, rtn',
        ),
        ("entries/2024/program.py", RUNS_IF_READ.format(canary=str(canary)), ":1:1: is not read"),
        ("techniques/systems/evil.md", page(body), ":12:3: holds HTML"),
        ("techniques/systems/evil.md", page(body), ":15:1: link: expected an http(s) link"),
        ("techniques/systems/evil.md", page(body), ":17:1: the image"),
        (
            "techniques/systems/a.svg",
            DRAWING.format("<script>alert(1)</script>"),
            "the element <script> is not allowed",
        ),
        ("techniques/systems/b.svg", DRAWING.format('<rect onload="x()"/>'), "the attribute onload is not allowed"),
        (
            "techniques/systems/c.svg",
            '<!DOCTYPE a [<!ENTITY b SYSTEM "/etc/passwd">]><svg>&b;</svg>',
            "a document type",
        ),
        ("results/forged/quantization.json", forged(), "its median passes the limit of 0.02 s by"),
        ("results/forged/quantization.json", forged(), "ffffffffffff is not in the history of this checkout"),
        ("results/up/quantization.json", forged(suite="../up"), "suite: "),
        ("results/huge/quantization.json", b" " * (2**24 + 1), ":1:1: the file has 16,777,217 bytes"),
    ]


def code_of_theirs(canary: Path) -> dict[str, str]:
    """Files that would run, were anything of the stranger's imported, built or configured."""
    program = RUNS_IF_READ.format(canary=str(canary))
    names = ("yaml.py", "sitecustomize.py", "conftest.py", "scripts/__init__.py", "scripts/__main__.py", "results/x.py")
    return dict.fromkeys(names, program) | {
        "mkdocs.yml": "site_url: https://example.org/\nrepo_url: https://example.org/\nhooks: [conftest.py]\n",
        "Makefile": f"check:\n\ttouch {canary}\n",
        ".gitattributes": "* diff=evil filter=evil export-subst\n",
        **{f"a-first-{n}.txt": "many, so that a list that is cut hides the rest\n" for n in range(60)},
    }


def links_outward(root: Path) -> dict[str, str]:
    """Symbolic links out of the checkout -> how `check` refuses them."""
    places = {"entries/2024/passwd.yaml": "/etc/passwd", "entries/1999": "/", "techniques/systems/x.md": "/etc/hosts"}
    places |= {"results/theirs": "/", "results/vouched.yaml": "/etc/hosts", "site/redirects.yaml": "/etc/passwd"}
    for name, target in places.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).unlink(missing_ok=True)
        (root / name).symlink_to(target)
    return dict.fromkeys(places, "is a symbolic link")


def attack(root: Path) -> tuple[Path, list[tuple[str, str]]]:
    """Write the hostile change; -> (the file that nobody may make, [(file as shown, reason)])."""
    canary = root.parent / "canary"
    bad = hostile(canary)
    write(root, {name: content for name, content, _ in bad} | code_of_theirs(canary))
    reasons = [(name.replace("\n", "\\n"), reason) for name, _, reason in bad]
    return canary, [*reasons, *links_outward(root).items()]


def assert_inert(report: str) -> None:
    """Outside its code spans the report holds words of ours alone."""
    assert not re.search(r"^\s*::", report, re.MULTILINE)  # no command to a log
    for line in report.splitlines():
        assert line.isprintable()
        assert line.count("`") % 2 == 0
        assert not re.search(r"[<@]|\]\(|https?:|!\[|::", re.sub(r"`[^`]*`", "", line)), line


def test_a_hostile_change_is_refused_with_every_reason_and_runs_nothing(fork):
    canary, reasons = attack(fork)
    checked = scripts(fork, "check")
    assert checked.returncode == 1
    lines = checked.stdout.splitlines()
    untold = [(name, why) for name, why in reasons if not any(line.startswith(name) and why in line for line in lines)]
    assert untold == []
    assert all(re.match(r"[^:]+(::[^:]+)*:\d+:\d+: ", line) for line in lines)  # file, line and column
    report = scripts(fork, "review", "origin/main")
    assert report.returncode == 0
    assert f"### Problems to mend: {len(lines)}" in report.stdout
    assert_inert(report.stdout)
    assert [name for name in ("`Makefile`", "`mkdocs.yml`", "`scripts/__init__.py`") if name not in report.stdout] == []
    for words in (["doctor"], ["fix", "--check"], ["build", "--no-search"]):
        assert scripts(fork, *words).returncode == 1, words
    assert not canary.exists()
    assert not (fork / "public").exists()


def test_the_report_alone_tells_of_code_that_hides_behind_many_files(fork):
    write(fork, code_of_theirs(fork.parent / "canary"))
    report = scripts(fork, "review", "origin/main").stdout
    told = report[report.index("### Files that are not data") :].strip().splitlines()
    assert told[2] == "- `Makefile`: runs on contributors' machines"
    assert "- `mkdocs.yml`: configures the build, which can be made to run code" in told
    assert told[-1] == "- … and 29 more"
    assert not (fork.parent / "canary").exists()


@pytest.fixture
def real(tmp_path):
    """A clone of this repository as it is here, changes that are not committed included; -> (clone, the base)."""
    target = tmp_path / "fork"
    subprocess.run(["git", "clone", "-q", str(ROOT), str(target)], check=True)
    changes = subprocess.run(["git", "diff", "--binary", "HEAD"], cwd=ROOT, capture_output=True, check=True).stdout
    if changes:
        subprocess.run(["git", "apply", "--index"], cwd=target, input=changes, check=True)
        git(target, "commit", "-q", "-m", "what is not committed yet")
    (target / "node_modules").symlink_to(ROOT / "node_modules")
    (target / ".git/info/exclude").write_text("/node_modules\n")
    return target, git(target, "rev-parse", "HEAD")


SLUG = "algorithms/model-compression/quantization/weight-only"
NASTY = entry(
    title="""'Nasty: [a](javascript:alert(1)) "onmouseover="alert(2)" `b` ![c](//d.example/e.png) *f*'""",
    techniques=f"[{SLUG}]",
    level="reviewed",
    summary="""'"onload="alert(3)" [x](javascript:alert(4)) and a `` `tick` '""",
    url="https://example.org/?a=1&b=%22%3E",
)
ALIVE = re.compile(
    r"""<script>alert|href="?javascript:|<[^>]*"\s*on(load|mouseover)="?alert|<img[^>]+d\.example""", re.I
)


@pytest.mark.slow
@pytest.mark.site
def test_a_good_paper_in_the_whole_repository_from_clone_to_preview(real):
    fork, base = real
    made = scripts(fork, *GOOD, *AUTHORS, "--technique", SLUG, tools=fork)
    assert made.returncode == 0, made.stderr
    file = made.stdout.strip()
    assert scripts(fork, "check", file, tools=fork).returncode == 0
    report = scripts(fork, "review", base, tools=fork).stdout.strip().split("\n\n")
    papers = report.index("### Papers")  # before them: what the check finds, and in whose files
    assert not any(file in part for part in report[:papers])
    assert report[papers:] == ["### Papers", f"- added `{file}`: `Fetcher: weights in good time`"]
    write(fork, {"entries/2024/nasty.yaml": NASTY})
    built = scripts(fork, "build", "--no-search", tools=fork)
    assert built.returncode == 0, built.stdout + built.stderr
    key = Path(file).stem
    page_of_it = (fork / "public/papers" / key / "index.html").read_text("utf-8")
    assert "Fetcher: weights in good time" in page_of_it
    assert "10.5555/1234567" in page_of_it
    assert f"papers/{key}/" in (fork / "public/techniques" / SLUG / "index.html").read_text("utf-8")
    named = [path for path in (fork / "public").rglob("*.html") if "Nasty: " in path.read_text("utf-8")]
    assert len(named) >= 2
    assert [path for path in named if ALIVE.search(path.read_text("utf-8"))] == []
    linked = scripts(fork, "links", tools=fork)
    assert linked.returncode == 0, linked.stdout[-2000:]


@pytest.mark.slow
def test_a_hostile_change_to_the_whole_repository_is_refused_too(real):
    fork, base = real
    canary = fork.parent / "canary"
    mine = [(name, content, why) for name, content, why in hostile(canary) if "quantization/linear" not in why]
    write(fork, {name: content for name, content, _ in mine} | code_of_theirs(canary))
    checked = scripts(fork, "check").stdout
    assert [name for name, _, why in mine if why not in checked] == []
    report = scripts(fork, "review", base)
    assert report.returncode == 0
    assert_inert(report.stdout)
    assert "`scripts/__main__.py`: builds the site" in report.stdout
    assert not canary.exists()
