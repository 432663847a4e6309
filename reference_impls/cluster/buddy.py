"""Buddy allocation of GPUs: aligned power-of-two blocks inside nodes, whole nodes for more, and moves against gaps.

Paper: arXiv 2304.06381, which names network packing and buddy allocation; its text was not read, the rules are ours.
Idea: blocks split and merge in halves, so a job of at most a node never leaves one, and moving a few small jobs always
    makes room for whatever fits in number.
Symbols: G = GPUs of a node; a block is (node, offset, size) with offset a multiple of size.
Simplified: one kind of GPU, one level of network.
Differs: nothing known.
Cost: allocate and free walk at most the nodes; making room moves at most as many GPUs as it wins, level by level.
Checked against: random sequences in which blocks stay aligned and disjoint and nothing that fits is refused.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache


@dataclass(frozen=True)
class Config:
    """The cluster's shape. pack: fill the fullest node that fits, not the emptiest."""

    nodes: int = 8
    gpus_per_node: int = 8
    pack: bool = True

    def __post_init__(self) -> None:
        if self.nodes < 1:
            raise ValueError(f"nodes must be at least 1, got {self.nodes}")
        if self.gpus_per_node < 1 or self.gpus_per_node & (self.gpus_per_node - 1):
            raise ValueError(f"gpus_per_node must be a power of two, got {self.gpus_per_node}")

    @property
    def gpus(self) -> int:
        """In all nodes."""
        return self.nodes * self.gpus_per_node


@dataclass(frozen=True, order=True)
class Block:
    """GPUs offset … offset + size of a node."""

    node: int
    offset: int
    size: int

    @property
    def mask(self) -> int:
        """Its GPUs as bits."""
        return ((1 << self.size) - 1) << self.offset


@dataclass
class Buddy:
    """Who has which blocks."""

    config: Config
    used: list[int] = field(default_factory=list)  # a bit a GPU, by node
    owned: dict[int, tuple[Block, ...]] = field(default_factory=dict)
    at: list[set[int]] = field(default_factory=list)  # owners, by node

    def __post_init__(self) -> None:
        self.used = [0] * self.config.nodes
        self.at = [set() for _ in range(self.config.nodes)]

    @property
    def free_gpus(self) -> int:
        """Unused, wherever they are."""
        return self.config.gpus - sum(mask.bit_count() for mask in self.used)

    @property
    def nodes_on(self) -> int:
        """Nodes with at least one job."""
        return sum(mask != 0 for mask in self.used)

    def allocate(self, owner: int, gpus: int) -> bool:
        """Give `owner` a block, or whole nodes; False where none is free as things lie."""
        found = self._find(gpus, range(self.config.nodes))
        if found is None:
            return False
        self._take(owner, found)
        return True

    def free(self, owner: int) -> None:
        """Take back all that the owner has; halves merge by themselves, as free is what is not used."""
        for block in self.owned.pop(owner):
            self.used[block.node] &= ~block.mask
            self.at[block.node].discard(owner)

    def make_room(self, gpus: int) -> list[int] | None:
        """Move owners so that a block for `gpus` is free. -> who was moved, or None where too few GPUs are free."""
        if self.free_gpus < gpus:
            return None
        if gpus <= self.config.gpus_per_node:
            return list(dict.fromkeys(self._open(gpus, ())[1]))
        moved: list[int] = []
        whole: list[Block] = []
        for _ in range(gpus // self.config.gpus_per_node):
            block, who = self._open(self.config.gpus_per_node, whole)
            whole.append(block)
            moved += who
        return list(dict.fromkeys(moved))

    def compact(self) -> list[int]:
        """Empty the node with the fewest used GPUs if its jobs fit on others that are on. -> who was moved"""
        size = self.config.gpus_per_node
        partly = [node for node, mask in enumerate(self.used) if 0 < mask.bit_count() < size]
        if len(partly) < 2:
            return []
        node = min(partly, key=lambda node: self.used[node].bit_count())
        others = [other for other in partly if other != node]
        moved = sorted(self.at[node], key=self._size, reverse=True)
        before = {owner: self.owned[owner] for owner in moved}
        for owner in moved:
            found = self._find(self._size(owner), others)
            if found is None:
                for back in moved:
                    self.free(back)
                for back, blocks in before.items():
                    self._take(back, blocks)
                return []
            self.free(owner)
            self._take(owner, found)
        return moved

    def _size(self, owner: int) -> int:
        return sum(block.size for block in self.owned[owner])

    def _take(self, owner: int, blocks: Sequence[Block]) -> None:
        for block in blocks:
            self.used[block.node] |= block.mask
            self.at[block.node].add(owner)
        self.owned[owner] = tuple(blocks)

    def _find(self, gpus: int, nodes: Iterable[int], away: Sequence[Block] = ()) -> tuple[Block, ...] | None:
        """Free blocks for a request. Packing: the smallest gap that fits, in the fullest node. away: not in there."""
        size = self.config.gpus_per_node
        if gpus > size:
            empty = [node for node in nodes if not self.used[node]][: gpus // size]
            return tuple(Block(node, 0, size) for node in empty) if len(empty) * size == gpus else None
        best: tuple[tuple[int, int], Block] | None = None
        for node in nodes:
            found = _smallest_gap(self.used[node] | _blocked(node, away), gpus, size)
            if found is None:
                continue
            full = self.used[node].bit_count()
            key = (found[0], -full) if self.config.pack else (full, found[0])
            if best is None or key < best[0]:
                best = key, Block(node, found[1], gpus)
        return (best[1],) if best else None

    def _open(self, size: int, away: Sequence[Block]) -> tuple[Block, list[int]]:
        """Free a block of `size` outside `away`, moving who is in it. Free GPUs outside `away` must suffice."""
        found = self._find(size, range(self.config.nodes), away)
        if found:
            return found[0], []
        block = max(self._candidates(size, away), key=self._free_in)
        moved = []
        for owner in sorted(self._owners(block), key=self._size, reverse=True):
            need = self._size(owner)
            target, others = self._open(need, [*away, block])
            self.free(owner)
            self._take(owner, (target,))
            moved += [*others, owner]
        return block, moved

    def _free_in(self, block: Block) -> int:
        return block.size - (self.used[block.node] & block.mask).bit_count()

    def _candidates(self, size: int, away: Sequence[Block]) -> Iterable[Block]:
        """Aligned blocks outside `away` of which no owner reaches beyond."""
        for node in range(self.config.nodes):
            closed = _blocked(node, away)
            for offset in range(0, self.config.gpus_per_node, size):
                block = Block(node, offset, size)
                if not closed & block.mask and all(self._size(owner) < size for owner in self._owners(block)):
                    yield block

    def _owners(self, block: Block) -> list[int]:
        return [
            owner
            for owner in self.at[block.node]
            if any(own.node == block.node and own.mask & block.mask for own in self.owned[owner])
        ]


def _blocked(node: int, away: Sequence[Block]) -> int:
    mask = 0
    for block in away:
        if block.node == node:
            mask |= block.mask
    return mask


@lru_cache(maxsize=1 << 16)
def _smallest_gap(mask: int, gpus: int, size: int) -> tuple[int, int] | None:
    """The aligned free block of this many GPUs that lies in the smallest free block. -> (size of that, offset)"""
    free = (offset for offset in range(0, size, gpus) if not mask >> offset & ((1 << gpus) - 1))
    return min(((_gap(mask, offset, gpus, size), offset) for offset in free), default=None)


def _gap(mask: int, offset: int, gpus: int, size: int) -> int:
    """The largest aligned free block around this one: taking a small one leaves the large ones whole."""
    while gpus < size:
        larger = gpus * 2
        start = offset // larger * larger
        if mask >> start & ((1 << larger) - 1):
            break
        offset, gpus = start, larger
    return gpus
