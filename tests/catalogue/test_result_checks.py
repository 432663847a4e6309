"""Results come from strangers: a file that contradicts itself, physics or the history is refused with its reason."""

import json
import subprocess
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest

from scripts.catalogue.git import open_git
from tests.builders import checkout, complaints

FILE = "results/box/quantization.json"
HEX = "a" * 40
Run = dict[str, Any]


def measurement(implementation: str = "rtn", role: str = "method", **changed: Any) -> dict[str, Any]:
    return {
        "case": "quantization/linear",
        "implementation": implementation,
        "role": role,
        "effect": "packed",
        "module": "rtn" if role == "method" else None,
        "workload": {"in": 64, "out": 64},
        "metric": "step_time",
        "unit": "s",
        "better": "lower",
        "samples": [0.011, 0.012, 0.0115],
        "first": 0.02,
        "warmup": 3,
        "rounds": 3,
        "converged": True,
        "stop_reason": "converged",
        "seed": 0,
        "limit": {"value": 0.01, "formula": "bytes / copy bandwidth"},
        "no_limit": None,
        "quality": None,
        "energy_j": None,
        "throttled": False,
        "note": None,
    } | changed


def run() -> Run:
    return {
        "schema_version": 1,
        "suite": "quantization",
        "command": "python -m scripts.bench quantization",
        "started": "2026-01-01T00:00:00+00:00",
        "finished": "2026-01-01T00:10:00+00:00",
        "code": {"commit": HEX, "dirty": False},
        "machine": {
            "name": "box",
            "cpu": "A CPU",
            "cores": 2,
            "memory_bytes": 2**33,
            "os": "Linux 6",
            "python": "3.11.7",
            "torch": "2.13.0",
            "threads": 1,
        },
        "ceilings": {"copy_bytes_per_s": 1e10, "matmul_flops_per_s": {"float32": 1e11}},
        "measurements": [measurement(), measurement("dense", "baseline")],
    }


def told(tmp_path, content: Run | str, file: str = FILE) -> list[str]:
    text = content if isinstance(content, str) else json.dumps(content)
    return complaints(checkout(tmp_path, {file: text}))


def changed(change: Callable[[Run], Any]) -> Run:
    one = deepcopy(run())
    change(one)
    return one


def first(**fields: Any) -> Callable[[Run], Any]:
    return lambda one: one["measurements"][0].update(fields)


def test_a_run_as_the_bench_writes_it_is_accepted(tmp_path):
    assert told(tmp_path, run()) == []


BROKEN: list[tuple[str, Callable[[Run], Any], str]] = [
    # what the schema refuses
    ("unknown field", lambda one: one.update(author="me"), "author: unknown field"),
    ("unknown field of a measurement", first(speed="fast"), "measurements.0.speed: unknown field"),
    ("no machine", lambda one: one.pop("machine"), "machine: is required"),
    ("no samples field", lambda one: one["measurements"][0].pop("samples"), "measurements.0.samples: is required"),
    ("samples empty", first(samples=[], rounds=1), "measurements.0.samples: is empty"),
    ("sample is a word", first(samples=["fast"]), "measurements.0.samples.0"),
    ("unknown metric", first(metric="speed"), 'unknown metric "speed"'),
    ("unknown role", first(role="winner"), "measurements.0.role"),
    ("unknown effect", first(effect="magic"), "measurements.0.effect"),
    ("module with a path", first(module="../../etc"), "measurements.0.module"),
    ("better upside down", first(better="more"), "measurements.0.better: expected one of higher, lower, neither"),
    ("schema of the future", lambda one: one.update(schema_version=2), "schema_version"),
    ("suite with a path", lambda one: one.update(suite="../x"), "suite"),
    ("machine with a path", lambda one: one["machine"].update(name="../x"), "machine.name"),
    ("no cores", lambda one: one["machine"].update(cores=0), "machine.cores"),
    ("time without a zone", lambda one: one.update(started="2026-01-01T00:00:00"), "started"),
    ("markup in the command", lambda one: one.update(command="<script>alert(1)</script>"), "command: holds markup"),
    ("markup in a note", first(note="<img src=x onerror=alert(1)>"), "note: holds markup"),
    ("hidden text in a note", first(note="a\u202eb"), "invisible character U+202E"),
    ("nested workload", first(workload={"in": {"deep": 1}}), "workload"),
    ("tree that is no hash", lambda one: one["code"].update(trees={"reference_impls": "x"}), "trees"),
    # what contradicts itself
    ("another place", lambda one: one["machine"].update(name="other"), "move it to results/other/quantization.json"),
    ("ends before it begins", lambda one: one.update(finished="2025-12-31T00:00:00+00:00"), "finished: lies before"),
    (
        "from the future",
        lambda one: one.update(started="2120-01-01T00:00:00+00:00", finished="2120-01-02T00:00:00+00:00"),
        "finished: lies in the future, 2120-01-02",
    ),
    ("nothing measured", lambda one: one.update(measurements=[]), "measurements: is empty"),
    ("twice the same", lambda one: one["measurements"].append(measurement()), "rtn stands 2 times in"),
    ("no baseline", lambda one: one["measurements"].pop(), "has 0 baselines where one is needed"),
    ("two baselines", first(role="baseline", module=None), "has 2 baselines where one is needed"),
    (
        "two metrics",
        first(metric="ttft", limit=None),
        "mixes metrics: step_time, ttft",
    ),
    ("of another suite", first(case="pruning/x"), "pruning/x is of another suite than quantization"),
    ("unit of another metric", first(unit="ms"), "ms, lower where step_time has s, lower"),
    ("direction of another metric", first(better="higher"), "s, higher where step_time has s, lower"),
    ("rounds that are not there", first(rounds=300), "300 rounds but 3 samples"),
    ("converged by word alone", first(stop_reason="max_seconds"), "stop_reason max_seconds with converged true"),
    ("reason of its own", first(stop_reason="good enough"), "stop_reason good enough with converged true"),
    ("negative time", first(samples=[0.011, -0.012, 0.0115]), "-0.012 s, but it must be above zero"),
    ("no time at all", first(first=0.0), "0 s, but it must be above zero"),
    ("ceiling of zero", lambda one: one["ceilings"].update(copy_bytes_per_s=0), "ceilings: a ceiling is not"),
    (
        "the same number again and again",
        first(samples=[0.012] * 30, first=0.012, rounds=30),
        "30 timed samples are all 0.012",
    ),
    ("faster than physics", first(samples=[0.005, 0.0051, 0.0049]), "passes the limit of 0.01 s by 100 %"),
]


@pytest.mark.parametrize(("change", "message"), [row[1:] for row in BROKEN], ids=[row[0] for row in BROKEN])
def test_a_broken_run_is_refused_with_its_reason(tmp_path, change, message):
    found = told(tmp_path, changed(change))
    assert any(message in line for line in found), found
    assert all(line.startswith(f"{FILE}:1:1: ") for line in found)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "not valid JSON"),
        ('{"schema_version": 1', "not valid JSON"),
        ("[]", "expected a mapping"),
        (" " * (16 * 2**20 + 1), "16,777,217 bytes; 16,777,216 at most"),
        (json.dumps(run()).replace("0.0115", "NaN", 1), "should be a finite number"),
        (json.dumps(run()).replace("0.0115", "Infinity", 1), "should be a finite number"),
    ],
)
def test_what_is_no_run_is_refused(tmp_path, content, message):
    assert any(message in line for line in told(tmp_path, content))


@pytest.mark.parametrize(
    ("metric", "value", "message"),
    [
        ("accuracy", 140.0, "outside 0 to 100"),
        ("perplexity", 0.4, "outside 1 to inf"),
        ("recall", 1.2, "outside 0 to 1"),
    ],
)
def test_a_value_that_cannot_be_is_refused(tmp_path, metric, value, message):
    from scripts.catalogue.vocabulary import METRICS

    fields = {
        "metric": metric,
        "unit": METRICS[metric].unit,
        "better": METRICS[metric].better,
        "samples": [value],
        "first": value,
        "rounds": 1,
        "stop_reason": "deterministic",
        "limit": None,
        "no_limit": "none",
    }
    one = run() | {"measurements": [measurement(**fields), measurement("dense", "baseline", **fields)]}
    assert any(message in line for line in told(tmp_path, one))


def test_a_tampered_sample_set_that_beats_the_limit_is_caught_and_the_true_one_is_not(tmp_path):
    honest = run()
    assert told(tmp_path / "honest", honest) == []
    tampered = changed(lambda one: one["measurements"][0].update(samples=[s / 3 for s in (0.011, 0.012, 0.0115)]))
    assert any("passes the limit" in line for line in told(tmp_path / "tampered", tampered))


def test_a_rate_may_not_pass_its_limit_either(tmp_path):
    rate = {
        "metric": "decode_throughput",
        "unit": "tokens/s",
        "better": "higher",
        "samples": [90.0, 95.0, 130.0],
        "first": 80.0,
        "limit": {"value": 100.0, "formula": "bandwidth / bytes"},
    }
    both = [measurement(**rate), measurement("dense", "baseline", **rate)]
    assert told(tmp_path / "a", run() | {"measurements": both}) == []  # one fast sample is noise, the median is not
    both[0] = measurement(**rate | {"samples": [130.0, 135.0, 90.0]})
    assert any(
        "passes the limit of 100 tokens/s by 30 %" in x for x in told(tmp_path / "b", run() | {"measurements": both})
    )


def _git(root, *words: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", "-C", str(root), *identity, *words], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def _repository(tmp_path):
    root = checkout(tmp_path, {"reference_impls/quantization/__init__.py": '"""A family."""\n'})
    _git(root, "init", "-q", "-b", "main")
    _git(root, "add", "-A")
    _git(root, "commit", "-q", "-m", "first")
    return root


def test_code_that_nobody_can_look_at_is_refused(tmp_path):
    root = _repository(tmp_path)
    (root / FILE).parent.mkdir(parents=True)
    commit, tree = _git(root, "rev-parse", "HEAD"), _git(root, "rev-parse", "HEAD:reference_impls/quantization")
    for code, message in (
        ({"commit": commit, "dirty": False}, None),
        ({"commit": commit, "dirty": False, "trees": {"reference_impls/quantization": tree}}, None),
        ({"commit": commit, "dirty": True}, "code.dirty: the code measured was not committed"),
        ({"commit": HEX, "dirty": False}, f"code.commit: {HEX[:12]} is not in the history"),
        ({"commit": "unknown", "dirty": False}, "code.commit: unknown is not in the history"),
        ({"commit": "--upload-pack=x", "dirty": False}, "is not in the history"),
        ({"commit": commit, "dirty": False, "trees": {"reference_impls/quantization": HEX}}, "is not the code that"),
    ):
        (root / FILE).write_text(json.dumps(run() | {"code": code}))
        found = complaints(root)
        assert (found == []) if message is None else any(message in line for line in found), (code, found)


def test_each_folder_is_told_apart_from_those_that_are_not_there(tmp_path):
    root = _repository(tmp_path)
    (root / FILE).parent.mkdir(parents=True)
    commit, tree = _git(root, "rev-parse", "HEAD"), _git(root, "rev-parse", "HEAD:reference_impls/quantization")
    folders = [
        "a folder with blanks",
        "reference_impls/quantization",
        "",
        "reference_impls/gone",
        "--batch-all-objects",
    ]
    wanted = {(commit, "reference_impls/quantization"): tree, (commit, ""): _git(root, "rev-parse", "HEAD^{tree}")}
    git = open_git(root)
    assert git is not None
    assert git.trees([("HEAD", "reference_impls"), *((commit, folder) for folder in folders)]) == wanted
    code = {"commit": commit, "dirty": False, "trees": {"a folder with blanks": tree, folders[1]: tree}}
    (root / FILE).write_text(json.dumps(run() | {"code": code}))
    assert [line for line in complaints(root) if "code.trees" in line and "a folder with blanks at" in line]
    assert not [line for line in complaints(root) if f"{folders[1]} at" in line]


def test_git_is_asked_three_times_however_many_runs_there_are(tmp_path, monkeypatch):
    root = _repository(tmp_path)
    commit, tree = _git(root, "rev-parse", "HEAD"), _git(root, "rev-parse", "HEAD:reference_impls/quantization")
    code = {"commit": commit, "dirty": False, "trees": {"reference_impls/quantization": tree, "reference_impls": HEX}}
    for name in ("box", "crate", "chest"):
        machine = run()["machine"] | {"name": name}
        (root / "results" / name).mkdir(parents=True)
        text = json.dumps(run() | {"code": code, "machine": machine})
        (root / "results" / name / "quantization.json").write_text(text)
    asked = []
    ask = subprocess.run
    monkeypatch.setattr(subprocess, "run", lambda words, **how: asked.append(words[3]) or ask(words, **how))
    found = complaints(root)
    assert sum("reference_impls at" in line for line in found) == 3
    assert sorted(asked) == ["cat-file", "rev-list", "rev-parse"]


def test_a_commit_of_a_branch_that_was_never_merged_is_refused(tmp_path):
    root = _repository(tmp_path)
    _git(root, "checkout", "-q", "-b", "aside")
    _git(root, "commit", "-q", "--allow-empty", "-m", "aside")
    aside = _git(root, "rev-parse", "HEAD")
    _git(root, "checkout", "-q", "main")
    (root / FILE).parent.mkdir(parents=True)
    (root / FILE).write_text(json.dumps(run() | {"code": {"commit": aside, "dirty": False}}))
    assert any("is not in the history" in line for line in complaints(root))


def _two_machines(tmp_path, here: dict[str, Any], there: dict[str, Any]) -> list[str]:
    other = run() | {"measurements": [measurement(**there), measurement("dense", "baseline")]}
    other["machine"] = run()["machine"] | {"name": "other"}
    one = run() | {"measurements": [measurement(**here), measurement("dense", "baseline")]}
    files = {FILE: json.dumps(one), "results/other/quantization.json": json.dumps(other)}
    return complaints(checkout(tmp_path, files))


def test_a_ratio_unlike_that_of_other_machines_is_told_as_a_warning(tmp_path):
    slow = {"samples": [0.11, 0.12, 0.115]}
    found = _two_machines(tmp_path / "a", slow, {})
    assert [line.partition(": ")[0] for line in found] == [f"{FILE}:1:1", "results/other/quantization.json:1:1"]
    assert all("warning: measurements: rtn in quantization/linear" in line for line in found)
    assert "10 times its baseline, 1 times on other machines" in found[0]
    assert _two_machines(tmp_path / "b", {"samples": [0.02, 0.021, 0.022]}, {}) == []  # within what machines differ


def test_a_value_that_repeats_exactly_is_the_same_on_every_machine(tmp_path):
    exact = {"stop_reason": "deterministic", "samples": [12.5], "rounds": 1}
    assert _two_machines(tmp_path / "a", exact, exact) == []
    found = _two_machines(tmp_path / "b", exact | {"samples": [12.0]}, exact)
    assert any(
        "warning: measurements: rtn in quantization/linear: 12 s where other machines have 12.5" in x for x in found
    )


def test_other_workloads_are_not_compared(tmp_path):
    slow = {"samples": [0.11, 0.12, 0.115], "workload": {"in": 128, "out": 64}}
    assert _two_machines(tmp_path, slow, {}) == []
