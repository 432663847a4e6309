"""Which block of memory belongs to which sequence: free lists, block tables, reference counts, copy-on-write, swaps.

Paper: arXiv 2309.06180, sections 4.2-4.5 (block tables, sharing by reference count, copy-on-write, swapping).
Idea: a sequence takes memory in blocks of `tokens_per_block` when it needs the next one, and never reserves a length.
Symbols: nothing beyond the axes' names.
Simplified: ids only, no tensors (those are in `paged.py`), so that a simulator can use it; one device and one host.
Differs: a shared block that is swapped out is copied for each of its sequences and is not shared on its return.
Cost: at most tokens_per_block - 1 unused slots a sequence; O(1) a block for everything.
Checked against: a model of sets and counts, in random series of operations.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal

Tier = Literal["device", "host"]
Copy = tuple[int, int]
"""A block to read and a block to write."""


@dataclass(frozen=True)
class Config:
    """How much memory there is, in blocks."""

    tokens_per_block: int = 16
    device_blocks: int = 256
    host_blocks: int = 0

    def __post_init__(self) -> None:
        for name, least in (("tokens_per_block", 1), ("device_blocks", 1), ("host_blocks", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")


class OutOfBlocksError(RuntimeError):
    """Too few free blocks; nothing was changed. A scheduler catches it, frees or swaps, and tries again."""

    def __init__(self, tier: Tier, needed: int, free: int) -> None:
        super().__init__(f"{needed} {tier} blocks are needed, {free} are free")
        self.tier, self.needed, self.free = tier, needed, free


@dataclass(eq=False)
class Sequence:
    """One sequence's block table. Changed by the manager alone.

    blocks: physical blocks in order; block i holds tokens i * tokens_per_block and after;
    length: tokens that every layer holds.
    """

    blocks: list[int] = field(default_factory=list)
    length: int = 0
    place: Literal["device", "host", "freed"] = "device"


class BlockManager:
    """Gives out blocks and takes them back. Every block is either free or held by `references` holders."""

    def __init__(self, config: Config) -> None:
        self.config = config
        sizes: dict[Tier, int] = {"device": config.device_blocks, "host": config.host_blocks}
        self._free: dict[Tier, list[int]] = {tier: [*reversed(range(size))] for tier, size in sizes.items()}
        self._references: dict[Tier, list[int]] = {tier: [0] * size for tier, size in sizes.items()}
        self.reclaim: Callable[[int], int] | None = None
        """Asked for this many device blocks where too few are free (a prefix tree's `evict`); says how many came."""

    # What there is.

    def free_blocks(self, tier: Tier = "device") -> int:
        """Blocks that nobody holds."""
        return len(self._free[tier])

    def references(self, block: int, tier: Tier = "device") -> int:
        """How many sequences (and prefix trees) hold the block."""
        return self._references[tier][block]

    def blocks_for(self, tokens: int) -> int:
        """Blocks that hold this many tokens of one sequence."""
        return -(-tokens // self.config.tokens_per_block)

    # Sequences.

    def new_sequence(self, blocks: Iterable[int] = (), length: int = 0) -> Sequence:
        """An empty sequence, or one that shares these blocks (a prefix that was found); nothing is copied."""
        made = Sequence([*blocks], length)
        for block in made.blocks:
            self.retain(block)
        return made

    def fork(self, sequence: Sequence) -> Sequence:
        """A second sequence with the same tokens; the first of the two that writes into a shared block copies it."""
        self._on_device(sequence)
        return self.new_sequence(sequence.blocks, sequence.length)

    def free(self, sequence: Sequence) -> None:
        """Give up all its blocks, finished or cancelled, wherever they lie."""
        if sequence.place == "freed":
            raise ValueError("the sequence was freed before")
        for block in sequence.blocks:
            self.release(block, sequence.place)
        sequence.blocks, sequence.length, sequence.place = [], 0, "freed"

    def truncate(self, sequence: Sequence, length: int) -> None:
        """Keep the first `length` tokens; blocks behind them are given up, those reserved and not filled too."""
        self._on_device(sequence)
        if not 0 <= length <= sequence.length:
            raise ValueError(f"truncate keeps 0 to {sequence.length} tokens (what is held), got {length}")
        keep = self.blocks_for(length)
        for block in sequence.blocks[keep:]:
            self.release(block)
        del sequence.blocks[keep:]
        sequence.length = length

    def reserve(self, wanted: Iterable[tuple[Sequence, int, int]]) -> list[Copy]:
        """Make tokens start .. end - 1 of each sequence writable, all or none of them.

        -> device blocks to copy before anything is written: shared ones that the tokens fall into. Where too few blocks
        are free, OutOfBlocksError, and nothing has changed.
        """
        wanted = [*wanted]
        fresh, shared, leaving = 0, [], dict[int, int]()
        for sequence, start, end in wanted:
            self._on_device(sequence)
            fresh += max(0, self.blocks_for(end) - len(sequence.blocks))
            for place in range(start // self.config.tokens_per_block, min(self.blocks_for(end), len(sequence.blocks))):
                block = sequence.blocks[place]
                if self.references(block) - leaving.get(block, 0) > 1:  # the last holder keeps the block itself
                    leaving[block] = leaving.get(block, 0) + 1
                    shared.append((sequence, place))
        self._make_room(fresh + len(shared))
        copies = []
        for sequence, place in shared:
            source, sequence.blocks[place] = sequence.blocks[place], self._take("device")
            self.release(source)
            copies.append((source, sequence.blocks[place]))
        for sequence, _, end in wanted:
            sequence.blocks += [self._take("device") for _ in range(self.blocks_for(end) - len(sequence.blocks))]
        return copies

    # Swaps: the caller moves the bytes.

    def swap_out(self, sequence: Sequence) -> list[Copy]:
        """Move to the host. -> (device block to read, host block to write); OutOfBlocksError changes nothing."""
        self._on_device(sequence)
        self.truncate(sequence, sequence.length)
        return self._move(sequence, "device", "host")

    def swap_in(self, sequence: Sequence) -> list[Copy]:
        """Move back. -> (host block to read, device block to write); OutOfBlocksError changes nothing."""
        if sequence.place != "host":
            raise ValueError(f"swap_in: expected a sequence on the host, got one that is {sequence.place}")
        self._make_room(len(sequence.blocks))
        return self._move(sequence, "host", "device")

    def _move(self, sequence: Sequence, source: Tier, target: Tier) -> list[Copy]:
        needed = len(sequence.blocks)
        if needed > self.free_blocks(target):
            raise OutOfBlocksError(target, needed, self.free_blocks(target))
        copies = [(block, self._take(target)) for block in sequence.blocks]
        for block in sequence.blocks:
            self.release(block, source)
        sequence.blocks, sequence.place = [new for _, new in copies], target
        return copies

    # Single blocks, for whoever else holds them (a prefix tree).

    def retain(self, block: int) -> None:
        """One more holder of a device block that somebody holds already."""
        if self._references["device"][block] < 1:
            raise ValueError(f"block {block} is free: nobody holds it")
        self._references["device"][block] += 1

    def release(self, block: int, tier: Tier = "device") -> None:
        """One holder less; the last one frees the block."""
        counts = self._references[tier]
        if counts[block] < 1:
            raise ValueError(f"block {block} is free: nobody holds it")
        counts[block] -= 1
        if not counts[block]:
            self._free[tier].append(block)

    def _take(self, tier: Tier) -> int:
        block = self._free[tier].pop()
        self._references[tier][block] = 1
        return block

    def _make_room(self, needed: int) -> None:
        free = self.free_blocks()
        if needed > free and self.reclaim:
            self.reclaim(needed - free)
        if needed > self.free_blocks():
            raise OutOfBlocksError("device", needed, self.free_blocks())

    def _on_device(self, sequence: Sequence) -> None:
        if sequence.place != "device":
            raise ValueError(f"expected a sequence on the device, got one that is {sequence.place}")
