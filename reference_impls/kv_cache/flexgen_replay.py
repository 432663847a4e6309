"""Seconds of a step of FlexGen's block, by going through its order with a clock instead of with tensors.

Paper: arXiv 2303.06865, section 4.3 (cost model); FlexGen.
Idea: the paper's maximum over links and computing is reached only if none of them ever waits for another; what comes
    first, what lies on which tier and how far ahead it is started decide how often they do, so play it through.
Symbols: those of `flexgen`.
Simplified: every batch computes equally long in every layer; a link begins the next transfer when the last one is done.
Differs: the paper predicts by the maximum alone, which is a linear programme's objective; this one is none.
Cost: some operations a transfer; there are layers * (chunks + 3 * batches) of them.
Checked against: the maximum, which it never falls below, and the sum in turn, which it equals; measured steps.
"""

from dataclasses import dataclass, field

from reference_impls.kv_cache.flexgen import DIRECTIONS, Direction, Machine, Work, compute_seconds
from reference_impls.kv_cache.flexgen_block import Lookahead, OffloadedBlock
from reference_impls.kv_cache.offload import Tier


@dataclass
class Clock:
    """now: of the computing thread; free: when each link is done with what it was given."""

    machine: Machine
    now: float = 0.0
    free: dict[Direction, float] = field(default_factory=lambda: dict.fromkeys(DIRECTIONS, 0.0))

    def submit(self, direction: Direction, nbytes: float, *needs: float) -> float:
        """-> when the link is done with it"""
        start = max(self.free[direction], self.now, *needs)
        self.free[direction] = start + nbytes / getattr(self.machine, direction)
        return self.free[direction]

    def wait(self, asked: float, done: float, *through: Direction) -> None:
        """For a transfer through these directions, which takes its least time even where it is small."""
        least = asked + sum(self.machine.least_s[DIRECTIONS.index(one)] for one in through)
        if max(done, least) > self.now:
            self.now = max(done + self.machine.wake_s, least)


class Tiers:
    """What `links.Tiered` does with things of so many bytes each, in time alone."""

    def __init__(self, clock: Clock, tiers: list[Tier], nbytes: list[float]) -> None:
        self.clock, self.tiers, self.nbytes = clock, tiers, nbytes
        self._read: dict[int, float] = {}
        self._coming: dict[int, tuple[float, float]] = {}
        self._written: dict[int, tuple[float, float]] = {}

    def read(self, number: int) -> None:
        """As `Tiered.read`."""
        if self.tiers[number] == "disk" and number not in {*self._read, *self._coming}:
            done = self._written.get(number, (0.0, 0.0))[1]
            self._read[number] = self.clock.submit("disk_to_host", self.nbytes[number], done)

    def bring(self, number: int) -> None:
        """As `Tiered.bring`."""
        if self.tiers[number] != "device" and number not in self._coming:
            asked = self.clock.now
            self.read(number)
            needs = self._read.pop(number, 0.0), self._written.get(number, (0.0, 0.0))[1]
            self._coming[number] = asked, self.clock.submit("host_to_device", self.nbytes[number], *needs)

    def get(self, number: int) -> None:
        """As `Tiered.get`."""
        if self.tiers[number] != "device":
            self.bring(number)
            through: tuple[Direction, ...] = ("disk_to_host",) if self.tiers[number] == "disk" else ()
            self.clock.wait(*self._coming.pop(number), *through, "host_to_device")

    def put(self, number: int) -> None:
        """As `Tiered.put`, of as many bytes."""
        if self.tiers[number] != "device":
            asked, done = self.clock.now, self.clock.submit("device_to_host", self.nbytes[number])
            if self.tiers[number] == "disk":
                done = self.clock.submit("host_to_disk", self.nbytes[number], done)
            self._written[number] = asked, done

    def wait(self, number: int) -> None:
        """As `Tiered.wait`."""
        if found := self._written.pop(number, None):
            through: tuple[Direction, ...] = ("host_to_disk",) if self.tiers[number] == "disk" else ()
            self.clock.wait(*found, "device_to_host", *through)


def step_seconds(work: Work, block: OffloadedBlock, machine: Machine, sealed: int) -> float:
    """Of a step that seals nothing. sealed: tokens of each sequence that are in segments, which is what moves."""
    config, clock = block.config, Clock(machine)
    pairs = [
        (block.weights, [part * 1.0 for part in block.chunk_bytes] * work.layers),
        (block.cache, [config.batch * sealed * work.token_bytes] * (work.layers * config.batches)),
        (block.states, [config.batch * work.state_bytes] * config.batches),
    ]
    weights, cache, states = (Tiers(clock, [*real.tiers], nbytes) for real, nbytes in pairs)
    ahead = Lookahead(config, work.layers, len(block.chunks), weights, cache, states)
    each = compute_seconds(work, config, machine) / len(ahead.order)
    if config.overlap:
        ahead.begin()
    for load, items in enumerate(ahead.loads):
        for chunk in range(ahead.chunks):
            weights.get(items[0][0] * ahead.chunks + chunk)
        for turn, (layer, batch) in enumerate(items):
            if config.overlap:
                ahead.after(load, turn)
            if layer:
                states.get(batch)
            cache.get(layer * config.batches + batch)
            clock.now += each
            if layer + 1 < work.layers:
                states.put(batch)
                if not config.overlap:
                    states.wait(batch)
    return clock.now
