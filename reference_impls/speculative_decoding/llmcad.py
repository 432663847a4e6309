"""LLMCad's drafter: a token tree that grows where it is confident, and is judged when confidence runs out.

Paper: arXiv 2309.04255, sections 3.2 (tree and branch pacer, eq. 1-2), 3.3 (when to verify), 3.4 (drafting meanwhile).
Idea: a pass of the target costs a stream of its weights, so judge rarely, many guesses at once, and guess on meanwhile.
Symbols: q = the draft's probability of a token; C = product of q along the path since the last verified token;
    M = guesses in the tree; L_i = length of branch i; T_c = the largest C of a branch; alpha = threshold on T_c.
Simplified: a stem that outlived its verification is scored again, in one pass of the draft.
Differs: the rule that raises alpha is damaged in the copies of the paper that could be read; `alpha_rule` offers the
    reconstruction (exponential: alpha / T_c ** share of wrong guesses) and the fraction itself (linear).
Cost: one pass of the draft a guess; one of the target a tree.
Checked against: plain decoding; verification branch by branch; the pacer and alpha by hand.
"""

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from reference_impls.models.decoder import Decoder
from reference_impls.speculative_decoding import Context
from reference_impls.speculative_decoding.follower import TreeFollower
from reference_impls.speculative_decoding.tree import ROOT, Tree

ALPHA_BOUNDS = (1e-6, 0.9)


@dataclass(frozen=True)
class Config:
    """The paper's settings. Parts can be taken away: a branch_threshold of 1 leaves a chain, `adaptive` False keeps
    alpha0, `provisional` False never drafts while the target works."""

    branch_threshold: float = 0.3
    alpha0: float = 0.01
    decay: float = 0.5
    max_tree: int = 48
    max_branches: int = 10
    adaptive: bool = True
    alpha_rule: Literal["exponential", "linear"] = "exponential"
    provisional: bool = True
    max_provisional: int = 16

    def __post_init__(self) -> None:
        if not 0 < self.branch_threshold <= 1:
            raise ValueError(f"branch_threshold must be above 0 and at most 1, got {self.branch_threshold}")
        if not ALPHA_BOUNDS[0] <= self.alpha0 <= ALPHA_BOUNDS[1]:
            raise ValueError(f"alpha0 must be from {ALPHA_BOUNDS[0]} to {ALPHA_BOUNDS[1]}, got {self.alpha0}")
        if min(self.max_tree, self.max_branches) < 1:
            raise ValueError("max_tree and max_branches must be at least 1")


@dataclass(frozen=True)
class RoundLog:
    """One draft: alpha when it began, T_c when it ended, guesses made, guesses accepted, guesses kept from before."""

    alpha: float
    t_c: float
    drafted: int
    accepted: int
    stem: int


@dataclass
class Growth:
    """A tree under construction; a leaf is a branch."""

    tokens: list[int]
    parents: list[int] = field(default_factory=lambda: [-1])
    depths: list[int] = field(default_factory=lambda: [0])
    confidence: list[float] = field(default_factory=lambda: [1.0])
    leaves: list[int] = field(default_factory=lambda: [ROOT])

    def add(self, token: int, parent: int, q: float) -> int:
        """A guess that follows `parent`, which stops being a leaf."""
        self.tokens.append(token)
        self.parents.append(parent)
        self.depths.append(self.depths[parent] + 1)
        self.confidence.append(self.confidence[parent] * q)
        if parent in self.leaves:
            self.leaves.remove(parent)
        self.leaves.append(len(self.tokens) - 1)
        return len(self.tokens) - 1

    @property
    def t_c(self) -> float:
        """The confidence of the most confident branch."""
        return max(self.confidence[leaf] for leaf in self.leaves)

    def next_branch(self, max_depth: int) -> int | None:
        """Eq. 1-2: the leaf that falls most short of the length its share of confidence deserves."""
        open_leaves = [leaf for leaf in self.leaves if self.depths[leaf] < max_depth]
        total = sum(self.confidence[leaf] for leaf in self.leaves)
        nodes = len(self.tokens) - 1

        def shortfall(leaf: int) -> tuple[float, float, int]:
            wanted = nodes * self.confidence[leaf] / total if total else 0.0
            return wanted - self.depths[leaf], self.confidence[leaf], -leaf  # ties: confident first, then older

        return max(open_leaves, key=shortfall, default=None)

    def best_leaf(self) -> int:
        """The end of the most confident branch."""
        return max(self.leaves, key=lambda leaf: (self.confidence[leaf], -leaf))

    def tree(self) -> Tree:
        """As the target judges it."""
        return Tree(torch.tensor(self.tokens), tuple(self.parents))


class Drafter:
    """Guesses with `model`, which must share the target's vocabulary."""

    def __init__(self, model: Decoder, config: Config = Config()) -> None:
        self.model, self.config = model, config
        self.vocab = model.config.vocab
        self.last: Session | None = None

    def session(self) -> "Session":
        """A new session, for one sequence. `meanwhile` continues the newest one."""
        self.last = Session(self.model, self.config)
        return self.last

    def meanwhile(self) -> bool:
        """One provisional guess, for a target that waits for its weights; False when there is nothing more to guess."""
        return self.last is not None and self.last.guess_on()


class Session:
    """The draft's cache, its last tree, and alpha."""

    def __init__(self, model: Decoder, config: Config) -> None:
        self.follower, self.config, self.alpha = TreeFollower(model), config, config.alpha0
        self.growth: Growth | None = None
        self.before: list[int] = []
        self.provisional: list[int] = []
        self.best_path: list[int] = []  # the nodes that the provisional guesses go on from
        self.end = ROOT  # the last of them, guesses included
        self.scored: dict[int, int] = {}  # a node of the tree -> its number in the follower
        self.log: list[RoundLog] = []
        self.stem = 0

    def propose(self, context: Context) -> Tree:
        """Grow a tree until T_c falls below alpha or the tree is full."""
        tokens = context.tokens.tolist()
        stem = self._settle(tokens)[: context.max_depth - 1]
        scores = self.follower.begin(tokens)
        self.growth, self.before, self.provisional = Growth([tokens[-1]]), tokens, []
        self.scored, self.stem = {ROOT: ROOT}, len(stem)
        self._expand(ROOT, scores, stem[0] if stem else None)
        for at, _ in enumerate(stem, 1):
            leaf = self._on_path(stem[:at])
            self._expand(leaf, self._score(leaf), stem[at] if at < len(stem) else None)
        while self.growth.t_c >= self.alpha and len(self.growth.tokens) <= self.config.max_tree:
            chosen = self.growth.next_branch(context.max_depth)
            if chosen is None:
                break
            self._expand(chosen, self._score(chosen), None)
        return self.growth.tree()

    def guess_on(self) -> bool:
        """One provisional guess behind the best branch, while the target judges the tree."""
        growth = self.growth
        if growth is None or not self.config.provisional or len(self.provisional) >= self.config.max_provisional:
            return False
        if not self.provisional:
            self.end = growth.best_leaf()
            self.best_path = growth.tree().path(self.end)
        if len(self.before) + growth.depths[self.end] + 2 >= self.follower.model.config.max_positions:
            return False
        token = int(self._score(self.end).argmax())
        self.end = growth.add(token, self.end, 1.0)
        self.provisional.append(token)
        return True

    def _score(self, leaf: int) -> Tensor:
        """The draft's scores after a leaf. -> (vocab,)"""
        assert self.growth is not None
        parent = self.scored[self.growth.parents[leaf]]
        scores = self.follower.extend([self.growth.tokens[leaf]], [parent], [self.growth.depths[leaf]])
        self.scored[leaf] = len(self.follower.tokens)
        return scores[0]

    def _expand(self, leaf: int, scores: Tensor, wanted: int | None) -> None:
        """The likeliest token continues the branch, others above the threshold open branches; `wanted` comes too."""
        assert self.growth is not None
        probs = scores.float().softmax(-1)
        best = probs.topk(3)  # three tokens at most can have 0.3 or more
        room = self.config.max_branches - len(self.growth.leaves)
        chosen = [int(best.indices[0])]
        for q, token in zip(best.values[1:].tolist(), best.indices[1:].tolist(), strict=True):
            if q > self.config.branch_threshold and room > 0:
                chosen.append(token)
                room -= 1
        if wanted is not None and wanted not in chosen:
            chosen.append(wanted)
        for token in chosen:
            self.growth.add(token, leaf, float(probs[token]))

    def _on_path(self, path: list[int]) -> int:
        """The node that the tokens lead to from the root."""
        assert self.growth is not None
        node = ROOT
        for token in path:
            pairs = enumerate(zip(self.growth.tokens, self.growth.parents, strict=True))
            node = next(at for at, (t, parent) in pairs if parent == node and t == token)
        return node

    def _settle(self, tokens: list[int]) -> list[int]:
        """Learn from the verdict on the last tree. -> the provisional guesses that it left standing."""
        if self.growth is None:
            return []
        new = tokens[len(self.before) :]
        accepted = len(new) - 1
        tree = self._judged_tree()
        best = max(
            (leaf for leaf in range(len(tree.parents)) if not tree.children[leaf]),
            key=lambda leaf: (_agreeing(tree, leaf, new), -tree.depths[leaf], self.growth.confidence[leaf]),  # type: ignore[union-attr]
        )
        t_c = max(self.growth.confidence[leaf] for leaf in range(len(tree.parents)) if not tree.children[leaf])
        self.log.append(RoundLog(self.alpha, t_c, len(tree.parents) - 1, accepted, self.stem))
        if self.config.adaptive:
            drafted = tree.depths[best]
            self.alpha = next_alpha(self.alpha, t_c, drafted, min(accepted, drafted), self.config)
        if not self.provisional:
            return []
        expected = [self.growth.tokens[node] for node in self.best_path[1:]] + self.provisional[:1]
        return self.provisional[1:] if new == expected else []

    def _judged_tree(self) -> Tree:
        """The tree without the provisional guesses."""
        assert self.growth is not None
        size = len(self.growth.tokens) - len(self.provisional)
        return Tree(torch.tensor(self.growth.tokens[:size]), tuple(self.growth.parents[:size]))


def _agreeing(tree: Tree, leaf: int, committed: list[int]) -> int:
    """How many guesses of a branch were committed."""
    guesses = [int(tree.tokens[node]) for node in tree.path(leaf)[1:]]
    pairs = zip(guesses, committed, strict=False)
    return next((at for at, (a, b) in enumerate(pairs) if a != b), min(len(guesses), len(committed)))


def next_alpha(alpha: float, t_c: float, drafted: int, accepted: int, config: Config) -> float:
    """Section 3.3: halve alpha after a perfect branch, else raise it with the share of wrong guesses; within bounds."""
    wrong = (drafted - accepted) / drafted if drafted else 0.0
    if wrong == 0:
        alpha *= config.decay
    elif config.alpha_rule == "linear":
        alpha = wrong
    else:
        alpha /= max(t_c, ALPHA_BOUNDS[0]) ** wrong
    return min(max(alpha, ALPHA_BOUNDS[0]), ALPHA_BOUNDS[1])


@torch.no_grad()
def judge_by_branches(target: Decoder, committed: Tensor, tree: Tree) -> list[int]:
    """Section 3.2's verification: all branches as one batch of sequences, each corrected at its first disagreement,
    the longest of them wins. It needs no tree mask, and computes shared beginnings once for each branch.

    committed: (seq,), its last token is the tree's root -> the tokens to commit
    """
    branches = [tree.path(leaf) for leaf in range(len(tree.parents)) if not tree.children[leaf]]
    longest = max(map(len, branches))
    rows = torch.stack([torch.cat([tree.tokens[b], tree.tokens[b[-1:]].expand(longest - len(b))]) for b in branches])
    prefix = committed[:-1].expand(len(branches), -1)
    choices = target(torch.cat([prefix, rows], 1))[:, len(committed) - 1 :].argmax(-1).tolist()
    corrected = []
    for branch, wanted in zip(branches, choices, strict=True):
        guesses = tree.tokens[branch[1:]].tolist()
        right = next((at for at, guess in enumerate(guesses) if guess != wanted[at]), len(guesses))
        corrected.append([*guesses[:right], wanted[right]])
    return max(corrected, key=len)
