"""EAGLE: one block guesses the target's next state from its last states and the tokens already chosen.

Paper: arXiv 2401.15077, sections 4.1 (drafting), 4.2 (training) and 4.3 (verification of trees).
Idea: states follow more regularly than tokens do, once it is known which token was drawn; the target's head reads them.
Symbols: f_i = the target's normalised state of token i; t_i = token i. The block maps (f_i, t_{i+1}) to f_{i+1}.
Simplified: fixed shapes of trees; a chain is the shape with one child everywhere.
Differs: the block normalises its input like any block of the target, which the paper's does not; smooth L1 on states
    has the weight 1 and cross-entropy 0.1 there, here cross-entropy has 1 and smooth L1 `STATE_WEIGHT`.
Cost: a pass of the block and the head for each level of the tree, the first over what was committed; one layer's cache.
Checked against: plain decoding; direct sampling; the block over a whole path without a cache.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from reference_impls.models.cache import ContiguousCache
from reference_impls.models.decoder import Block, Decoder, rotation
from reference_impls.models.decoder import Config as Shape
from reference_impls.models.generate import next_token_probs
from reference_impls.speculative_decoding import Context
from reference_impls.speculative_decoding.token_tree import fixed_shape, pick
from reference_impls.speculative_decoding.tree import ROOT, Tree

STATE_WEIGHT = 0.1
NOISE = 0.1
"""Half the width of the uniform noise on the states in training: guessed states are never exact."""


@dataclass(frozen=True)
class Config:
    """parents: the shape of the tree, for each node an earlier one; -1 for the root, which is node 0."""

    parents: tuple[int, ...]

    def __post_init__(self) -> None:
        Tree(torch.zeros(len(self.parents), dtype=torch.long), self.parents)  # refuses what is no tree


def tree(widths: Sequence[int]) -> Config:
    """Every node at depth d has widths[d] children; a chain of n guesses is (1,) * n."""
    return Config(fixed_shape(widths).parents)


class Head(nn.Module):
    """Two vectors of a place become one, then one block of the target's shape."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = replace(shape, layers=1)
        self.join = nn.Linear(2 * shape.hidden, shape.hidden, bias=False)
        self.block = Block(self.shape, 0)

    def forward(
        self,
        embedded: Tensor,
        states: Tensor,
        cache: ContiguousCache | None = None,
        positions: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> Tensor:
        """embedded: of t_{i+1}, states: f_i, both (batch, seq, hidden); the others as in `Decoder.hidden_states`
        -> guesses of f_{i+1}: (batch, seq, hidden)
        """
        if positions is None:
            start = 0 if cache is None else cache.length
            positions = torch.arange(start, start + embedded.shape[1], device=embedded.device)
        turn = rotation(positions, self.shape.head_dim, self.shape.rope_theta)
        out: Tensor = self.block(self.join(torch.cat([embedded, states], -1)), turn, cache, mask)
        return out

    def new_cache(self) -> ContiguousCache:
        """An empty cache for one sequence."""
        c, weight = self.shape, self.join.weight
        return ContiguousCache(1, 1, c.kv_heads, c.max_positions, c.head_dim, weight.dtype, weight.device)


class Drafter:
    """NEEDS the target's states; borrows its embedding and head."""

    NEEDS = ("states",)

    def __init__(self, target: Decoder, head: Head, config: Config) -> None:
        if head.shape.hidden != target.config.hidden:
            raise ValueError(f"made for states of width {head.shape.hidden}, the target has {target.config.hidden}")
        self.target, self.head, self.config = target, head, config

    def session(self) -> "Session":
        """A new session, for one sequence."""
        return Session(self.target, self.head, self.config)


class Session:
    """The block's cache. Between rounds it holds committed places only, made from the target's true states."""

    def __init__(self, target: Decoder, head: Head, config: Config) -> None:
        self.target, self.head = target, head
        self.shape = Tree(torch.zeros(len(config.parents), dtype=torch.long), config.parents)
        self.cache, self.held = head.new_cache(), 0

    def propose(self, context: Context) -> Tree:
        """Fill the shape level by level: all nodes of one depth in one pass."""
        shape, tokens = self.shape, torch.zeros(len(self.shape.parents), dtype=torch.long)
        tokens[ROOT] = context.tokens[-1]
        if context.states is None or not len(context.states):
            return Tree(tokens[:1], (-1,))
        states = self._catch_up(context.tokens, context.states)[None]
        probs = torch.zeros(
            len(tokens), self.target.config.vocab, dtype=torch.promote_types(states.dtype, torch.float32)
        )
        order: list[int] = []  # nodes in the order in which they stand in the cache
        level = [ROOT]
        while True:
            logits = self.target.head(states).cpu()
            probs[level] = next_token_probs(logits, context.sampling)
            for node, scores in zip(level, logits, strict=True):
                tokens[list(shape.children[node])] = pick(scores, probs[node], len(shape.children[node]), context)
            above, level = level, [child for node in level for child in shape.children[node] if shape.children[child]]
            if not level or shape.depths[level[0]] >= context.max_depth:
                return Tree(tokens, shape.parents, probs if context.sampling.temperature else None)
            order += level
            parents = [above.index(shape.parents[node]) for node in level]
            states = self._extend(tokens[level], states[parents], level, order)

    def _catch_up(self, tokens: Tensor, states: Tensor) -> Tensor:
        """Forget the last draft and take up what was committed since. -> a guess of the root's state: (hidden,)"""
        self.cache.crop(self.held)
        embedded = self.target.embedding(tokens[self.held + 1 :].to(states.device))
        guessed: Tensor = self.head(embedded[None], states[None, self.held :], self.cache)
        self.held = len(states)
        return guessed[0, -1]

    def _extend(self, tokens: Tensor, states: Tensor, level: list[int], order: list[int]) -> Tensor:
        """Guess the states of nodes from those of their parents: (new, hidden) -> (new, hidden)."""
        seen = self.shape.ancestors[level][:, order]
        mask = torch.cat([torch.ones(len(level), self.held, dtype=torch.bool), seen], 1).to(states.device)
        # a node at depth d is token held + d, and stands with the state before it at place held + d - 1
        positions = torch.tensor([self.held - 1 + self.shape.depths[node] for node in level], device=states.device)
        embedded = self.target.embedding(tokens.to(states.device))
        guessed: Tensor = self.head(embedded[None], states[None], self.cache, positions, mask)
        return guessed[0]


def loss(
    head: Head, target: Decoder, tokens: Tensor, states: Tensor, generator: torch.Generator | None = None
) -> Tensor:
    """How far guesses of states, and the tokens they lead to, are from the target's.

    tokens: (batch, seq); states: (batch, seq, hidden), the target's; generator: adds the paper's noise to the states
    """
    with torch.no_grad():
        wanted, embedded = target.head(states[:, 1:]).softmax(-1), target.embedding(tokens[:, 1:])
    given = states[:, :-1]
    if generator is not None:
        given = given + NOISE * (2 * torch.rand(given.shape, generator=generator, device=given.device) - 1)
    guessed = head(embedded, given)
    scores = functional.cross_entropy(target.head(guessed).flatten(0, 1), wanted.flatten(0, 1))
    return scores + STATE_WEIGHT * functional.smooth_l1_loss(guessed, states[:, 1:])
