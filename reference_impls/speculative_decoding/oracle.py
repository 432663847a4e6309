"""A drafter that is right as often as it is told to be: for measuring costs where real acceptance cannot be had.

Paper: arXiv 2211.17192, section 3.3 (walltime as a function of the acceptance rate).
Idea: it knows the target's own continuation and spoils each guess with probability 1 - acceptance.
Symbols: alpha = `acceptance`.
Simplified: it costs nothing but a price that it is given, and is right independently at each place, as real drafts
    are not.
Differs: it is no method; numbers made with it are labelled as such.
Cost: the price, for each guess.
Checked against: the expected number of tokens a pass, (1 - alpha ** (gamma + 1)) / (1 - alpha).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from reference_impls.speculative_decoding import Context
from reference_impls.speculative_decoding.tree import Tree, chain


@dataclass(frozen=True)
class Config:
    """acceptance: the chance of each guess; length: guesses a round; vocab: of the target; seed: of the spoiling."""

    acceptance: float
    vocab: int
    length: int = 4
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.acceptance <= 1:
            raise ValueError(f"acceptance must be from 0 to 1, got {self.acceptance}")


class Drafter:
    """known: for one prompt, the prompt and the target's greedy continuation, long enough; price: called for every
    guess, so that it costs what another drafter's would."""

    def __init__(self, known: Sequence[int], config: Config, price: Callable[[], object] = lambda: None) -> None:
        self.known, self.config, self.price = list(known), config, price
        self.generator = torch.Generator().manual_seed(config.seed)

    def session(self) -> "Drafter":
        """Itself."""
        return self

    def propose(self, context: Context) -> Tree:
        """A chain of true tokens, each replaced by a wrong one with probability 1 - acceptance."""
        start = len(context.tokens)
        true = self.known[start : start + min(self.config.length, context.max_depth)]
        for _ in true:
            self.price()
        right = torch.rand(len(true), generator=self.generator) < self.config.acceptance
        guesses = [token if kept else (token + 1) % self.config.vocab for token, kept in zip(true, right, strict=True)]
        return chain([int(context.tokens[-1]), *guesses])


def expected_tokens(alpha: float, gamma: int) -> float:
    """Tokens a pass when each of gamma guesses is right with chance alpha: eq. 1 of the paper."""
    return gamma + 1.0 if alpha == 1 else (1 - alpha ** (gamma + 1)) / (1 - alpha)
