"""The loop of speculative decoding: draft, judge in one pass of the target, commit, crop the cache; for any drafter.

Paper: arXiv 2211.17192, algorithm 1 (the loop); 2305.09781, section 3 (with trees).
Idea: every pass of the target commits at least one token of its own and every guess that it agrees with.
Symbols: nothing beyond the axes' names.
Simplified: the rows of a batch are drafted one after the other; rows that are done still take part in the pass.
Differs: the cache holds each row's tokens from slot 0 on, so that rows may accept different numbers of guesses.
Cost: a pass over nodes tokens instead of one, for up to depth + 1 tokens.
Checked against: plain decoding of the target, token for token; direct sampling, by chi-square.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor, nn

from reference_impls.models import generate as plain
from reference_impls.models.cache import Cache
from reference_impls.speculative_decoding import Context, Drafter, Judged, Session
from reference_impls.speculative_decoding.tree import Tree, prune
from reference_impls.speculative_decoding.verify import Rule, Verdict, verify, verify_greedy

GRAIN = 64
"""Caches hold a multiple of so many tokens, so that steps compiled for a cache's shape serve many prompts."""


class Movable(Cache, Protocol):
    """A cache whose positions can be put in another place, as accepted branches of a tree must be."""

    def move(self, sources: Tensor, targets: Tensor) -> None:
        """Copy the keys and values of `sources` to `targets`: (batch, n) slots each."""
        ...


class Target(Protocol):
    """What the loop asks of a model; `models.decoder.Decoder` is one, `hf.py` makes one of a Hugging Face model."""

    @property
    def head(self) -> nn.Module:
        """States to scores."""
        ...

    def new_cache(self, batch: int = 1, capacity: int | None = None) -> Movable:
        """An empty cache."""
        ...

    def hidden_states(
        self, tokens: Tensor, cache: Cache | None = None, positions: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """As in `models.decoder.Decoder`."""
        ...


@dataclass(frozen=True)
class Round:
    """What one pass of the target brought in one row. Seconds are those of all rows together."""

    row: int
    drafted: int
    accepted: int
    draft_s: float
    target_s: float


@dataclass
class Result:
    """The new tokens of each row, and how they came about."""

    tokens: list[list[int]]
    rounds: list[Round] = field(default_factory=list)

    @property
    def acceptance_rate(self) -> float:
        """Accepted guesses over guesses made; 0 where none was made."""
        drafted = sum(one.drafted for one in self.rounds)
        return sum(one.accepted for one in self.rounds) / drafted if drafted else 0.0

    @property
    def tokens_per_pass(self) -> float:
        """New tokens over passes of the target, a pass counted once for each row that still needed it."""
        return sum(map(len, self.tokens)) / max(1, len(self.rounds))


@dataclass
class _Row:
    """One sequence: tokens[:-1] are in the cache, the last one is the root of the next tree."""

    tokens: Tensor
    prompt: int
    session: Session
    needs: tuple[str, ...]
    states: list[Tensor] = field(default_factory=list)
    judged: Judged | None = None

    @property
    def made(self) -> int:
        return len(self.tokens) - self.prompt


@torch.no_grad()
def generate(
    target: Target,
    drafter: Drafter,
    prompts: Sequence[Tensor],
    new_tokens: int,
    config: plain.Config = plain.GREEDY,
    *,
    generator: torch.Generator | None = None,
    stop_token: int | None = None,
    max_nodes: int = 64,
    prefilled: "Prefilled | None" = None,
    rule: Rule | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> Result:
    """Go on from the prompts for `new_tokens` tokens each, or until `stop_token`.

    prompts: (seq,) each, not empty; max_nodes: room kept for one draft; generator: on the target's device;
    prefilled: what `prefill` made of the same prompts, with room for new_tokens + max_nodes;
    rule: judges guesses in place of the exact one; what it commits may not be the target's own text.
    Raises ValueError for an empty prompt, a drafter of another vocabulary, or a draft of more than max_nodes.
    """
    if any(len(prompt) == 0 for prompt in prompts):
        raise ValueError("a prompt needs at least one token")
    check_vocab(target, drafter)
    needs = getattr(drafter, "NEEDS", ())
    if "cache" in needs and len(prompts) > 1:
        raise ValueError(f"this drafter writes to the target's cache: one prompt at a time, got {len(prompts)}")
    rows = [_Row(prompt.cpu(), len(prompt), drafter.session(), needs) for prompt in prompts]
    ready = prefilled or prefill(target, prompts, new_tokens + max_nodes)
    cache = ready.begin(rows)
    result = Result([[] for _ in rows])
    done = [new_tokens == 0] * len(rows)
    while not all(done):
        start = clock()
        left = [0 if over else new_tokens - row.made for row, over in zip(rows, done, strict=True)]
        trees = [_draft(row, cache, config, n, generator) for row, n in zip(rows, left, strict=True)]
        if (most := max(len(tree.parents) for tree in trees)) > max_nodes:
            raise ValueError(f"a draft has {most} nodes, max_nodes is {max_nodes}; raise it or draft less")
        drafted = clock()
        passed = judge(target, cache, trees, [len(row.tokens) - 1 for row in rows], config, generator, rule)
        times = (drafted - start, clock() - drafted)
        for at, (row, tree) in enumerate(zip(rows, trees, strict=True)):
            if not done[at]:
                _commit(row, tree, passed, at)
                accepted = len(passed.verdicts[at].path) - 1
                result.rounds.append(Round(at, len(tree.parents) - 1, accepted, *times))
                done[at] = _is_done(row, new_tokens, stop_token)
    for at, row in enumerate(rows):
        result.tokens[at] = row.tokens[row.prompt :].tolist()
    return result


def check_vocab(target: Target, drafter: Drafter) -> None:
    """Refuse a drafter whose tokens are not the target's: equal sizes do not prove it, other sizes disprove it."""
    own, theirs = getattr(target.head, "out_features", None), getattr(drafter, "vocab", None)
    if own is not None and theirs is not None and own != theirs:
        raise ValueError(f"the draft has a vocabulary of {theirs} tokens, the target one of {own}; they must share it")


@dataclass(frozen=True)
class Prefilled:
    """Prompts that stand in the cache but for their last token; may be gone on from again and again.

    states: for each row (seq - 1, hidden); length: slots that the longest takes
    """

    cache: Movable
    states: list[Tensor]
    length: int

    def begin(self, rows: list[_Row]) -> Movable:
        """The cache without anything behind the prompts; the rows get the states that they need."""
        self.cache.crop(self.length)
        for row, states in zip(rows, self.states, strict=True):
            if "states" in row.needs and len(states):
                row.states.append(states)
        return self.cache


@torch.no_grad()
def prefill(target: Target, prompts: Sequence[Tensor], room: int) -> Prefilled:
    """Put every prompt but its last token in a cache, padded on the right; what is behind a prompt is never seen.

    prompts: (seq,) each; room: for tokens behind the longest
    """
    lengths = [len(prompt) - 1 for prompt in prompts]
    needed = max(lengths) + 1 + room
    cache = target.new_cache(len(prompts), -(-needed // GRAIN) * GRAIN)
    tokens = torch.zeros(len(prompts), max(lengths), dtype=torch.long, device=prompts[0].device)
    for at, prompt in enumerate(prompts):
        tokens[at, : lengths[at]] = prompt[:-1]
    states = target.hidden_states(tokens, cache) if max(lengths) else torch.zeros(len(prompts), 0, 0)
    return Prefilled(cache, [states[at, :length] for at, length in enumerate(lengths)], max(lengths))


def _draft(row: _Row, cache: Movable, config: plain.Config, left: int, generator: torch.Generator | None) -> Tree:
    """A tree for a row; of the root alone where one token or none is left to make."""
    max_depth = left - 1  # the target adds a token itself
    if max_depth < 1:
        return Tree(row.tokens[-1:], (-1,))
    states = torch.cat(row.states) if row.states else None
    shared = cache if "cache" in row.needs else None
    context = Context(row.tokens, config, max_depth, generator, states, row.judged, shared)
    return prune(row.session.propose(context), max_depth)


@dataclass(frozen=True)
class Passed:
    """One pass of the target over a tree a row.

    states: (batch, nodes, hidden); choices: (batch, nodes), the most likely token after each node
    """

    verdicts: list[Verdict]
    states: Tensor
    choices: Tensor


def judge(
    target: Target,
    cache: Movable,
    trees: Sequence[Tree],
    lengths: Sequence[int],
    config: plain.Config,
    generator: torch.Generator | None = None,
    rule: Rule | None = None,
) -> Passed:
    """One pass of the target over a tree a row. What is accepted stays in the cache, from slot lengths[row] on.

    lengths: tokens of each row in the cache, the root not among them
    """
    start = cache.length
    tokens, positions, mask = pass_inputs(trees, lengths, start)
    device = _device(target)
    states = target.hidden_states(tokens.to(device), cache, positions.to(device), mask.to(device))
    logits = target.head(states)
    choices = logits.argmax(-1).cpu()
    verdicts = [
        rule(tree, logits[row, : len(tree.parents)])
        if rule is not None
        else verify_greedy(tree, choices[row])
        if config.temperature == 0
        else verify(tree, plain.next_token_probs(logits[row, : len(tree.parents)], config), generator)
        for row, tree in enumerate(trees)
    ]
    _keep(cache, start, [verdict.path for verdict in verdicts], lengths)
    return Passed(verdicts, states, choices)


def pass_inputs(trees: Sequence[Tree], lengths: Sequence[int], start: int) -> tuple[Tensor, Tensor, Tensor]:
    """Trees as one padded batch behind a cache of `start` slots, of which each row uses the first `lengths[row]`.

    -> tokens, positions: (batch, nodes); mask: (batch, 1, nodes, start + nodes)
    """
    batch, nodes = len(trees), max(len(tree.parents) for tree in trees)
    tokens = torch.zeros(batch, nodes, dtype=torch.long)
    positions = torch.zeros(batch, nodes, dtype=torch.long)
    mask = torch.zeros(batch, 1, nodes, start + nodes, dtype=torch.bool)
    mask[:, 0, range(nodes), range(start, start + nodes)] = True  # padding sees itself, so that no row is empty
    for row, tree in enumerate(trees):
        size = len(tree.parents)
        tokens[row, :size] = tree.tokens
        positions[row, :size] = torch.tensor(tree.depths) + lengths[row]
        mask[row, 0, :size, : lengths[row]] = True
        mask[row, 0, :size, start : start + size] = tree.ancestors
    return tokens, positions, mask


def _keep(cache: Movable, start: int, paths: list[list[int]], lengths: Sequence[int]) -> None:
    """Move each row's accepted nodes behind what the row holds, and drop the others."""
    longest = max(map(len, paths))
    sources = torch.tensor([[start + node for node in path + [path[-1]] * (longest - len(path))] for path in paths])
    targets = torch.tensor(
        [
            [length + min(at, len(path) - 1) for at in range(longest)]
            for path, length in zip(paths, lengths, strict=True)
        ]
    )
    if not torch.equal(sources, targets):
        cache.move(sources, targets)
    cache.crop(max(length + len(path) for path, length in zip(paths, lengths, strict=True)))


def _commit(row: _Row, tree: Tree, passed: Passed, at: int) -> None:
    """Add what was accepted and the target's own token; keep what the row's drafter needs of the pass."""
    verdict = passed.verdicts[at]
    row.tokens = torch.cat([row.tokens, tree.tokens[verdict.path[1:]], torch.tensor([verdict.token])])
    if "states" in row.needs:
        row.states.append(passed.states[at, verdict.path])
    if "judged" in row.needs:
        row.judged = Judged(tree, passed.choices[at, : len(tree.parents)])


def _is_done(row: _Row, new_tokens: int, stop_token: int | None) -> bool:
    """Whether the row needs no more; what was committed behind a stop token is taken back."""
    made = row.tokens[row.prompt :].tolist()
    if stop_token in made:
        row.tokens = row.tokens[: row.prompt + made.index(stop_token) + 1]
        return True
    return len(made) >= new_tokens


def _device(target: Target) -> torch.device:
    return next(target.head.parameters()).device
