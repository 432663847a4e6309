"""Medusa: small heads on the target's last state guess the next tokens but one, but two, …, all at once.

Paper: arXiv 2401.10774, sections 2.1.1 (heads), 2.1.2 and 2.3.3 (tree), 2.2.1 (training beside a frozen target).
Idea: the state that predicts the next token knows something of those after it; a residual layer a head draws it out.
Symbols: k = number of a head, from 1; head k guesses the token k places after the one that the target's head gives;
    a[k - 1][r] = the chance that the guess of rank r of head k is right.
Simplified: greedy choice or drawing as the target does; the typical acceptance of the paper is in `typical.py`.
Differs: all heads share the target's own output matrix; they learn its distributions, not the text's tokens.
Cost: k layers of hidden ** 2 and one product with the output matrix a round; nodes tokens in the target's pass.
Checked against: plain decoding; direct sampling; the best of all trees for a few nodes.
"""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count

import torch
from torch import Tensor, nn
from torch.nn import functional

from reference_impls.models.generate import next_token_probs
from reference_impls.speculative_decoding import Context
from reference_impls.speculative_decoding.generate import Target
from reference_impls.speculative_decoding.token_tree import pick
from reference_impls.speculative_decoding.tree import ROOT, Tree

HEAD_DECAY = 0.8
"""Weight of a head's loss over that of the one before: later heads are less sure and must not drown the first."""


@dataclass(frozen=True)
class Config:
    """parents: the shape of the tree, for each node an earlier one; -1 for the root, which is node 0."""

    parents: tuple[int, ...]

    def __post_init__(self) -> None:
        Tree(torch.zeros(len(self.parents), dtype=torch.long), self.parents)  # refuses what is no tree


def best_shape(acceptance: Sequence[Sequence[float]], nodes: int) -> Config:
    """The tree of `nodes` guesses that expects the most accepted ones: the likeliest guess is added, again and again.

    acceptance: a, for every head by falling rank. A child is never likelier than its parent, so this is the best tree.
    """
    if nodes < 1 or not acceptance or any(not 0 <= a <= 1 for head in acceptance for a in head):
        raise ValueError("expected at least one node and one head, and acceptance rates from 0 to 1")
    parents, order = [-1], count()
    # -chance, tie, parent, depth, rank, chance of the parent
    waiting = [(-acceptance[0][0], next(order), ROOT, 0, 0, 1.0)]
    while waiting and len(parents) <= nodes:
        minus, _, parent, depth, rank, above = heapq.heappop(waiting)
        node = len(parents)
        parents.append(parent)
        if rank + 1 < len(acceptance[depth]):
            heapq.heappush(waiting, (-above * acceptance[depth][rank + 1], next(order), parent, depth, rank + 1, above))
        if depth + 1 < len(acceptance):
            heapq.heappush(waiting, (minus * acceptance[depth + 1][0], next(order), node, depth + 1, 0, -minus))
    return Config(tuple(parents))


class Heads(nn.Module):
    """One residual SiLU layer a head. Before training every head repeats the target's own next token."""

    def __init__(self, hidden: int, heads: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(hidden, hidden) for _ in range(heads))
        for layer in self.layers:
            assert isinstance(layer, nn.Linear)
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, states: Tensor) -> Tensor:
        """states: (..., hidden) -> (heads, ..., hidden)"""
        return torch.stack([states + functional.silu(layer(states)) for layer in self.layers])


class Drafter:
    """NEEDS the target's states; guesses nothing until there is one."""

    NEEDS = ("states",)

    def __init__(self, target: Target, heads: Heads, config: Config) -> None:
        shape = Tree(torch.zeros(len(config.parents), dtype=torch.long), config.parents)
        if max(shape.depths) > len(heads.layers):
            raise ValueError(f"a tree of depth {max(shape.depths)} needs as many heads, got {len(heads.layers)}")
        self.head, self.heads, self.config, self.shape = target.head, heads, config, shape

    def session(self) -> "Drafter":
        """Itself: it remembers nothing."""
        return self

    def propose(self, context: Context) -> Tree:
        """The shape, filled with each head's most likely tokens, or with draws."""
        tokens = torch.zeros(len(self.shape.parents), dtype=torch.long)
        tokens[ROOT] = context.tokens[-1]
        if context.states is None or not len(context.states):
            return Tree(tokens[:1], (-1,))
        logits: Tensor = self.head(self.heads(context.states[-1]))  # (heads, vocab)
        after = torch.cat([logits, torch.zeros_like(logits[:1])])[list(self.shape.depths)]  # of each node's children
        probs = next_token_probs(after, context.sampling).cpu()
        for node, children in enumerate(self.shape.children):
            tokens[list(children)] = pick(after[node].cpu(), probs[node], len(children), context)
        return Tree(tokens, self.shape.parents, probs if context.sampling.temperature else None)


def loss(heads: Heads, head: nn.Module, states: Tensor) -> Tensor:
    """Cross-entropy of every head against what the target itself predicts at the place that the head guesses.

    head: the target's, frozen; states: (batch, seq, hidden), the target's
    """
    with torch.no_grad():
        wanted = head(states).softmax(-1)
    total = states.new_zeros(())
    for k, own in enumerate(heads(states), 1):
        guessed = head(own[:, :-k]).flatten(0, 1)
        total = total + HEAD_DECAY**k * functional.cross_entropy(guessed, wanted[:, k:].flatten(0, 1))
    return total


@torch.no_grad()
def rank_acceptance(heads: Heads, head: nn.Module, states: Tensor, ranks: int = 4) -> list[list[float]]:
    """a, measured: how often each head's guess of each rank is what the target chooses there, along a given text.

    states: (batch, seq, hidden) -> heads lists of `ranks` shares
    """
    choices = head(states).argmax(-1)
    found = []
    for k, own in enumerate(heads(states), 1):
        guesses = head(own[:, :-k]).topk(ranks).indices
        found.append((guesses == choices[:, k:, None]).double().mean((0, 1)).tolist())
    return found
