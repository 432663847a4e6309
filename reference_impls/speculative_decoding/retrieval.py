"""Guesses from a store of texts: the continuations that most often followed the last words there.

Paper: arXiv 2311.08252, sections 3.1-3.3 (REST).
Idea: an exact match of the last n tokens in a large text gives many continuations; the frequent ones form a tree.
Symbols: n = length of the match, tried from `max_ngram` down to `min_ngram`.
Simplified: a sorted list of places stands for the suffix array, and texts are held in memory.
Differs: nothing.
Cost: two binary searches for each n, no weights; the store takes two numbers a token.
Checked against: a scan of the store; plain decoding.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from reference_impls.speculative_decoding import Context
from reference_impls.speculative_decoding.tree import Tree, from_paths


@dataclass(frozen=True)
class Config:
    """min_ngram, max_ngram: of the match; length: depth of the tree; nodes: its size at most, the root not counted;
    matches: places looked at, at most."""

    min_ngram: int = 2
    max_ngram: int = 6
    length: int = 6
    nodes: int = 16
    matches: int = 200

    def __post_init__(self) -> None:
        if not 1 <= self.min_ngram <= self.max_ngram:
            raise ValueError(f"expected 1 <= min_ngram <= max_ngram, got {self.min_ngram} and {self.max_ngram}")
        if min(self.length, self.nodes, self.matches) < 1:
            raise ValueError("length, nodes and matches must be at least 1")


class Store:
    """Tokens in which n-grams up to a length can be found quickly."""

    def __init__(self, tokens: Sequence[int], longest: int) -> None:
        self.tokens, self.longest = list(tokens), longest
        self.places = sorted(range(len(self.tokens)), key=self._key)

    def _key(self, place: int) -> list[int]:
        return self.tokens[place : place + self.longest]

    def find(self, ngram: list[int], most: int) -> list[int]:
        """Where it starts, `most` places at most, in the order of what follows. At most `longest` tokens."""
        found: list[int] = []
        for at in range(self._first_not_below(ngram), len(self.places)):
            place = self.places[at]
            if len(found) == most or self.tokens[place : place + len(ngram)] != ngram:
                break
            found.append(place)
        return found

    def _first_not_below(self, ngram: list[int]) -> int:
        low, high = 0, len(self.places)
        while low < high:
            middle = (low + high) // 2
            if self._key(self.places[middle])[: len(ngram)] < ngram:
                low = middle + 1
            else:
                high = middle
        return low


class Drafter:
    """Holds the store; it is its own session."""

    def __init__(self, texts: Sequence[int], config: Config = Config()) -> None:
        self.config = config
        self.store = Store(texts, config.max_ngram)

    def session(self) -> "Drafter":
        """Itself."""
        return self

    def propose(self, context: Context) -> Tree:
        """The tree of the most frequent continuations of the longest match; the root alone without a match."""
        tokens = context.tokens.tolist()
        for n in range(min(self.config.max_ngram, len(tokens)), self.config.min_ngram - 1, -1):
            places = self.store.find(tokens[-n:], self.config.matches)
            if places:
                starts = [place + n for place in places]
                found = [self.store.tokens[start : start + self.config.length] for start in starts]
                return from_paths(tokens[-1], frequent_paths(found, self.config.nodes))
        return from_paths(tokens[-1], [])


def frequent_paths(continuations: Sequence[Sequence[int]], nodes: int) -> list[tuple[int, ...]]:
    """The `nodes` most frequent beginnings of the continuations, each after its own beginnings.

    A beginning is never rarer than what goes on from it, so the most frequent ones always form a tree.
    """
    counts = Counter(tuple(one[:n]) for one in continuations for n in range(1, len(one) + 1))
    ordered = sorted(counts, key=lambda path: (-counts[path], len(path), path))
    return ordered[:nodes]
