"""A draft model that keeps up with the committed text: its own cache, cropped to what was not rejected.

Paper: arXiv 2211.17192, appendix A.1 (the draft model decodes with a cache of its own).
Idea: the longest common beginning of what it has seen and what is committed needs no second pass.
Symbols: nothing beyond the axes' names.
Simplified: one sequence.
Differs: nothing.
Cost: one pass over the committed tokens that it did not guess itself, one or two as a rule.
Checked against: passes without a cache.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from reference_impls.models.decoder import Decoder


class Follower:
    """A model, its cache, and the tokens in it."""

    def __init__(self, model: Decoder) -> None:
        self.model = model
        self.cache = model.new_cache()
        self.held: list[int] = []

    def advance(self, tokens: Sequence[int]) -> Tensor:
        """The scores of what follows `tokens`, computed for those that are new. -> (vocab,)."""
        common = min(_common(self.held, tokens), len(tokens) - 1)  # the last one must pass through to get its scores
        self.cache.crop(common)
        new = torch.tensor([[*tokens[common:]]], device=self.model.embedding.weight.device)
        states = self.model.hidden_states(new, self.cache)
        self.held = [*tokens]
        logits: Tensor = self.model.head(states[0, -1])
        return logits


def _common(first: Sequence[int], second: Sequence[int]) -> int:
    pairs = zip(first, second, strict=False)
    return next((at for at, (a, b) in enumerate(pairs) if a != b), min(len(first), len(second)))


class TreeFollower(Follower):
    """A follower that also guesses trees: branches share one cache, and a mask keeps them apart (no swaps)."""

    def __init__(self, model: Decoder) -> None:
        super().__init__(model)
        self._forget_nodes()

    def _forget_nodes(self) -> None:
        self.tokens: list[int] = []  # of node 1 on; the root is the last committed token
        self.parents: list[int] = []
        self.seen: list[Tensor] = []  # for each node a mask over the nodes so far

    def begin(self, tokens: Sequence[int]) -> Tensor:
        """Take up the committed tokens, those among the guesses with their keys and values; forget every other branch.

        -> (vocab,), the scores after the root
        """
        base = len(self.held)
        if self.tokens and list(tokens[:base]) == self.held:
            kept = self._along(tokens[base:])
            slots = torch.tensor([[base + node - 1 for node in kept]], dtype=torch.long)
            self.cache.move(slots, base + torch.arange(len(kept))[None])
            self.held += [self.tokens[node - 1] for node in kept]
        self._forget_nodes()
        return self.advance(tokens)

    def _along(self, committed: Sequence[int]) -> list[int]:
        """The nodes that the committed tokens follow from the root on."""
        path = [0]
        for token in committed:
            children = [at for at, parent in enumerate(self.parents, 1) if parent == path[-1]]
            agreeing = [child for child in children if self.tokens[child - 1] == token]
            if not agreeing:
                break
            path.append(agreeing[0])
        return path[1:]

    def extend(self, tokens: Sequence[int], parents: Sequence[int], depths: Sequence[int]) -> Tensor:
        """Score new nodes in one pass; nodes are numbered in the order they come, the root is 0.

        parents: earlier nodes; depths: from the root, which has 0 -> (new, vocab)
        """
        base, known, new = len(self.held), len(self.tokens), len(tokens)
        for at, parent in enumerate(parents):
            seen = torch.zeros(known + new, dtype=torch.bool)
            if parent:
                seen[: len(self.seen[parent - 1])] |= self.seen[parent - 1]
            seen[known + at] = True
            self.seen.append(seen)
        self.tokens += tokens
        self.parents += parents
        mask = torch.ones(new, base + known + new, dtype=torch.bool)
        mask[:, base:] = torch.stack(self.seen[known:])
        device = self.model.embedding.weight.device
        positions = torch.tensor(depths, device=device) + base - 1
        inputs = torch.tensor([[*tokens]], device=device)
        states = self.model.hidden_states(inputs, self.cache, positions, mask.to(device))
        logits: Tensor = self.model.head(states[0])
        return logits
