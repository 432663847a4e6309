"""The whole command, killed at any moment and started again: nothing finished is lost or done twice."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("torch")

CHECKOUT = Path(__file__).resolve().parents[2]
NAMES = [f"s/c/{letter}" for letter in "ab"]

# The bench with four cases of its own and ceilings that take no time; each step leaves a mark in a log.
BENCH = """
import sys, time
from pathlib import Path
from scripts.bench import __main__ as bench
from reference_impls.measurement.case import Case, Ceilings, Implementation, Limit

log = Path(sys.argv[1]) / "log"

def implementation(case, name, role, seconds):
    def prepare(workload, device):
        with log.open("a") as stream:
            stream.write(f"{case} {name}\\\\n")
        return lambda: time.sleep(seconds)
    limit = lambda workload, ceilings: Limit(1 / ceilings.read_bytes_per_s, "1 B / bandwidth")
    return Implementation(name, role, "kernel", prepare, limit=limit, module=None if role == "baseline" else "m")

def cases():
    pairs = (("fast", "method", 0.001), ("slow", "baseline", 0.002))
    return [
        Case(f"s/c/{letter}", letter, "step_time", {}, tuple(implementation(letter, *one) for one in pairs), True)
        for letter in "ab"
    ]

bench.all_cases = cases
bench.measure_ceilings = lambda device: Ceilings(read_bytes_per_s=100.0)
sys.exit(bench.main(["--device", "cpu", "--root", sys.argv[1], "--seconds", "0.4"]))
"""


def start(root):
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-c", BENCH.replace("\\\\n", "\\n"), str(root)],
        cwd=CHECKOUT,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def finished_in(root):
    """The cases whose line is whole in the journal."""
    journals = list((root / "build" / "bench").glob("*.jsonl"))
    lines = journals[0].read_text().splitlines(keepends=True)[1:] if journals else []
    return {json.loads(line)["case"]: line for line in lines if line.endswith("\n")}


def shape_of(value):
    """Names and types of a result, without its numbers."""
    if isinstance(value, dict):
        return {name: shape_of(part) for name, part in value.items() if name != "load_average"}
    if isinstance(value, list):
        return [shape_of(value[0])] if value and isinstance(value[0], float) else [shape_of(part) for part in value]
    return value if isinstance(value, str) and ":" not in value and "--" not in value else type(value).__name__


def result_of(root):
    [path] = (root / "results").glob("*/s.json")
    run = json.loads(path.read_text())
    for one in run["measurements"]:  # whether the rule or the clock ended a case is a matter of the machine's load
        one |= {"stop_reason": "", "converged": True}
    return run


@pytest.fixture(scope="module")
def unkilled(tmp_path_factory):
    root = tmp_path_factory.mktemp("whole")
    process = start(root)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 0, said
    return result_of(root)


@pytest.mark.parametrize("seed", range(3))
def test_a_killed_run_goes_on_where_it_was(tmp_path, unkilled, seed):
    chance = random.Random(seed)
    process = start(tmp_path)
    while not (tmp_path / "log").exists() and process.poll() is None:
        time.sleep(0.01)  # importing torch, before which there is nothing to lose
    time.sleep(chance.uniform(0, 1.2))
    process.send_signal(signal.SIGKILL)
    process.communicate()
    before = finished_in(tmp_path)
    already = (tmp_path / "log").read_text().split("\n")
    done = list((tmp_path / "results").glob("*/s.json"))
    if not done:
        again = start(tmp_path)
        _, said = again.communicate(timeout=120)
        assert again.returncode == 0, said
        for case in before:
            assert f"{case}: finished before, kept" in said
    assert not finished_in(tmp_path)  # the journal is gone once the run is written
    run = result_of(tmp_path)
    assert shape_of(run) == shape_of(unkilled)
    keys = [(one["case"], one["implementation"]) for one in run["measurements"]]
    assert sorted(keys) == sorted({(name, way) for name in NAMES for way in ("fast", "slow")})
    for case, line in before.items():  # to the last digit, and not measured again
        kept = [one["samples"] for one in json.loads(line)["measurements"]]
        assert kept == [one["samples"] for one in run["measurements"] if one["case"] == case]
        later = (tmp_path / "log").read_text().split("\n")[len(already) - 1 :]
        assert not any(one.startswith(case[-1] + " ") for one in later)
