"""Trees of guesses from a draft model, of a fixed shape or of the shape that measured acceptance makes best.

Paper: arXiv 2305.09781, section 3 (SpecInfer's expansion-based trees); 2402.12374, section 3.1 (Sequoia's best shape).
Idea: where the most likely guess fails, the second often holds; a tree tries both for one pass of the target.
Symbols: k_d = `widths[d]`, children of a node at depth d; a_r = the chance that the child of rank r is accepted when
    those before it were not.
Simplified: one draft model; Sequoia's limit on depth is the number of nodes.
Differs: sampled children are drawn without replacement, as Sequoia does, in SpecInfer's shape too.
Cost: depth passes of the draft, whose nodes at one depth share a pass, and nodes tokens in the target's.
Checked against: plain decoding; direct sampling; enumeration of all shapes for a few nodes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from reference_impls.models.decoder import Decoder
from reference_impls.models.generate import next_token_probs
from reference_impls.speculative_decoding import Context
from reference_impls.speculative_decoding.follower import TreeFollower
from reference_impls.speculative_decoding.tree import Tree


@dataclass(frozen=True)
class Config:
    """parents: the shape, for each node an earlier one; -1 for the root, which is node 0."""

    parents: tuple[int, ...]

    def __post_init__(self) -> None:
        Tree(torch.zeros(len(self.parents), dtype=torch.long), self.parents)  # refuses what is no tree


def fixed_shape(widths: Sequence[int]) -> Config:
    """SpecInfer's shape: every node at depth d has widths[d] children."""
    parents, level = [-1], [0]
    for width in widths:
        above, level = level, []
        for node in above:
            for _ in range(width):
                level.append(len(parents))
                parents.append(node)
    return Config(tuple(parents))


def best_shape(acceptance: Sequence[float], nodes: int) -> Config:
    """Sequoia's shape: the most expected tokens for `nodes` guesses.

    acceptance: a_r by rank, the chance that the child of rank r is the one that is accepted (they add up to at most 1)
    """
    if nodes < 1 or not acceptance or min(acceptance) < 0 or sum(acceptance) > 1 + 1e-9:
        raise ValueError(
            "expected at least one node, and acceptance rates that are not negative and add up to at most 1"
        )

    @cache
    def best(size: int, rank: int) -> tuple[float, int]:
        """Expected accepted nodes below children from `rank` on, that share `size` nodes; the share of the first."""
        if size == 0 or rank == len(acceptance):
            return 0.0, 0
        rate = acceptance[rank]
        options = ((rate * (1 + best(n - 1, 0)[0]) + best(size - n, rank + 1)[0], n) for n in range(1, size + 1))
        return max(options, key=lambda option: (option[0], -option[1]))

    parents = [-1]

    def grow(parent: int, size: int) -> None:
        rank = 0
        while size and rank < len(acceptance):
            share = best(size, rank)[1]
            parents.append(parent)
            grow(len(parents) - 1, share - 1)
            size, rank = size - share, rank + 1

    grow(0, nodes)
    return Config(tuple(parents))


class Drafter:
    """Guesses trees with `model`, which must share the target's vocabulary."""

    def __init__(self, model: Decoder, config: Config) -> None:
        self.model, self.config = model, config
        self.vocab = model.config.vocab

    def session(self) -> "Session":
        """A new session, for one sequence."""
        return Session(self.model, self.config)


class Session:
    """The draft model's cache for one sequence."""

    def __init__(self, model: Decoder, config: Config) -> None:
        self.follower = TreeFollower(model)
        self.shape = Tree(torch.zeros(len(config.parents), dtype=torch.long), config.parents)

    def propose(self, context: Context) -> Tree:
        """Fill the shape level by level: all nodes of one depth in one pass."""
        shape, tokens = self.shape, torch.zeros(len(self.shape.parents), dtype=torch.long)
        tokens[0] = context.tokens[-1]
        logits = self.follower.begin(context.tokens.tolist())[None]
        probs = torch.zeros(len(shape.parents), logits.shape[-1], dtype=logits.dtype)
        order = [0]  # nodes in the order in which the follower sees them
        level = [0]
        while level:
            probs[level] = next_token_probs(logits, context.sampling).to(probs)
            for node, scores in zip(level, logits, strict=True):
                children = shape.children[node]
                tokens[list(children)] = pick(scores, probs[node], len(children), context)
            level = [child for node in level for child in shape.children[node]]
            inner = [node for node in level if shape.children[node]]
            if not inner:
                break
            parents = [order.index(shape.parents[node]) for node in inner]
            logits = self.follower.extend(tokens[inner].tolist(), parents, [shape.depths[node] for node in inner])
            order += inner
            level = inner
        return Tree(tokens, shape.parents, probs if context.sampling.temperature else None)


def pick(scores: Tensor, probs: Tensor, count: int, context: Context) -> Tensor:
    """The children of a node: the most likely tokens, or draws without replacement.

    scores, probs: (vocab,), the same distribution before and after temperature and top-p -> (count,)
    """
    if context.sampling.temperature == 0 or count == 0:
        return scores.topk(count).indices.cpu()
    possible = min(count, int((probs > 0).sum()))  # top-p may leave fewer tokens than the shape has children
    drawn = torch.multinomial(probs, possible, replacement=False, generator=context.generator).cpu()
    return torch.cat([drawn, drawn[-1:].expand(count - possible)])  # a guess made twice is never accepted twice
