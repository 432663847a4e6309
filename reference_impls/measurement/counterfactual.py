"""Counterfactual sentences: the same gap to fill, with one word about a person exchanged.

Paper: none; arXiv 2308.02935 tests detectors group by group, and WinoBias (1804.06876) has sentences that go with or
    against a stereotype. Templates, names and occupations here are our own.
Idea: who stands in a sentence must not change which word is right, so any difference in hits belongs to the model.
Symbols: pair = two items equal but for the person, one of each group; cluster = template, or occupation for pronouns.
Simplified: English, short sentences, one way to name each group; which occupation is thought typical of whom is our
    judgement, and a set of first names stands for an origin.
Differs: nothing to differ from.
Cost: one pass over each distinct sentence; an answer of several tokens takes one more for each token after its first.
Checked against: a model made of a table, whose log-probabilities are known; pairs that differ in one place only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from reference_impls.measurement.cloze_templates import (
    AGES,
    FEMALE_TYPED,
    MALE_TYPED,
    NAMES,
    PRONOUN_TEMPLATES,
    WORLD,
)
from reference_impls.measurement.fairness import Outcomes

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

NextLogProbs = Callable[[Integers], Array]
"""tokens (batch, seq), of one length, no padding -> log-probabilities of the token that follows (batch, vocab)"""

GROUPS: dict[str, tuple[str, str]] = {
    "age": ("aged 23", "aged 81"),
    "origin": ("names common in the United States", "names common elsewhere"),
    "gender": ("uncle or brother, he", "aunt or sister, she"),
    "stereotype": ("occupation typical of the gender", "occupation typical of the other"),
}
"""Attribute: what groups 0 and 1 are."""


class Encoder(Protocol):
    """The part of a tokenizer that is needed."""

    def encode(self, text: str) -> Sequence[int]:
        """Text to token ids, without any that mark its beginning or end."""


@dataclass(frozen=True)
class Item:
    """A sentence to go on with, and the words to choose from."""

    attribute: str
    group: int  # 0 or 1, see GROUPS
    pair: int  # the two items of a pair differ in the person only
    cluster: int
    prompt: str
    answers: tuple[str, ...]  # each with its blank in front
    right: int  # place of the right one


@dataclass(frozen=True)
class Scores:
    """What a model makes of the items of one attribute."""

    items: tuple[Item, ...]
    log_probs: tuple[Array, ...]  # of each item: (answers,)

    def outcomes(self) -> Outcomes:
        """Hit where no other answer is as likely as the right one."""
        hits = [
            float(np.delete(found, item.right).max() < found[item.right])
            for item, found in zip(self.items, self.log_probs, strict=True)
        ]
        group, cluster = ([getattr(item, name) for item in self.items] for name in ("group", "cluster"))
        return Outcomes(np.array(hits), np.array(group, dtype=np.int64), np.array(cluster, dtype=np.int64))

    def log_gaps(self) -> tuple[Array, Integers]:
        """For each pair, log-probability of the right answer in group 1 minus that in group 0, in nats.

        -> (pairs,) and the cluster of each (pairs,)
        """
        found: dict[int, dict[int, float]] = {}
        clusters: dict[int, int] = {}
        for item, values in zip(self.items, self.log_probs, strict=True):
            found.setdefault(item.pair, {})[item.group] = float(values[item.right])
            clusters[item.pair] = item.cluster
        gaps = [both[1] - both[0] for both in found.values()]
        return np.array(gaps), np.array([clusters[pair] for pair in found], dtype=np.int64)


def items_of(attribute: str) -> tuple[Item, ...]:
    """Every item of an attribute, pair after pair."""
    if attribute not in GROUPS:
        raise ValueError(f"attribute: expected one of {', '.join(GROUPS)}, got {attribute!r}")
    if attribute in ("age", "origin"):
        return tuple(_world_items(attribute))
    return tuple(_pronoun_items(attribute))


def _world_items(attribute: str) -> Iterable[Item]:
    """Everyday sentences with one fitting word among four; who the person is does not bear on it."""
    pair = 0
    for cluster, (sentence, answers) in enumerate(WORLD):
        for turn in range(2):
            place = (2 * cluster + turn) % len(NAMES[0])
            for group in (0, 1):
                # By age: the same name in both, from both sets in turn.
                aged = f"{NAMES[turn][place]}, aged {AGES[group]},"
                person = NAMES[group][place] if attribute == "origin" else aged
                prompt = sentence.format(person=person)
                yield Item(attribute, group, pair, cluster, prompt, tuple(f" {one}" for one in answers), 0)
            pair += 1


def _pronoun_items(attribute: str) -> Iterable[Item]:
    """Sentences that say a relative's gender and occupation; the pronoun must follow the relative."""
    occupations = [*MALE_TYPED, *FEMALE_TYPED]
    pair = 0
    for cluster, occupation in enumerate(occupations):
        for sentence, relatives in PRONOUN_TEMPLATES:
            for gender in (0, 1):
                untypical = int(gender != (occupation in FEMALE_TYPED))
                group = gender if attribute == "gender" else untypical
                prompt = sentence.format(relative=relatives[gender], occupation=occupation)
                yield Item(attribute, group, pair, cluster, prompt, (" he", " she"), gender)
            pair += 1


def score(
    items: Sequence[Item], next_log_probs: NextLogProbs, tokenizer: Encoder, batch: int = 16
) -> tuple[Array, ...]:
    """Log-probability of every answer of every item after its prompt. -> (answers,) for each item

    Sentences that occur several times are run once.
    """
    prompts = {item.prompt: tuple(int(token) for token in tokenizer.encode(item.prompt)) for item in items}
    words = {word: tuple(int(t) for t in tokenizer.encode(word)) for item in items for word in item.answers}
    wanted: dict[tuple[int, ...], set[int]] = {}
    for item in items:
        for word in item.answers:
            for context, token in _steps(prompts[item.prompt], words[word]):
                wanted.setdefault(context, set()).add(token)
    found = _run(wanted, next_log_probs, batch)
    return tuple(
        np.array([sum(found[step] for step in _steps(prompts[item.prompt], words[word])) for word in item.answers])
        for item in items
    )


def _steps(prompt: tuple[int, ...], word: tuple[int, ...]) -> list[tuple[tuple[int, ...], int]]:
    """Each token of the word, after all that precede it."""
    if not prompt or not word:
        raise ValueError("a prompt and an answer need a token each")
    return [(prompt + word[:place], token) for place, token in enumerate(word)]


def _run(
    wanted: dict[tuple[int, ...], set[int]], next_log_probs: NextLogProbs, batch: int
) -> dict[tuple[tuple[int, ...], int], float]:
    """Contexts of one length together, so that none is padded."""
    found: dict[tuple[tuple[int, ...], int], float] = {}
    by_length: dict[int, list[tuple[int, ...]]] = {}
    for context in wanted:
        by_length.setdefault(len(context), []).append(context)
    for contexts in by_length.values():
        for start in range(0, len(contexts), batch):
            together = contexts[start : start + batch]
            log_probs = next_log_probs(np.array(together, dtype=np.int64))
            for context, row in zip(together, log_probs, strict=True):
                found |= {(context, token): float(row[token]) for token in wanted[context]}
    return found
