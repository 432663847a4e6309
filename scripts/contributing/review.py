"""What a change does to the site, as Markdown for the conversation about it.

The change is the working tree against a commit. Both are read as data, by the code of this checkout. Everything that
comes from their files is shown as code, so that names cannot mention people, links cannot hide and markup stays inert.
"""

import io
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import median
from typing import Any

from scripts.catalogue.addresses import addresses, redirects
from scripts.catalogue.check import check
from scripts.catalogue.load import Catalogue, load_catalogue
from scripts.catalogue.model import Claim, Run
from scripts.catalogue.problems import Problem, visible
from scripts.catalogue.yaml_text import YamlError
from scripts.website.verdicts import Verdict, judge

LIMIT = 60_000
"""Characters; a comment may have 65,536."""
ROWS = 40
"""Lines of one list; how many more there are is said."""
DATA = {"entries/": (".yaml",), "techniques/": (".md", ".svg"), "results/": (".json",)}
"""Folder -> the files in it that are read as data; whatever else lies there is told with the code."""
SENSITIVE = {
    ".ci/": "runs on the project's machines",
    ".github/": "runs on the project's machines",
    ".npmrc": "decides where browser libraries come from",
    ".pre-commit-config.yaml": "runs on contributors' machines",
    "Makefile": "runs on contributors' machines",
    "mkdocs.yml": "configures the build, which can be made to run code",
    "package": "decides which browser libraries are installed",
    "pyproject.toml": "decides which packages are installed",
    "reference_impls/": "is imported by users and run by the benchmarks",
    "requirements/": "decides which packages are installed",
    "results/vouched.yaml": "decides whose runs count",
    "scripts/": "builds the site",
    "site/": "is shown to every reader",
    "tests/": "runs wherever the tests do",
}


class ReviewError(ValueError):
    """The change cannot be compared; the message says why."""


def review(root: Path, base: str) -> str:
    """The report on the working tree against the commit `base`."""
    commit = _git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{base}^{{commit}}").strip()
    if not commit:
        raise ReviewError(f'"{base}" is no commit of this checkout; fetch it, or name another, such as origin/main')
    changed = _changed(root, commit)
    catalogue, problems = check(root)
    with tempfile.TemporaryDirectory() as folder:
        before = _load_at(root, commit, Path(folder))
        parts = [
            _problems(problems, changed),
            _entries(before, catalogue),
            _verdicts(before, catalogue),
            _pages(before, catalogue),
            _runs(before, catalogue),
            _gone(root, before, catalogue),
            _code(changed),
        ]
    body = "\n\n".join(part for part in parts if part)
    report = f"## What this change does to the site\n\nAgainst `{commit[:12]}`.\n\n{body or 'Nothing that is shown.'}\n"
    return report if len(report) <= LIMIT else report[:LIMIT] + "\n\n… cut here.\n"


def _git(root: Path, *words: str) -> str:
    done = subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, check=False)
    return done.stdout if done.returncode == 0 else ""


def _changed(root: Path, commit: str) -> list[str]:
    """Every file that differs from the commit, those not yet known to git included."""
    tracked = _git(root, "diff", "--name-only", "--no-renames", "-z", commit, "--").split("\0")
    new = _git(root, "ls-files", "--others", "--exclude-standard", "-z").split("\0")
    return sorted({*tracked, *new} - {""})


def _load_at(root: Path, commit: str, folder: Path) -> Catalogue:
    """The catalogue as it was; what the code of today cannot read of it is left out."""
    folders = [name.rstrip("/") for name in DATA]
    present = [name for name in folders if _git(root, "ls-tree", commit, "--", name)]
    command = ["git", "-C", str(root), "archive", "--format=tar", commit, "--", *present]
    done = subprocess.run(command, capture_output=True, check=True)
    if present:
        with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
            archive.extractall(folder, filter="data")
    return load_catalogue(folder, use_cache=False)


def _code_span(text: Any, limit: int = 160) -> str:
    """Foreign text as inline code on one line of a list or table: it cannot link, mention, or end the span."""
    plain = visible(" ".join(str(text).split()))
    plain = plain if len(plain) <= limit else plain[: limit - 3] + "…"
    return f"`{plain.replace('`', 'ˋ').replace('|', '¦')}`"


def _list(title: str, lines: list[str]) -> str:
    if not lines:
        return ""
    more = f"\n- … and {len(lines) - ROWS} more" if len(lines) > ROWS else ""
    return f"### {title}\n\n" + "\n".join(f"- {line}" for line in lines[:ROWS]) + more


def _problems(problems: list[Problem], changed: list[str]) -> str:
    mine = [found for found in problems if found.file in changed]
    other = len(problems) - len(mine)
    lines = [f"{'⚠' if found.severity == 'warning' else '✗'} {_code_span(found, 480)}" for found in mine]
    if other:
        lines.append(f"{other} in files that this change does not touch; `python -m scripts check` lists them")
    return _list(f"Problems to mend: {len(mine)}", lines) if lines else "No problems found."


def _entries(before: Catalogue, after: Catalogue) -> str:
    old, new = before.entries, after.entries
    lines = []
    for verb, these, others in (("added", new, old), ("removed", old, new)):
        names = sorted(these.keys() - others.keys())
        lines += [f"{verb} {_code_span(these[key].file)}: {_code_span(these[key].paper.title)}" for key in names]
    for key in sorted(old.keys() & new):
        if old[key].paper != new[key].paper:
            a, b = (one.paper.model_dump(mode="json", exclude_defaults=True) for one in (old[key], new[key]))
            lines += [f"{_code_span(key)}: {change}" for change in _differences(a, b)]
    return _list("Papers", lines)


def _differences(a: Any, b: Any, path: str = "") -> Iterator[str]:
    """Every value that differs, by its path; lists of records by their ids."""
    if isinstance(a, dict) and isinstance(b, dict):
        for name in dict.fromkeys([*a, *b]):
            if a.get(name) != b.get(name):
                yield from _differences(a.get(name), b.get(name), f"{path}.{name}" if path else name)
    elif _by_id(a) and _by_id(b):
        yield from _differences(_by_id(a), _by_id(b), path)
    elif a is None:
        yield f"{path} added: {_code_span(b)}"
    elif b is None:
        yield f"{path} taken away: {_code_span(a)}"
    else:
        yield f"{path}: {_code_span(a)} → {_code_span(b)}"


def _by_id(items: Any) -> dict[str, Any]:
    if isinstance(items, list) and items and all(isinstance(item, dict) and "id" in item for item in items):
        return {item["id"]: item for item in items}
    return {}


def _verdicts(before: Catalogue, after: Catalogue) -> str:
    old, new = _judged(before), _judged(after)
    lines = []
    for name in sorted(old.keys() | new.keys()):
        a, b = old.get(name), new.get(name)
        if (a and a.kind) != (b and b.kind) and not (a is None and b and b.kind == "untested"):
            told = f"{a.kind if a else 'new'} → {b.kind if b else 'gone'}"
            lines.append(f"{_code_span(name)}: {told}" + (f"; {_code_span(b.reason)}" if b else ""))
    return _list("Verdicts", lines)


def _judged(catalogue: Catalogue) -> dict[str, Verdict]:
    claims: list[tuple[str, Claim]] = [
        (f"{key}#{claim.id}", claim) for key, entry in catalogue.entries.items() for claim in entry.paper.claims
    ]
    return {name: judge(claim, catalogue.runs) for name, claim in claims}


def _pages(before: Catalogue, after: Catalogue) -> str:
    lines = []
    for slug in sorted(before.pages.keys() | after.pages.keys()):
        a, b = before.pages.get(slug), after.pages.get(slug)
        if a is None and b:
            lines.append(f"added {_code_span(b.file)}: {len(b.body.split())} words")
        elif b is None and a:
            lines.append(f"removed {_code_span(a.file)}")
        elif a and b and (a.technique, a.body) != (b.technique, b.body):
            front = _differences(a.technique.model_dump(mode="json"), b.technique.model_dump(mode="json"))
            words = f"{len(a.body.split())} → {len(b.body.split())} words" if a.body != b.body else ""
            lines.append(f"{_code_span(b.file)}: " + "; ".join(filter(None, [words, *front])))
    return _list("Technique pages", lines)


def _runs(before: Catalogue, after: Catalogue) -> str:
    lines = []
    old, new = before.runs | before.submissions, after.runs | after.submissions
    for file in sorted(old.keys() | new.keys()):
        a, b = old.get(file), new.get(file)
        if a == b:
            continue
        told = "removed" if b is None else "added" if a is None else "replaced"
        apart = "; nobody vouches for the machine yet, so it is shown apart" if file in after.submissions else ""
        lines.append(f"{told} {_code_span(file)}" + (f": {_run_facts(b)}{apart}" if b else ""))
        if a and b:
            lines += list(_moved(a, b))
    return _list("Recorded runs", lines)


def _run_facts(run: Run) -> str:
    cases = len({one.case for one in run.measurements})
    state = "not converged in all" if any(not one.converged for one in run.measurements) else "all converged"
    machine = run.machine.gpu or run.machine.cpu
    counts = f"{cases} cases, {len(run.measurements)} measurements, {state}"
    return f"{counts}; {_code_span(machine)}, commit {_code_span(run.code.commit[:12])}"


def _moved(a: Run, b: Run) -> Iterator[str]:
    """Values whose median changed by more than a twentieth, the largest first."""
    old, new = (_medians(run) for run in (a, b))
    changes = [(abs(new[key] / old[key] - 1), key) for key in old.keys() & new.keys() if old[key]]
    for size, (case, name) in sorted(changes, reverse=True):
        if size > 0.05:
            key = (case, name)
            yield f"{_code_span(f'{case} {name}')}: {old[key]:.4g} → {new[key]:.4g}"


def _medians(run: Run) -> Mapping[tuple[str, str], float]:
    return {(one.case, one.implementation): median(one.samples) for one in run.measurements}


def _gone(root: Path, before: Catalogue, after: Catalogue) -> str:
    try:
        leads = redirects(root)
    except YamlError:
        leads = {}
    lost = sorted(addresses(before) - addresses(after) - leads.keys())
    lines = [f"{_code_span(address)} would be gone; add a redirect in `site/redirects.yaml`" for address in lost]
    return _list("Addresses", lines)


def _code(changed: list[str]) -> str:
    told = []
    for file in changed:
        why = next((why for start, why in SENSITIVE.items() if file.startswith(start)), "")
        if why or not _is_data(file):
            told.append((not why, _code_span(file) + (f": {why}" if why else "")))
    lines = [line for _, line in sorted(told)]  # a long list is cut, so what can do harm comes first
    return _list("Files that are not data: read them line by line", lines)


def _is_data(file: str) -> bool:
    return any(file.startswith(folder) and file.endswith(ends) for folder, ends in DATA.items())
