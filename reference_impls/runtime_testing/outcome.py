"""What a call can end in, and how the many ways in which engines say so become one."""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["values", "trap", "reject", "crash", "timeout", "unsupported"]

TRAPS: dict[str, tuple[str, ...]] = {
    "integer divide by zero": ("divide by zero", "division by zero", "divide_by_zero"),
    "integer overflow": ("integer overflow", "divide result unrepresentable", "float unrepresentable"),
    "invalid conversion to integer": ("invalid conversion", "out of bounds trunc", "out-of-range float"),
    "indirect call mismatch": ("indirect call type", "signature mismatch", "indirect call sig", "null function or"),
    "uninitialized element": ("uninitialized", "uninitialised", "table element is null", "null reference"),
    "out of bounds table": ("undefined element", "table index is out", "out of bounds table", "table out of bounds"),
    "out of bounds memory": ("memory access out", "out of bounds memory", "memory out of bounds"),
    "unaligned atomic": ("unaligned", "misaligned"),
    "stack exhausted": ("stack overflow", "call stack", "stack exhausted", "recursion", "stack size exceeded"),
    "unreachable": ("unreachable",),
    "exit": ("exit with", "exited with", "proc_exit"),
    "host": ("host failed",),
}
"""Kind of a trap: words by which an engine's message is known, lower case; the first kind that fits."""


class Trap(Exception):  # noqa: N818 the specification's word
    """A call that the specification ends."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


@dataclass(frozen=True)
class Outcome:
    """One call, or the loading of a module."""

    kind: Kind
    detail: str = ""
    """Kind of a trap, stage of a rejection, or the engine's own words where they are not known."""
    values: tuple[int, ...] = ()
    """Raw bits."""

    def __str__(self) -> str:
        shown = ", ".join(f"{value:#x}" for value in self.values)
        return " ".join(filter(None, (self.kind, self.detail, shown)))


LOADED = Outcome("values")
"""A module that loaded: no values."""


def values(*found: int) -> Outcome:
    """A call that returned."""
    return Outcome("values", values=found)


def trap(kind: str) -> Outcome:
    """A call that trapped."""
    return Outcome("trap", kind)


def reject(stage: str = "load") -> Outcome:
    """A module that was refused: when it was read (load), or when it was joined to the host (link)."""
    return Outcome("reject", stage)


def trap_kind(message: str) -> str:
    """The kind of a trap by an engine's words; the words themselves where none fits."""
    lower = message.lower()
    return next((kind for kind, words in TRAPS.items() if any(w in lower for w in words)), f"? {message}"[:60])


def read(raw: list[object]) -> Outcome:
    """What a driver wrote: kind, detail, values as decimal numbers."""
    kind, detail, numbers = raw
    assert isinstance(numbers, list)
    found = tuple(int(str(number)) for number in numbers)
    if kind == "trap":
        return Outcome("trap", trap_kind(str(detail)))
    assert kind in ("values", "reject", "unsupported")
    return Outcome(kind, "" if kind == "values" else str(detail)[:60], found)
