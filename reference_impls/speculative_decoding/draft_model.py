"""Speculative sampling with a smaller model as drafter.

Paper: arXiv 2211.17192, algorithm 1; 2302.01318, algorithm 2.
Idea: a small model guesses a few tokens one after the other; the target judges them in one pass.
Symbols: gamma = `length`, guesses a round; c = seconds of a draft step over seconds of a target pass;
    alpha = the chance that a guess is accepted.
Simplified: gamma is fixed.
Differs: nothing.
Cost: gamma * c + 1 target passes for (1 - alpha ** (gamma + 1)) / (1 - alpha) tokens.
Checked against: plain decoding of the target; direct sampling.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from reference_impls.models.decoder import Decoder
from reference_impls.models.generate import next_token_probs
from reference_impls.speculative_decoding import Context
from reference_impls.speculative_decoding.follower import Follower
from reference_impls.speculative_decoding.tree import Tree, chain

Score = Callable[[Sequence[int]], Tensor]


@dataclass(frozen=True)
class Config:
    """length: guesses a round."""

    length: int = 4

    def __post_init__(self) -> None:
        if self.length < 1:
            raise ValueError(f"length must be at least 1, got {self.length}")


class Drafter:
    """Guesses with `model`, which must share the target's vocabulary."""

    def __init__(self, model: Decoder, config: Config = Config()) -> None:
        self.model, self.config = model, config
        self.vocab = model.config.vocab

    def session(self) -> "Session":
        """A new session, for one sequence."""
        return Session(self.model, self.config)


class Session:
    """The draft model's cache for one sequence."""

    def __init__(self, model: Decoder, config: Config) -> None:
        self.follower, self.config = Follower(model), config

    def propose(self, context: Context) -> Tree:
        """A chain, drawn as the target's tokens are, or of the most likely tokens."""
        return draw_chain(self.follower.advance, context, self.config.length)


def draw_chain(score: Score, context: Context, length: int) -> Tree:
    """At most `length` guesses, one after the other. score: tokens so far -> (vocab,), the scores of the next one"""
    tokens = context.tokens.tolist()
    root = len(tokens) - 1
    drawn_from = []
    for _ in range(min(length, context.max_depth)):
        probs = next_token_probs(score(tokens), context.sampling)
        drawn_from.append(probs)
        tokens.append(int(torch.multinomial(probs, 1, generator=context.generator)))
    if context.sampling.temperature == 0:
        return chain(tokens[root:])
    return chain(tokens[root:], torch.stack([*drawn_from, torch.zeros_like(drawn_from[0])]))
