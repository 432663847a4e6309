"""Serverless: a small model served as a function, and the engineering around it; one part a module.

A function is a handler, a model and a `Config`. The handler is a class with the four methods of `Handler`; `runner`
starts it in a process of its own under the limits that the config states, and times every phase. The other modules
price it (`cost`), choose its memory (`memory_tuning`), keep it warm (`keep_alive`), check its configuration
(`config_check`), replay its events (`replay`), look for leaks (`data_security`) and move it to another platform
(`adapters`). Nothing here imports torch before a handler asks for it: that would be part of every cold start.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from pkgutil import iter_modules
from typing import Any, Final, Protocol

HEADER_FIELDS = ("Paper", "Idea", "Symbols", "Simplified", "Differs", "Cost", "Checked against")
MEMORY_OF_ONE_CORE: Final = 1769
"""Megabytes at which a function has one whole core; below, its share of a core is in proportion."""

Event = Mapping[str, Any]
Response = dict[str, Any]


class EventError(ValueError):
    """The event is not what the handler takes: the caller's mistake, and said to the caller."""


@dataclass(frozen=True)
class Config:
    """What a platform is told about a function.

    memory_mb: MiB of address space, and through `cpu_share` the share of a core; keep_alive_s: how long an idle
    instance is kept; concurrency: instances at once; format: how the weights are stored.
    """

    memory_mb: int = 1769
    timeout_s: float = 30.0
    concurrency: int = 1
    keep_alive_s: float = 600.0
    format: str = "safetensors"

    def __post_init__(self) -> None:
        for name in ("memory_mb", "timeout_s", "concurrency"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0, got {getattr(self, name)}")
        if self.keep_alive_s < 0:
            raise ValueError(f"keep_alive_s must be 0 or more, got {self.keep_alive_s}")
        if self.format not in ("safetensors", "pickle", "gguf"):
            raise ValueError(f"format must be safetensors, pickle or gguf, got {self.format!r}")

    @property
    def cpu_share(self) -> float:
        """Share of one core."""
        return cpu_share(self.memory_mb)


def cpu_share(memory_mb: float) -> float:
    """min(1, memory / 1769): a single-threaded function gains nothing from more than one core."""
    return min(1.0, memory_mb / MEMORY_OF_ONE_CORE)


class Handler(Protocol):
    """The face of this family: what an instance does, in the order of a cold start."""

    def imports(self) -> None:
        """Bring in what the handler needs; the second phase, after the start of the process."""

    def load(self, model: str | None, options: Mapping[str, Any]) -> None:
        """Read the weights; the third phase. options: what the function was deployed with."""

    def invoke(self, event: Event) -> Iterator[Any]:
        """Yield the parts of the answer, of which the first ends the phase "first token". Raises EventError."""


def load_handler(name: str) -> Handler:
    """The handler named "package.module:Class"."""
    module, _, attribute = name.partition(":")
    found: Handler = getattr(import_module(module), attribute)()
    return found


def modules() -> dict[str, str]:
    """First line of every module that carries the header's fields, by name, found by walking the package."""
    found = {one.name: import_module(f"{__name__}.{one.name}").__doc__ or "" for one in iter_modules(__path__)}
    return {name: doc.partition("\n")[0] for name, doc in found.items() if "\nPaper: " in doc}
