"""Record the events of a function, replay them under a clock of our own, and break things on purpose.

Paper: arXiv 2207.13263 ("Software Engineering for Serverless Computing" names testing and debugging; the harness is
    ours).
Idea: a function's result depends on its event, the clock, a store, and what goes wrong. All four are given to it, so a
    run can be repeated byte for byte, with or without faults.
Symbols: nothing beyond the records' fields.
Simplified: one instance, one event at a time; time passes only when a function says so or a fault lets it.
Differs: the paper describes no mechanism. Deliveries are at least once, as most platforms promise: an attempt that
    failed is delivered again.
Cost: one copy of the store a write.
Checked against: a hundred events replayed twice, byte by byte; functions that are known to be idempotent and not.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from reference_impls.serverless import Event, Response

Kind = Literal["timeout", "duplicate", "partial-write", "out-of-memory"]
KINDS: tuple[Kind, ...] = ("timeout", "duplicate", "partial-write", "out-of-memory")
ATTEMPTS = 3


class TimedOutError(Exception):
    """The platform ended the attempt; what it wrote before stays written."""


class WriteCutError(Exception):
    """The attempt died in the middle of a write."""


@dataclass
class Clock:
    """Seconds that pass when somebody says so."""

    now_s: float = 0.0

    def sleep(self, seconds: float) -> None:
        """Let them pass."""
        self.now_s += seconds


@dataclass
class Store:
    """Bytes by name that outlive an invocation. `cut`: the next write ends half way and fails."""

    held: dict[str, bytes] = field(default_factory=dict)
    cut: bool = False

    def read(self, name: str) -> bytes | None:
        """What was written, or None."""
        return self.held.get(name)

    def write(self, name: str, data: bytes) -> None:
        """In place, as a careless function does it."""
        if self.cut:
            self.cut = False
            self.held[name] = data[: len(data) // 2]
            raise WriteCutError(name)
        self.held[name] = data

    def replace(self, name: str, data: bytes) -> None:
        """All or nothing: to another name, then renamed; a cut leaves the old bytes."""
        temporary = f"{name}.new"
        self.write(temporary, data)
        self.held[name] = self.held.pop(temporary)


@dataclass
class Context:
    """What a function gets beside its event. id: the same whenever the same event is delivered again."""

    id: str
    clock: Clock
    store: Store
    deadline_s: float

    def checkpoint(self) -> None:
        """Where a platform may end an attempt: raises TimedOutError once the deadline has passed."""
        if self.clock.now_s > self.deadline_s:
            raise TimedOutError(self.id)


Function = Callable[[Event, Context], Response]


@dataclass(frozen=True)
class Recorded:
    """One event of a recording: when it came, and what it was."""

    id: str
    at_s: float
    event: Mapping[str, Any]


@dataclass(frozen=True)
class Fault:
    """What goes wrong at the first attempt of the event with this place in the recording."""

    at: int
    kind: Kind


def dump(events: Iterable[Recorded]) -> str:
    """A recording as lines of JSON, keys sorted."""
    lines = ({"at_s": one.at_s, "event": dict(one.event), "id": one.id} for one in events)
    return "".join(json.dumps(line, sort_keys=True) + "\n" for line in lines)


def parse(text: str) -> list[Recorded]:
    """What `dump` wrote."""
    return [Recorded(**json.loads(line)) for line in text.splitlines()]


def replay(
    function: Function,
    events: Sequence[Recorded],
    faults: Iterable[Fault] = (),
    timeout_s: float = 30.0,
    store: Store | None = None,
) -> str:
    """Deliver every event in its order, each until it succeeds or ATTEMPTS are used. -> the log, lines of JSON"""
    store, clock = store or Store(), Clock()
    planned = {fault.at: fault.kind for fault in faults}
    log = []
    for place, one in enumerate(events):
        clock.now_s = max(clock.now_s, one.at_s)
        kind = planned.get(place)
        for attempt in range(ATTEMPTS):
            outcome = _attempt(function, one, clock, store, timeout_s, kind if attempt == 0 else None)
            log.append({"id": one.id, "attempt": attempt, "at_s": clock.now_s, **outcome})
            if "response" in outcome and not (kind == "duplicate" and attempt == 0):
                break
    return "".join(json.dumps(line, sort_keys=True) + "\n" for line in log)


def _attempt(
    function: Function, one: Recorded, clock: Clock, store: Store, timeout_s: float, kind: Kind | None
) -> dict[str, Any]:
    context = Context(one.id, clock, store, clock.now_s + timeout_s)
    store.cut = kind == "partial-write"
    if kind == "timeout":
        clock.sleep(2 * timeout_s)
    try:
        if kind == "out-of-memory":
            raise MemoryError("injected")
        response = function(one.event, context)
        context.checkpoint()  # whoever never looks at the clock is ended all the same, after its writes
    except Exception as error:  # noqa: BLE001 whatever a function raises is what the log is about
        return {"error": type(error).__name__}
    finally:
        store.cut = False
    return {"response": response}


@dataclass(frozen=True)
class Verdict:
    """Whether faults left the same store and the same answers as an undisturbed run; else what differs."""

    idempotent: bool
    differs: tuple[str, ...]


def check_idempotence(function: Function, events: Sequence[Recorded], faults: Iterable[Fault]) -> Verdict:
    """Replay undisturbed and with the faults, and compare the stores and the last answer to each event."""
    plain, disturbed = Store(), Store()
    before = _answers(replay(function, events, store=plain))
    after = _answers(replay(function, events, faults, store=disturbed))
    names = plain.held.keys() | disturbed.held.keys()
    stored = [f"store {name}" for name in sorted(names) if plain.held.get(name) != disturbed.held.get(name)]
    answered = [f"answer {one}" for one in sorted(before) if before[one] != after.get(one)]
    return Verdict(not stored and not answered, (*stored, *answered))


def _answers(log: str) -> dict[str, Any]:
    lines = [json.loads(line) for line in log.splitlines()]
    return {line["id"]: line.get("response", line.get("error")) for line in lines}
