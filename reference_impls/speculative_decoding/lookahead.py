"""Lookahead decoding: the target guesses for itself, by parallel fixed-point steps that leave n-grams behind.

Paper: arXiv 2402.02057, sections 3.1-3.3.
Idea: in each pass the target also refines a window of guesses; tokens along its diagonals become n-grams to verify.
Symbols: W = `window`, columns of the window; N = `ngram`, tokens of an n-gram, so N - 1 rows; G = `candidates`.
Simplified: one device.
Differs: the paper's two branches and their mask are one tree here: row 0 is a chain below the root, each diagonal a
    branch of it, each candidate another; so verification may also accept guesses of the window itself.
Cost: 1 + W (N - 1) + G (N - 1) tokens in every pass of the target, and no draft model.
Checked against: plain decoding; a Jacobi iteration by hand, whose fixed point is the greedy text.
"""

from collections import OrderedDict
from dataclasses import dataclass

import torch

from reference_impls.speculative_decoding import Context, Judged
from reference_impls.speculative_decoding.tree import ROOT, Tree


@dataclass(frozen=True)
class Config:
    """window, ngram, candidates: W, N, G of the paper; vocab: of the target; seed: of the first guesses."""

    vocab: int
    window: int = 5
    ngram: int = 4
    candidates: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.window, self.candidates) < 1 or self.ngram < 2:
            raise ValueError("window and candidates must be at least 1, ngram at least 2")


class Drafter:
    """NEEDS what the target made of the tree before: the refinement rides on its pass."""

    NEEDS = ("judged",)

    def __init__(self, config: Config) -> None:
        self.config = config
        self.vocab = config.vocab

    def session(self) -> "Session":
        """A new session, for one sequence."""
        return Session(self.config)


class Session:
    """The window, and the pool of n-grams that it has left behind."""

    def __init__(self, config: Config) -> None:
        self.config = config
        shape = (config.ngram - 1, config.window)
        generator = torch.Generator().manual_seed(config.seed)
        self.rows: list[list[int]] = torch.randint(config.vocab, shape, generator=generator).tolist()
        self.diagonals: list[list[int]] = []
        self.size = 0
        self.pool: dict[int, OrderedDict[tuple[int, ...], None]] = {}

    def propose(self, context: Context) -> Tree:
        """Candidates from the pool first, then the window with its diagonals."""
        if context.judged is not None:
            self._refine(context.judged)
        root = int(context.tokens[-1])
        builder = _Builder(root)
        for guess in reversed(self.pool.get(root, OrderedDict())):
            builder.add_path(guess)
        self.diagonals = builder.add_window(self.rows)
        self.size = len(builder.tokens)
        return Tree(torch.tensor(builder.tokens), tuple(builder.parents))

    def _refine(self, judged: Judged) -> None:
        """One step of the fixed point: the token after each diagonal is a new row, the oldest row leaves."""
        choices = judged.choices.tolist()
        tokens = judged.tree.tokens.tolist()
        if len(tokens) != self.size:
            return  # the tree was cut because the text ends, and its nodes have other numbers
        made = [choices[nodes[-1]] for nodes in self.diagonals]
        for nodes, token in zip(self.diagonals, made, strict=True):
            self._remember([*(tokens[node] for node in nodes), token])
        self.rows = [*self.rows[1:], made]

    def _remember(self, ngram: list[int]) -> None:
        known = self.pool.setdefault(ngram[0], OrderedDict())
        guess = tuple(ngram[1:])
        known.pop(guess, None)
        known[guess] = None
        while len(known) > self.config.candidates:
            known.popitem(last=False)


class _Builder:
    """A tree under construction. Guesses that begin alike share nodes, whichever branch they belong to."""

    def __init__(self, root: int) -> None:
        self.tokens, self.parents = [root], [-1]
        self.known: dict[tuple[int, int], int] = {}

    def add(self, token: int, parent: int) -> int:
        if (parent, token) not in self.known:
            self.known[parent, token] = len(self.tokens)
            self.tokens.append(token)
            self.parents.append(parent)
        return self.known[parent, token]

    def add_path(self, path: tuple[int, ...]) -> None:
        node = ROOT
        for token in path:
            node = self.add(token, node)

    def add_window(self, rows: list[list[int]]) -> list[list[int]]:
        """Row 0 as a chain; from its column i goes the diagonal rows[1][i], rows[2][i], …, one step deeper each.

        -> for each column the nodes of its n-gram without the last token: row 0's and the diagonal's
        """
        node, columns = ROOT, []
        for token in rows[0]:
            node = self.add(token, node)
            columns.append(node)
        diagonals = []
        for column, first in enumerate(columns):
            nodes = [first]
            for row in rows[1:]:
                nodes.append(self.add(row[column], nodes[-1]))
            diagonals.append(nodes)
        return diagonals
