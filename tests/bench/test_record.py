"""The journal and the results file: a kill at any moment loses no finished case."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("torch")

from reference_impls.measurement.case import Ceilings
from scripts.bench.record import Journal, RunHead, write_run
from scripts.bench.runner import CaseResult

HEAD = RunHead(
    "s", "bench s", "2026-01-01T00:00:00+00:00", {"commit": "c", "dirty": False}, {"name": "m"}, Ceilings(1.0)
)
ROOT = Path(__file__).resolve().parents[2]

WRITER = """
import sys, time
from pathlib import Path
from tests.bench.test_record import HEAD
from scripts.bench.record import Journal
from scripts.bench.runner import CaseResult
journal = Journal(Path(sys.argv[1]), HEAD)
for number in range(len(journal.finished), 100000):
    journal.add(f"s/{number}", CaseResult([{"samples": [float(number)] * 200}]))
    print(number, flush=True)
"""


def test_a_journal_gives_back_what_was_finished(tmp_path):
    journal = Journal(tmp_path / "j", HEAD)
    journal.add("s/a", CaseResult([{"x": 1}], [{"reason": "r"}]))
    again = Journal(tmp_path / "j", replace(HEAD, started="later"))
    assert again.finished == {"s/a": CaseResult([{"x": 1}], [{"reason": "r"}])}
    assert again.head.started == HEAD.started  # one run, begun once
    assert again.head.ceilings == HEAD.ceilings


@pytest.mark.parametrize("change", [{"code": {"commit": "d", "dirty": False}}, {"machine": {"name": "n"}}])
def test_other_code_or_another_machine_begins_anew(tmp_path, change):
    Journal(tmp_path / "j", HEAD).add("s/a", CaseResult([{"x": 1}]))
    assert Journal(tmp_path / "j", replace(HEAD, **change)).finished == {}


def test_half_a_line_is_dropped_and_the_rest_kept(tmp_path):
    Journal(tmp_path / "j", HEAD).add("s/a", CaseResult([{"x": 1}]))
    with (tmp_path / "j").open("a") as stream:
        stream.write('{"case": "s/b", "measu')
    journal = Journal(tmp_path / "j", HEAD)
    journal.add("s/c", CaseResult([{"x": 3}]))
    assert set(Journal(tmp_path / "j", HEAD).finished) == {"s/a", "s/c"}


def test_killing_the_writer_at_any_moment_loses_no_finished_case(tmp_path):
    path = tmp_path / "j"
    finished = 0
    for pause in (0.05, 0.21, 0.13):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path)], cwd=ROOT, stdout=subprocess.PIPE, text=True, env=os.environ
        )
        first = int(process.stdout.readline())  # it runs, and has finished one
        time.sleep(pause)
        process.send_signal(signal.SIGKILL)
        said = process.stdout.read().split()
        process.wait()
        finished = max([finished, first + 1, *(int(word) + 1 for word in said)])
        kept = Journal(path, HEAD).finished
        assert len(kept) >= finished
        assert all(result.measurements[0]["samples"] == [float(name[2:])] * 200 for name, result in kept.items())
    assert finished > 0


def test_a_run_file_holds_every_measurement_and_is_written_whole(tmp_path):
    results = [CaseResult([{"case": "s/a"}], []), CaseResult([], [{"reason": "r"}])]
    path = write_run(tmp_path, HEAD, "2026-01-01T00:01:00+00:00", results)
    assert path == tmp_path / "results" / "m" / "s.json"
    run = json.loads(path.read_text())
    assert run["measurements"] == [{"case": "s/a"}]
    assert run["unavailable"] == [{"reason": "r"}]
    assert run["ceilings"] == {"copy_bytes_per_s": 1.0}
    assert [item.name for item in path.parent.iterdir()] == ["s.json"]


def test_a_run_of_fewer_cases_does_not_replace_a_fuller_record(tmp_path):
    both = [CaseResult([{"case": "s/a"}]), CaseResult([{"case": "s/b"}])]
    full = write_run(tmp_path, HEAD, "2026-01-01T00:01:00+00:00", both)
    part = write_run(tmp_path, HEAD, "2026-01-01T00:02:00+00:00", both[:1])
    assert part == tmp_path / "build" / "bench" / "m-s.json"
    assert len(json.loads(full.read_text())["measurements"]) == 2
    assert write_run(tmp_path, HEAD, "2026-01-01T00:03:00+00:00", both) == full
