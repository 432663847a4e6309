"""A real cluster of three nodes in this machine: what dies is run again, and nothing is recorded twice.

Slow: starting the nodes takes half a minute. `make test-slow` runs it where Ray is installed (the extra `ray`).
"""

import json
import os
import time
from pathlib import Path

import pytest

pytest.importorskip("torch")

from reference_impls.measurement.case import Ceilings
from scripts.bench.cases import all_cases
from scripts.bench.cluster import ClusterError, Demand, run_on_cluster, spread
from scripts.bench.machine import code_facts
from scripts.bench.record import Journal, RunHead
from scripts.bench.runner import Budget, CaseResult

ROOT = Path(__file__).resolve().parents[2]
QUICK = "low_rank/tiny-target/kept-90/weight_bytes", "low_rank/tiny-target/kept-60/weight_bytes"


def test_without_ray_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(ClusterError, match=r"pip install 'frugalfm\[ray\]'"):
        next(spread(len, [("a",)], "local", root=ROOT))


def test_an_unfinished_journal_of_other_code_is_not_continued(tmp_path):
    from scripts.bench.record import journals

    head = RunHead("s", "c", "2026-01-01T00:00:00+00:00", {"commit": "a"}, {"name": "m"}, Ceilings())
    Journal(tmp_path / "build/bench/m-s.jsonl", head).add("s/x", CaseResult())
    assert [*journals(tmp_path, "s", {"commit": "a"})] == ["m"]
    assert journals(tmp_path, "s", {"commit": "b"}) == {}
    assert journals(tmp_path, "t", {"commit": "a"}) == {}


@pytest.fixture(scope="module")
def cluster():
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    os.environ["PYTHONPATH"] = str(ROOT)
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    made.add_node(num_cpus=1)
    made.victim = made.add_node(num_cpus=1)
    made.wait_for_nodes()
    ray.init(address=made.address, log_to_driver=False, logging_level="error")
    yield made
    ray.shutdown()
    made.shutdown()
    del os.environ["PYTHONPATH"]


def _mark(folder: str, number: int, seconds: float) -> tuple[int, str]:
    """Say that it began, and on which node; take its time."""
    import ray

    node = ray.get_runtime_context().get_node_id()
    with (Path(folder) / f"began-{number}").open("a") as stream:
        stream.write(f"{node} {os.getpid()}\n")
    time.sleep(seconds)
    return number, node


def _double(number: int) -> int:
    if number == 3:
        raise ValueError("three is refused")
    return 2 * number


def _die_once(folder: str, number: int) -> int:
    mark = Path(folder) / f"died-{number}"
    if number % 2 and not mark.exists():
        mark.touch()
        os._exit(1)  # as the kernel would end a worker that takes too much memory
    return number


@pytest.mark.slow
def test_a_node_killed_while_it_works_loses_no_case_and_doubles_none(cluster, tmp_path):
    items = [(str(tmp_path), number, 1.0) for number in range(9)]
    seen: list[int] = []
    killed = False
    for index, outcome in spread(_mark, items, "auto", root=ROOT):
        assert outcome[0] == index
        seen.append(index)
        if not killed:
            cluster.remove_node(cluster.victim, allow_graceful=False)
            killed = True
    assert sorted(seen) == list(range(9))
    begun = [len((tmp_path / f"began-{number}").read_text().splitlines()) for number in range(9)]
    assert sum(begun) >= 9
    assert max(begun) <= 3


@pytest.mark.slow
def test_a_worker_that_dies_is_replaced_and_an_error_is_an_answer(cluster, tmp_path):
    outcomes = dict(spread(_die_once, [(str(tmp_path), number) for number in range(4)], "auto", root=ROOT))
    assert outcomes == {number: number for number in range(4)}
    answers = dict(spread(_double, [(number,) for number in range(5)], "auto", root=ROOT))
    assert [answers[number] for number in (0, 1, 2, 4)] == [0, 2, 4, 8]
    assert "three is refused" in str(answers[3])


@pytest.mark.slow
def test_stopping_cancels_what_still_runs(cluster, tmp_path):
    items = [(str(tmp_path), number, 0.1 if number == 0 else 30.0) for number in range(6)]
    answers = spread(_mark, items, "auto", root=ROOT)
    next(answers)
    answers.close()  # as Ctrl-C does
    pids = [int(line.split()[1]) for path in tmp_path.glob("began-*") for line in path.read_text().splitlines()]
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and _working(pids):
        time.sleep(0.2)
    assert _working(pids) == []


def _working(pids: list[int]) -> list[int]:
    """Those of the processes that still run a task of this test; idle workers are named otherwise."""
    found = []
    for pid in pids:
        try:
            if b"_mark" in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(pid)
        except OSError:
            continue
    return found


@pytest.mark.slow
def test_cases_are_measured_on_nodes_and_recorded_once(cluster, tmp_path):
    cases = [case for case in all_cases() if case.id in QUICK]
    said: list[str] = []
    head = RunHead("low_rank", "bench", "2026-01-01T00:00:00+00:00", code_facts(ROOT, "low_rank"), {}, Ceilings())
    [path] = run_on_cluster(cases, Demand("cpu"), Budget(max_seconds=2), head, "auto", tmp_path, said.append)
    run = json.loads(path.read_text())
    assert sorted({one["case"] for one in run["measurements"]}) == sorted(QUICK)
    pairs = [(one["case"], one["implementation"]) for one in run["measurements"]]
    assert len(pairs) == len(set(pairs))
    assert run["ceilings"]["copy_bytes_per_s"] > 0
    assert run["machine"]["torch"]
    assert len([line for line in said if line.startswith("[")]) == len(QUICK)
