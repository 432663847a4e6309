"""Driver of WABT's interpreter: a list of actions for `spectest-interp`, and what it prints of each.

Arguments: the folder of its programs.
"""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from reference_impls.runtime_testing.drivers.common import (
    Folder,
    Json,
    Number,
    RejectedError,
    TrappedError,
    UnsupportedError,
    serve,
    to_number,
)

PROGRAM = Path(sys.argv[1] if len(sys.argv) > 1 else ".") / "spectest-interp"
_LINE = re.compile(r"^.*?\(.*\) =>(?: (.*))?$")


class _Session:
    """All calls so far are made again for each: the program keeps no state between two starts."""

    def __init__(self, wasm: bytes, request: Json, folder: Folder) -> None:
        if folder.arguments or b"\x04host" in wasm:
            raise UnsupportedError("no host functions")
        self.planned = request["calls"]
        self.place = 0
        self.keeps = request["keeps_instance"] or request["is_stateless"]
        self.lines: list[str] = []
        with tempfile.TemporaryDirectory(prefix="wabt-") as name:
            self.answers = self._run(Path(name), wasm)

    def _run(self, folder: Path, wasm: bytes) -> list[str]:
        (folder / "a.wasm").write_bytes(wasm)
        commands: list[Json] = [{"type": "module", "line": 0, "filename": "a.wasm"}]
        for number, (export, arguments, _) in enumerate(self.planned, 1):
            if export.startswith("@"):
                continue
            given = [{"type": type_, "value": bits} for type_, bits in arguments]
            action = {"type": "invoke", "field": export, "args": given}
            commands.append({"type": "action", "line": number, "action": action, "expected": []})
            if not self.keeps:
                commands.append({"type": "module", "line": 0, "filename": "a.wasm"})
        (folder / "a.json").write_text(json.dumps({"source_filename": "a", "commands": commands}))
        done = subprocess.run([PROGRAM, "--enable-threads", folder / "a.json"], capture_output=True, text=True)
        if done.returncode < 0:
            raise SystemExit(3)
        first = done.stdout.split("\n", 1)[0]
        if "error" in first and "=>" not in first:
            stage = "link" if "import" in first else "load"
            if "trap" in first or "out of bounds" in first or "unreachable executed" in first:
                raise TrappedError(first)
            raise RejectedError(stage)
        return [found.group(1) or "" for line in done.stdout.splitlines() if (found := _LINE.match(line))]

    def call(self, export: str, arguments: list[Number], results: list[str]) -> list[Number]:  # noqa: ARG002
        text = self.answers.pop(0)
        if text.startswith("error: "):
            raise TrappedError(text[7:])
        return [_value(type_, word) for type_, word in zip(results, text.split(", ") if text else [], strict=True)]


def _value(type_: str, word: str) -> Number:
    """ "i32:5", or "f32:1.5" """
    text = word.partition(":")[2]
    if type_[0] == "i":
        return to_number(type_, int(text) % 2 ** int(type_[1:]))
    return float(text.replace("nan:0x", "nan").partition("nan0")[0]) if "nan" not in text else float("nan")


_CURRENT: list[tuple[Json, _Session]] = []


def load(wasm: bytes, request: Json, folder: Folder) -> _Session:
    """See `common.Load`. After a trap the same session goes on: it began a fresh instance for every call."""
    if not _CURRENT or _CURRENT[0][0] is not request or not _CURRENT[0][1].answers:
        _CURRENT[:] = [(request, _Session(wasm, request, folder))]
    return _CURRENT[0][1]


if __name__ == "__main__":
    serve(load)
