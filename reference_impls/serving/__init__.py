"""Serving: which requests run in the next iteration, which wait, and where their key/value caches lie meanwhile.

A policy is a module of this package with a frozen dataclass `Config` and a class `Scheduler` made from it; `policies()`
finds them. Its verb is `schedule(state)`: jobs in the order in which they are to be served. `chunked_prefill.compose`
turns that order into a batch, `serve.Server` runs batches until all is done, on a cost model (`simulate.py`) or on a
real model (`engine.py`): policies do not know which. Nothing but the engine needs torch.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from importlib import import_module
from pkgutil import iter_modules
from typing import Any, Literal, Protocol, cast

HEADER_FIELDS = ("Paper", "Idea", "Symbols", "Simplified", "Differs", "Cost", "Checked against")
TORCH_MODULES = ("engine", "bench", "handover")
"""Names whose modules, and those that begin with them, import torch."""

Place = Literal["nowhere", "device", "leaving", "host", "coming"]
"""Where a job's cache lies; leaving and coming: on the way to the host, and back."""


@dataclass(frozen=True)
class Request:
    """One line of a trace. `output` is how many tokens will be made, which only an oracle may know beforehand."""

    id: int
    arrival_s: float
    prompt: int
    output: int

    def __post_init__(self) -> None:
        if not 0 <= self.arrival_s < float("inf") or self.prompt < 1 or self.output < 1:
            raise ValueError(
                f"a request needs a finite arrival of 0 or more and at least one token in and out, got {self}"
            )


@dataclass(slots=True, eq=False)
class Job:
    """A request on its way through the server. Schedulers may read everything but `output`."""

    id: int
    arrival_s: float
    prompt: int
    output: int
    cached: int = 0  # tokens whose keys and values exist
    generated: int = 0
    level: int = 0
    left_s: float = float("inf")  # of the time it may use in this level
    turn: int = 0  # its place among all that ever entered a queue
    waiting_since_s: float = 0.0  # its arrival or the end of its last iteration; inf once it has left
    place: Place = "nowhere"
    blocks: int = 0
    first_token_s: float | None = None
    last_token_s: float = -1.0
    finished_s: float | None = None
    cancelled: bool = False
    refused: str = ""  # why it could never run
    preemptions: int = 0
    demotions: int = 0
    promotions: int = 0

    @property
    def pending(self) -> int:
        """Tokens to pass through the model before the next one appears: 1 in decode, more in prefill."""
        return self.prompt + self.generated - self.cached


@dataclass(frozen=True)
class Limits:
    """What an iteration may hold, and how prompts enter it.

    chunk: the most prompt tokens of one job in one iteration; None passes a prompt whole.
    mixing: "mixed" lets prompts and decodes share an iteration; "separate" gives prompts iterations of their own.
    """

    batch: int = 16
    tokens: int = 2048
    chunk: int | None = None
    mixing: Literal["mixed", "separate"] = "mixed"

    def __post_init__(self) -> None:
        for name in ("batch", "tokens", "chunk"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        if self.mixing not in ("mixed", "separate"):
            raise ValueError(f"mixing must be mixed or separate, got {self.mixing}")


@dataclass(slots=True)
class Batch:
    """One iteration: jobs, the tokens that each passes through the model, and what the cost model asks about them.

    kv_tokens: cached tokens that the iteration reads; passes: of the model, where decodes share one and each longer
    prompt takes its own; pairs: (token, earlier token) that attention looks at within and before the prompts;
    held: jobs that were chosen and let a prompt go first.
    """

    jobs: list[Job] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    prefill_tokens: int = 0
    decoders: int = 0
    kv_tokens: int = 0
    passes: int = 1
    pairs: int = 0
    held: list[Job] = field(default_factory=list)


@dataclass(slots=True)
class State:
    """What a policy may look at: the time, and the predicted seconds of an iteration that passes so many tokens."""

    now: float
    prefill_s: Callable[[int], float]
    batch: int = 16


class Scheduler(Protocol):
    """The face of this family. `preempts`: whether a new arrival may take the place of a job that runs."""

    preempts: bool

    def enter(self, job: Job, state: State) -> None:
        """A job has arrived."""

    def leave(self, job: Job) -> None:
        """A job has finished or was cancelled."""

    def schedule(self, state: State) -> Iterable[Job]:
        """Jobs in the order in which they should be served now, as many as the caller cares to take."""

    def ran(self, batch: Batch, seconds: float, state: State) -> None:
        """These ran for so long, up to now: time to charge them, and to demote."""

    def patience(self, batch: Batch, state: State) -> float:
        """Seconds for which the order stays as it is if nothing arrives or finishes; the end of an iteration counts."""

    def needed(self, job: Job, state: State) -> tuple[float, ...]:
        """When a job that waits will run again, as a key: the largest gives up its memory first."""


class Policy(Protocol):
    """A module with a policy. `Config()` is frozen, with a default for everything."""

    Config: type[Any]
    Scheduler: Callable[[Any], Scheduler]


_FACE = ("Config", "Scheduler")


def policies() -> dict[str, Policy]:
    """Every policy of the family by module name, found by walking the package."""
    names = [found.name for found in iter_modules(__path__) if not found.name.startswith(TORCH_MODULES)]
    modules = {name: import_module(f"{__name__}.{name}") for name in names}
    own = (
        (name, module)
        for name, module in modules.items()
        if all(
            getattr(getattr(module, p, None), "__module__", None) == module.__name__ for p in ("Config", "Scheduler")
        )
    )
    return {name: cast(Policy, module) for name, module in own}
