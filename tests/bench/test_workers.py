"""Values computed by several processes at once: the same as by one, kept as they come, lost by nobody."""

import json
import multiprocessing
import os
import time

import pytest

pytest.importorskip("torch")

from dataclasses import replace

from reference_impls.measurement.case import Case, Ceilings, Implementation
from scripts.bench import __main__ as bench
from scripts.bench.runner import Budget
from scripts.bench.workers import Job, compute, groups_of

NAMES = [f"made/{part}/{metric}" for part in "abc" for metric in ("bits_per_weight", "perplexity")]


def value_of(name):
    return float(sum(name.encode()))


def case_of(name, step=None):
    step = step or (lambda: value_of(name))
    methods = [
        Implementation(one, role, "simulated", lambda workload, device: step)
        for one, role in (("plain", "baseline"), ("changed", "method"))
    ]
    facts = {"no_limit": "made up", "timed": False, "deterministic": True}
    return Case(name, name, name.rpartition("/")[2], {}, tuple(methods), **facts)


def made_cases():
    return [case_of(name) for name in NAMES]


def process_cases():
    return [case_of(name, lambda: float(os.getpid())) for name in NAMES]


def deadly_cases():
    return [case_of(name, (lambda: os._exit(9)) if "/b/" in name else None) for name in NAMES]


def slow_cases():
    return [case_of(name, lambda: time.sleep(0.2) or 1.0) for name in NAMES]


def job_of(cases):
    return Job(cases, "cpu", 1, Ceilings(), Budget())


def test_cases_that_share_their_preparation_share_a_process_and_not_all_do():
    found = dict(compute(process_cases(), job_of(process_cases), 2))
    ids = {name: found[name].measurements[0]["samples"][0] for name in NAMES}
    for one, other in groups_of(process_cases()):
        assert ids[one] == ids[other]
    assert os.getpid() not in ids.values()


def test_the_cases_of_a_worker_that_dies_do_not_come_and_the_others_do():
    found = dict(compute(deadly_cases(), job_of(deadly_cases), 2))
    assert {"made/a/perplexity", "made/c/perplexity"} <= found.keys()
    assert not [name for name in found if "/b/" in name]


def test_stopping_ends_the_workers():
    answers = compute(slow_cases(), job_of(slow_cases), 2)
    next(answers)
    answers.close()
    for process in multiprocessing.active_children():
        process.join(timeout=30)
        assert not process.is_alive()


def test_the_bench_writes_what_the_workers_found(tmp_path, monkeypatch):
    monkeypatch.setattr(bench, "all_cases", made_cases)
    monkeypatch.setattr(bench, "measure_ceilings", lambda device: Ceilings())
    given = ["--device", "cpu", "--root", str(tmp_path), "--workers", "2"]
    assert bench.main(given) == 0
    [file] = tmp_path.glob("results/*/made.json")
    found = {one["case"]: one["samples"] for one in json.loads(file.read_text())["measurements"]}
    assert found == {name: [value_of(name)] for name in NAMES}


def test_what_is_timed_is_not_deterministic():
    with pytest.raises(ValueError, match="not deterministic"):
        replace(made_cases()[0], timed=True)


def test_a_worker_can_import_what_finds_the_cases():
    """Under `python -m scripts.bench`, what its `__main__` defines has a name that no other process can import."""
    assert bench.all_cases.__module__ == "scripts.bench.cases"
