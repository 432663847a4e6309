"""Where measurements go: a journal line as soon as a case is finished, results/<machine>/<suite>.json at the end.

Killing the bench at any moment loses the case that was running and nothing else: the next start reads the journal.
"""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from reference_impls.measurement.case import Ceilings
from scripts.bench.runner import CaseResult
from scripts.catalogue.files import write_atomically

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class RunHead:
    """What all measurements of a run share."""

    suite: str
    command: str
    started: str
    code: dict[str, Any]
    machine: dict[str, Any]
    ceilings: Ceilings


class Journal:
    """The finished cases of a run that may be interrupted: one JSON line each, in build/bench/."""

    def __init__(self, path: Path, head: RunHead) -> None:
        self.path, self.head = path, head
        self.finished: dict[str, CaseResult] = {}
        stored = self._read()
        if stored and self._continues(stored[0]):
            first = stored[0]
            self.head = RunHead(**first | {"ceilings": Ceilings(**first["ceilings"])})
            for line in stored[1:]:
                self.finished[line["case"]] = CaseResult(line["measurements"], line["unavailable"])
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, json.dumps(asdict(head)) + "\n")

    def _read(self) -> list[dict[str, Any]]:
        if not self.path.exists():
            return []
        # A line without its end was being written when the bench was killed.
        whole = [line for line in self.path.read_text("utf-8").splitlines(keepends=True) if line.endswith("\n")]
        return [json.loads(line) for line in whole]

    def _continues(self, first: dict[str, Any]) -> bool:
        """Measurements of other code or another machine are not continued but begun anew."""
        same = ("suite", "code")
        return all(first.get(name) == getattr(self.head, name) for name in same) and (
            first.get("machine", {}).get("name") == self.head.machine["name"]
        )

    def add(self, case: str, result: CaseResult) -> None:
        """Record a finished case so that it survives a kill, or the machine losing power."""
        self.finished[case] = result
        line = {"case": case, "measurements": result.measurements, "unavailable": result.unavailable}
        self._drop_half_a_line()
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(line, allow_nan=False) + "\n")
            stream.flush()
            os.fsync(stream.fileno())

    def _drop_half_a_line(self) -> None:
        content = self.path.read_bytes()
        if content and not content.endswith(b"\n"):
            write_atomically(self.path, content[: content.rfind(b"\n") + 1])


def journals(root: Path, suite: str, code: dict[str, Any]) -> dict[str, Journal]:
    """The journals of a suite that a run of the same code left unfinished, by the machine that they are of."""
    found = {}
    for path in sorted((root / "build" / "bench").glob(f"*-{suite}.jsonl")):
        first = json.loads(path.read_text("utf-8").partition("\n")[0] or "{}")
        if first.get("suite") == suite and first.get("code") == code:
            head = RunHead(**first | {"ceilings": Ceilings(**first["ceilings"])})
            found[head.machine["name"]] = Journal(path, head)
    return found


def write_run(root: Path, head: RunHead, finished: str, results: list[CaseResult]) -> Path:
    """Write results/<machine>/<suite>.json whole; -> its path.

    A run that measured nothing, or fewer cases than are recorded there, goes to build/bench/ instead.
    """
    machine = {name: value for name, value in head.machine.items() if value is not None}
    run: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "suite": head.suite,
        "command": head.command,
        "started": head.started,
        "finished": finished,
        "code": head.code,
        "machine": machine,
        "ceilings": {name: value for name, value in asdict(head.ceilings).items() if value is not None},
        "measurements": [one for result in results for one in result.measurements],
        "unavailable": [one for result in results for one in result.unavailable],
    }
    path = root / "results" / str(machine["name"]) / f"{head.suite}.json"
    measured = {one["case"] for one in run["measurements"]}
    if not measured or not _cases_in(path) <= measured:
        path = root / "build" / "bench" / f"{machine['name']}-{head.suite}.json"
    write_atomically(path, json.dumps(run, indent=1, allow_nan=False) + "\n")
    return path


def _cases_in(path: Path) -> set[str]:
    """The cases that a results file holds, if there is one."""
    if not path.exists():
        return set()
    return {one["case"] for one in json.loads(path.read_text("utf-8"))["measurements"]}
