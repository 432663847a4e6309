"""The loop of every driver in Python: read a request, load the module, make the calls, answer."""

import json
import os
import struct
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

Json = dict[str, Any]
Number = int | float


class RejectedError(Exception):
    """The module was refused: stage `load` or `link`."""

    def __init__(self, stage: str) -> None:
        super().__init__(stage)
        self.stage = stage


class TrappedError(Exception):
    """A call ended in a trap; the engine's words."""


class UnsupportedError(Exception):
    """The engine, or this adapter, has no way to do it."""


class Session(Protocol):
    """An instance of a module."""

    def call(self, export: str, arguments: list[Number], results: list[str]) -> list[Number]:
        """Numbers in and out: integers with sign, floats as such. Raises TrappedError, UnsupportedError."""


Load = Callable[[bytes, Json, "Folder"], Session]


class Folder:
    """What the system interface is given: a folder of files, a file for standard input and one for output."""

    def __init__(self, system: Json | None) -> None:
        self.temporary = tempfile.TemporaryDirectory(prefix="wasm-")
        self.outside = Path(self.temporary.name)
        self.root = self.outside / "root"
        self.root.mkdir()
        self.stdin, self.stdout = self.outside / "stdin", self.outside / "stdout"
        self.arguments: list[str] = system["arguments"] if system else []
        self.environment: dict[str, str] = dict(system["environment"]) if system else {}
        self.stdin.write_bytes(bytes.fromhex(system["stdin"]) if system else b"")
        self.stdout.write_bytes(b"")
        for name, content in system["files"] if system else []:
            (self.root / name).write_bytes(bytes.fromhex(content))

    def ask(self, question: str) -> list[Number]:
        """@stdout and @file:NAME give bytes, @exists:NAME one number."""
        what, _, name = question[1:].partition(":")
        if what == "exists":
            return [int((self.root / name).exists())]
        return [*(self.stdout if what == "stdout" else self.root / name).read_bytes()]


def to_number(type_: str, bits: int) -> Number:
    """Raw bits to what engines take."""
    size = int(type_[1:])
    if type_[0] == "i":
        return bits - (1 << size) if bits >> (size - 1) else bits
    found: float = struct.unpack("<f" if size == 32 else "<d", bits.to_bytes(size // 8, "little"))[0]
    return found


def to_bits(type_: str, value: Number) -> int:
    """What engines give to raw bits."""
    size = int(type_[1:])
    if type_[0] == "i":
        return int(value) % (1 << size)
    return int.from_bytes(struct.pack("<f" if size == 32 else "<d", value), "little")


def _attempt(action: Callable[[], list[int]]) -> tuple[list[Any], bool]:
    """-> what is written of an outcome, and whether the instance may go on being used"""
    try:
        return ["values", "", [str(value) for value in action()]], True
    except TrappedError as error:
        return ["trap", str(error), []], False
    except RejectedError as error:
        return ["reject", error.stage, []], False
    except UnsupportedError as error:
        return ["unsupported", str(error), []], True
    except RecursionError:
        return ["trap", "host error RecursionError", []], False
    except Exception as error:  # noqa: BLE001 whatever an engine raises that is no trap of its own is an outcome too
        return ["trap", f"host error {type(error).__name__}", []], False


def answer(request: Json, load: Load) -> list[list[Any]]:
    """Outcome of loading, then of each call."""
    outcomes: list[list[Any]] = []
    for _ in range(request["times"]):
        outcomes = _once(request, load)
    return outcomes


def _once(request: Json, load: Load) -> list[list[Any]]:
    folder = Folder(request["system"])
    wasm = bytes.fromhex(request["wasm"])
    sessions: list[Session] = []

    def start() -> list[int]:
        sessions[:] = [load(wasm, request, folder)]
        return []

    loaded, is_loaded = _attempt(start)
    if not is_loaded or loaded[0] == "unsupported":
        return [loaded] * (1 + len(request["calls"]))
    outcomes = [loaded]
    spoils = getattr(sessions[0], "spoilt_by_traps", False)
    for export, arguments, results in request["calls"]:
        outcome, goes_on = _attempt(lambda: _call(sessions[0], folder, export, arguments, results))  # noqa: B023
        outcomes.append(outcome)
        if not goes_on and not request["keeps_instance"] and (spoils or not request["is_stateless"]):
            _attempt(start)
    folder.temporary.cleanup()
    return outcomes


def _call(session: Session, folder: Folder, export: str, arguments: list[list[str]], results: list[str]) -> list[int]:
    if export.startswith("@"):
        return [int(one) for one in folder.ask(export)]
    numbers = [to_number(type_, int(bits)) for type_, bits in arguments]
    found = session.call(export, numbers, results)
    return [to_bits(type_, value) for type_, value in zip(results, found, strict=True)]


def serve(load: Load) -> None:
    """Answer until the input ends. What the engine writes to standard output goes to standard error instead."""
    channel = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        channel.write(json.dumps(answer(json.loads(line), load)) + "\n")
        channel.flush()


def as_list(found: Any) -> list[Number]:
    """None, one value or several, as engines return them."""
    if found is None:
        return []
    return [*found] if isinstance(found, list | tuple) else [found]
