"""A draft as a tree: which tokens are guessed, what each guess follows, and what each may look at.

Paper: arXiv 2305.09781, sections 3.1 (token trees) and 4.2 (the topology-aware mask).
Idea: guesses that share a beginning share its nodes; a mask of ancestors lets one pass of the target judge all paths.
Symbols: nothing beyond the axes' names.
Simplified: nothing.
Differs: the last committed token is node 0 of the tree, so that the pass which judges the draft also extends the cache.
Cost: nodes ** 2 bits for the mask; a chain is the tree in which every node has one child.
Checked against: paths decoded alone, one by one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

ROOT = 0


@dataclass(frozen=True)
class Tree:
    """Node 0 is the last committed token; the others guess what follows. Parents come before their children.

    tokens: (nodes,), on the CPU;
    parents: for each node an earlier one, -1 for node 0;
    probs: (nodes, vocab), for each node the distribution that its children were drawn from, without replacement in
        the order of their indices; None: the guesses were chosen (argmax, look-up) and not drawn.
    """

    tokens: Tensor
    parents: tuple[int, ...]
    probs: Tensor | None = None

    def __post_init__(self) -> None:
        if len(self.tokens) != len(self.parents) or not self.parents:
            raise ValueError(f"a tree has one parent a token, got {len(self.tokens)} and {len(self.parents)}")
        if self.parents[ROOT] != -1 or any(not 0 <= p < node for node, p in enumerate(self.parents) if node):
            raise ValueError("node 0 has parent -1, every other node an earlier node")
        if self.probs is not None and len(self.probs) != len(self.parents):
            raise ValueError(f"probs must have a row a node, got {len(self.probs)} for {len(self.parents)}")

    @cached_property
    def children(self) -> tuple[tuple[int, ...], ...]:
        """The children of every node, in the order they were made."""
        found: list[list[int]] = [[] for _ in self.parents]
        for node, parent in enumerate(self.parents):
            if node:
                found[parent].append(node)
        return tuple(map(tuple, found))

    @cached_property
    def depths(self) -> tuple[int, ...]:
        """Steps from the root: what a node adds to the position of the last committed token."""
        depths = [0]
        for parent in self.parents[1:]:
            depths.append(depths[parent] + 1)
        return tuple(depths)

    @cached_property
    def ancestors(self) -> Tensor:
        """(nodes, nodes), True where the column is the row's ancestor or the row itself."""
        seen = torch.eye(len(self.parents), dtype=torch.bool)
        for node, parent in enumerate(self.parents):
            if node:
                seen[node] |= seen[parent]
        return seen

    def path(self, node: int) -> list[int]:
        """The nodes from the root to `node`, both included."""
        path = [node]
        while self.parents[path[-1]] >= 0:
            path.append(self.parents[path[-1]])
        return path[::-1]


def chain(tokens: Sequence[int] | Tensor, probs: Tensor | None = None) -> Tree:
    """The tree in which each token has the next as its only child.

    tokens: (nodes,), the last committed one first; probs: (nodes, vocab) or None, as in `Tree`
    """
    return Tree(torch.as_tensor(tokens), tuple(range(-1, len(tokens) - 1)), probs)


def from_paths(root: int, paths: Sequence[Sequence[int]]) -> Tree:
    """The smallest tree that holds every path; paths that begin alike share nodes, earlier paths come first."""
    tokens, parents = [root], [-1]
    known: dict[tuple[int, int], int] = {}
    for path in paths:
        node = ROOT
        for token in path:
            if (node, token) not in known:
                known[node, token] = len(tokens)
                tokens.append(token)
                parents.append(node)
            node = known[node, token]
    return Tree(torch.tensor(tokens), tuple(parents))


def prune(tree: Tree, max_depth: int) -> Tree:
    """Without the nodes deeper than `max_depth`, for where the text or the model's positions end."""
    if max(tree.depths) <= max_depth:
        return tree
    kept = [node for node, depth in enumerate(tree.depths) if depth <= max_depth]
    place = {node: at for at, node in enumerate(kept)} | {-1: -1}
    parents = tuple(place[tree.parents[node]] for node in kept)
    return Tree(tree.tokens[kept], parents, None if tree.probs is None else tree.probs[kept])
