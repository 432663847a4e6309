"""Guesses copied from the text itself: what followed the last words when they came before.

Paper: arXiv 2304.04487, section 2.1 (LLMA, copying from a reference); the n-gram rule is that of A. Saxena's
    prompt lookup decoding (2023).
Idea: answers that quote, edit or summarise repeat their input; a matching n-gram predicts its continuation.
Symbols: n = length of the match, tried from `max_ngram` down to 1.
Simplified: the latest match wins; LLMA's trigger and copy lengths are one setting each.
Differs: the whole text is searched, so that repeats in the output count too.
Cost: a scan of the text for every round, no weights; nothing is guessed where nothing matches.
Checked against: plain decoding; a search by hand.
"""

from dataclasses import dataclass

from reference_impls.speculative_decoding import Context
from reference_impls.speculative_decoding.tree import Tree, chain


@dataclass(frozen=True)
class Config:
    """max_ngram: the longest match that is looked for; length: guesses a round."""

    max_ngram: int = 3
    length: int = 8

    def __post_init__(self) -> None:
        if self.max_ngram < 1 or self.length < 1:
            raise ValueError(f"max_ngram and length must be at least 1, got {self.max_ngram} and {self.length}")


class Drafter:
    """Needs no model; it is its own session, since it remembers nothing."""

    def __init__(self, config: Config = Config()) -> None:
        self.config = config

    def session(self) -> "Drafter":
        """Itself."""
        return self

    def propose(self, context: Context) -> Tree:
        """A chain of what followed the latest occurrence of the longest matching end of the text."""
        tokens = context.tokens.tolist()
        found = continuation(tokens, self.config.max_ngram, self.config.length)
        return chain([tokens[-1], *found])


def continuation(tokens: list[int], max_ngram: int, length: int) -> list[int]:
    """Up to `length` tokens that followed the last `max_ngram` (or fewer) tokens where these stood before."""
    for n in range(min(max_ngram, len(tokens) - 1), 0, -1):
        end = tokens[-n:]
        for start in range(len(tokens) - n - 1, -1, -1):
            if tokens[start : start + n] == end:
                return tokens[start + n : start + n + length]
    return []
