"""Speculative decoding: a cheap drafter guesses, the target judges all guesses in one pass, the output stays its own.

A method is a module of this package that has a frozen dataclass `Config` and a class `Drafter` made from it; its
sessions propose trees (`tree.py`). One core judges them (`verify.py`) and one loop runs any drafter (`generate.py`).
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from reference_impls.models import generate as plain
from reference_impls.models.cache import Cache
from reference_impls.speculative_decoding.tree import Tree

HEADER_FIELDS = ("Paper", "Idea", "Symbols", "Simplified", "Differs", "Cost", "Checked against")


@dataclass(frozen=True)
class Context:
    """What a drafter may look at before it guesses. The last three are given to drafters that NEED them by name.

    tokens: (seq,), prompt and everything committed; the last one has not passed through the target yet;
    sampling: how the target's tokens are chosen, so that drafts can be drawn alike;
    max_depth: guesses deeper than this are thrown away;
    states: (seq - 1, hidden), the target's normalised states of all tokens but the last;
    judged: the draft before this one with what the target made of it; None in the first round;
    cache: the target's own, holding tokens[:-1]; a drafter that appends to it crops it again. Batches of one only.
    """

    tokens: Tensor
    sampling: plain.Config
    max_depth: int
    generator: torch.Generator | None = None
    states: Tensor | None = None
    judged: "Judged | None" = None
    cache: Cache | None = None


@dataclass(frozen=True)
class Judged:
    """A draft after the target's pass. choices: (nodes,), the target's most likely token after each node."""

    tree: Tree
    choices: Tensor


class Session(Protocol):
    """One drafter at work on one sequence; it may keep a cache of its own between calls."""

    def propose(self, context: Context) -> Tree:
        """Guess on. The tokens of one call continue those of the call before, minus what was rejected."""


class Drafter(Protocol):
    """The face of this family. Optional beside it: NEEDS, a tuple of "states", "judged" and "cache" (see Context), and
    vocab, the number of tokens that it knows, which must be the target's."""

    def session(self) -> Session:
        """A new session, for one sequence."""
