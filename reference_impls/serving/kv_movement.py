"""What a swap consists of: who moves the caches, what is on its way, what was moved."""

from dataclasses import dataclass
from typing import Protocol

from reference_impls.serving import Job


class Mover(Protocol):
    """Who really moves the caches: the engine. A simulation needs none."""

    def start(self, job: Job) -> None:
        """Its cache begins on the device; `cached` tokens of it are known already."""

    def save(self, job: Job) -> None:
        """Copy to the host; the device's blocks may be reused once `free_device` is called."""

    def free_device(self, job: Job) -> None:
        """The copy to the host is done."""

    def restore(self, job: Job) -> None:
        """Copy back; the host's blocks are free afterwards."""

    def drop(self, job: Job) -> None:
        """Forget the cache, wherever it is."""


@dataclass
class Counts:
    """What was moved, for the record."""

    blocks_out: int = 0
    blocks_in: int = 0
    drops: int = 0
    dropped_tokens: int = 0
    peak_blocks: int = 0
    blocked_s: float = 0.0


@dataclass(frozen=True)
class Copy:
    """Blocks on the way; neither tier gives them to others before it is done."""

    done_s: float
    job: Job
    blocks: int
