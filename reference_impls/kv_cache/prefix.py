"""Prefix reuse: a radix tree of token sequences whose keys and values are already in blocks.

Paper: arXiv 2312.07104, section 3 (RadixAttention).
Idea: under causal attention a prefix's keys and values depend on nothing behind it, so a later request that begins
    alike takes its blocks instead of computing them; what nobody uses leaves in least-recently-used order.
Symbols: nothing beyond the axes' names.
Simplified: whole blocks only, so up to tokens_per_block - 1 matching tokens are computed again; no request reordering.
Differs: the paper's tree is over single tokens with pages of one token; this one's edges are whole blocks.
Cost: one comparison of each block's tokens; the tree holds one reference to each of its blocks.
Checked against: a dictionary of all prefixes; recomputation: a hit gives the same logits.
"""

from collections.abc import Iterator
from collections.abc import Sequence as Many
from dataclasses import dataclass, field

from reference_impls.kv_cache.blocks import BlockManager, Sequence

Run = tuple[int, ...]


@dataclass(eq=False)
class Node:
    """An edge of the tree and what hangs below it: whole blocks of tokens, and where their keys and values lie."""

    parent: "Node | None" = None
    tokens: list[Run] = field(default_factory=list)
    blocks: list[int] = field(default_factory=list)
    children: dict[Run, "Node"] = field(default_factory=dict)
    used: int = 0


class PrefixTree:
    """Prefixes of finished and running sequences. `start` and `keep` are all that an engine calls."""

    def __init__(self, manager: BlockManager) -> None:
        """The manager asks the tree for blocks where it has none free."""
        self.manager, self.root, self._clock = manager, Node(), 0
        self.hit_tokens = self.asked_tokens = 0
        manager.reclaim = self.evict

    def start(self, tokens: Many[int]) -> Sequence:
        """A new sequence that shares the longest known prefix of whole blocks; its `length` says how long that is.

        At least one token is left to compute, since its logits are needed.
        """
        wide = self.manager.config.tokens_per_block
        found = self._walk(self._runs(tokens)[: (len(tokens) - 1) // wide])
        blocks = [block for node, count in found for block in node.blocks[:count]]
        self.asked_tokens += len(tokens)
        self.hit_tokens += len(blocks) * wide
        return self.manager.new_sequence(blocks, len(blocks) * wide)

    def keep(self, tokens: Many[int], sequence: Sequence) -> None:
        """Remember the whole blocks of a sequence on the device. tokens: those it holds, its first `length`."""
        if len(tokens) != sequence.length:
            raise ValueError(f"expected the {sequence.length} tokens that the sequence holds, got {len(tokens)}")
        runs = self._runs(tokens)
        found = self._walk(runs)
        known = sum(count for _, count in found)
        if known == len(runs):
            return
        node, count = found[-1] if found else (self.root, 0)
        if count < len(node.tokens):
            node = self._split(node, count)
        blocks = sequence.blocks[known : len(runs)]
        for block in blocks:
            self.manager.retain(block)
        node.children[runs[known]] = Node(node, runs[known:], blocks, used=self._clock)

    def evict(self, count: int) -> int:
        """Give up blocks that only the tree holds, from the ends of the least recently used branches. -> how many."""
        freed = 0
        while freed < count:
            leaves = [leaf for leaf in self._leaves() if self.manager.references(leaf.blocks[-1]) == 1]
            if not leaves:
                break
            leaf = min(leaves, key=lambda node: node.used)
            self.manager.release(leaf.blocks.pop())
            last = leaf.tokens.pop()
            freed += 1
            if not leaf.blocks and leaf.parent:
                del leaf.parent.children[last]
        return freed

    @property
    def blocks(self) -> list[int]:
        """Every block that the tree holds."""
        return [block for node in self._nodes(self.root) for block in node.blocks]

    def _runs(self, tokens: Many[int]) -> list[Run]:
        wide = self.manager.config.tokens_per_block
        return [tuple(tokens[start : start + wide]) for start in range(0, len(tokens) - wide + 1, wide)]

    def _walk(self, runs: list[Run]) -> list[tuple[Node, int]]:
        """The nodes that hold the longest known beginning, with the number of blocks that match in each."""
        self._clock += 1
        path, node, done = [], self.root, 0
        while done < len(runs) and (child := node.children.get(runs[done])):
            same = 0
            while same < len(child.tokens) and done < len(runs) and child.tokens[same] == runs[done]:
                same, done = same + 1, done + 1
            child.used = self._clock
            path.append((child, same))
            if same < len(child.tokens):
                break
            node = child
        return path

    def _split(self, node: Node, count: int) -> Node:
        """Cut a node after `count` blocks, so that a branch can start there. -> its first part"""
        assert node.parent is not None, "the root has no blocks and is never cut"
        first = Node(node.parent, node.tokens[:count], node.blocks[:count], used=node.used)
        node.parent.children[first.tokens[0]] = first
        node.parent, node.tokens, node.blocks = first, node.tokens[count:], node.blocks[count:]
        first.children[node.tokens[0]] = node
        return first

    def _nodes(self, node: Node) -> Iterator[Node]:
        yield node
        for child in node.children.values():
            yield from self._nodes(child)

    def _leaves(self) -> list[Node]:
        return [node for node in self._nodes(self.root) if not node.children and node.blocks]
