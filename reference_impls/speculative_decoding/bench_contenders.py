"""Who decodes where the target does not fit: LLMCad with and without its parts, and what it is compared with.

All have the same bytes for weights: the draft's bytes are given to those that need no draft. Reading one layer ahead
needs a buffer more, so plain streaming keeps one layer more in memory.
"""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch

from reference_impls.measurement.case import Role
from reference_impls.measurement.rouge import rouge_l
from reference_impls.models import tiny
from reference_impls.speculative_decoding import Drafter, bild, draft_model, llmcad, sti, token_tree
from reference_impls.speculative_decoding.bench_setups import STORE_FROM, Setup, draft, prompts, run, target
from reference_impls.speculative_decoding.generate import Result
from reference_impls.speculative_decoding.layer_store import write_layers
from reference_impls.speculative_decoding.layer_stream import Config, StreamedDecoder
from reference_impls.speculative_decoding.verify import Rule

SETUP = Setup("tiny-target", "free", tokens=24)
MANY = Setup("tiny-target", "free", tokens=32, count=6)
"""For what needs no streaming: a single text is not enough to tell the parts apart."""
TUNED = llmcad.Config(branch_threshold=0.05, alpha0=0.001, adaptive=False, max_tree=32)
"""Found on other prompts than those of the cases."""
LITTLE = bild.Config(fallback=0.2, rollback=3.0)
STI_SHARE = 4
"""STI may read this part of a layer's bytes a pass: 1 / STI_SHARE."""
CALIBRATION = 256
"""Tokens on which STI's importance is measured, from behind the prompts."""


@dataclass(frozen=True)
class Contender:
    """One way to decode. make: its drafter, a new one each time; rule: where guesses are not judged exactly.

    ahead: whether the next layer is read while one computes; shards: whether layers come at the widths of STI's plan.
    """

    name: str
    module: str
    make: Callable[[], Drafter] | None = None
    rule: Rule | None = None
    ahead: bool = True
    shards: bool = False
    note: str = ""

    @property
    def role(self) -> Role:
        """LLMCad and its variants are the methods."""
        return "baseline" if self.name == "std" else "method" if self.name.startswith("llmcad") else "peer"


def _llmcad(name: str, config: llmcad.Config, note: str = "") -> Contender:
    return Contender(name, "llmcad", lambda: llmcad.Drafter(draft(), config), note=note)


def contenders() -> list[Contender]:
    """The baseline first."""
    return [
        Contender("std", "layer_stream", ahead=False, note="layers read one after the other, nothing beside"),
        Contender("std-pl", "layer_stream", note="the next layer is read while one computes"),
        Contender("sp-4", "draft_model", lambda: draft_model.Drafter(draft())),
        Contender("sp-8", "draft_model", lambda: draft_model.Drafter(draft(), draft_model.Config(8))),
        Contender("sp-tree", "token_tree", lambda: token_tree.Drafter(draft(), token_tree.fixed_shape((3, 2, 1, 1)))),
        Contender(
            "bild",
            "bild",
            lambda: bild.Drafter(draft(), LITTLE),
            bild.tolerant(LITTLE),
            note="lossy: keeps guesses that the target finds likely enough",
        ),
        Contender("sti", "sti", shards=True, note=f"lossy: layers rounded to a {STI_SHARE}th of their bytes a pass"),
        _llmcad("llmcad", llmcad.Config()),
        _llmcad("llmcad-linear", llmcad.Config(alpha_rule="linear"), "the other reading of the damaged update rule"),
        _llmcad("llmcad-no-tree", llmcad.Config(branch_threshold=1.0), "one branch"),
        _llmcad("llmcad-no-fallback", llmcad.Config(adaptive=False), "the threshold stays at its start value"),
        _llmcad(
            "llmcad-no-provisional",
            llmcad.Config(provisional=False),
            "does not draft while the target's layers are read",
        ),
        _llmcad(
            "llmcad-tuned",
            TUNED,
            "for a draft that is rarely sure: branches from 0.05 on, judged below a fixed 0.001",
        ),
    ]


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    """The target's layers as files, until the process ends; its shards beside them."""
    folder = tempfile.TemporaryDirectory(prefix="frugalfm-layers-")
    write_layers(target("tiny-target"), Path(folder.name))
    sti.write_shards(target("tiny-target"), Path(folder.name) / "shards")
    return folder


def sizes() -> tuple[int, int, int]:
    """Bytes -> of one layer, of everything else, of the draft."""
    model = target("tiny-target")
    layer = sum(p.nbytes for p in model.blocks[0].parameters())
    whole = sum(p.nbytes for p in model.parameters())
    return layer, whole - layer * len(model.blocks), sum(p.nbytes for p in draft().parameters())


def budget(contender: Contender) -> int:
    """Bytes of the target's weights that it may hold: everything but the layers, two layers, and the draft's if none
    is needed."""
    layer, rest, small = sizes()
    return rest + 2 * layer + (0 if contender.make else small)


@cache
def widths() -> tuple[int, ...]:
    """STI's plan for the tiny target."""
    folder, model = Path(_folder().name) / "shards", target("tiny-target")
    stored = sti.shard_sizes(folder, len(model.blocks))
    tokens = tiny.heldout_tokens()[STORE_FROM : STORE_FROM + CALIBRATION][None]
    allowed = sum(size[sti.FULL] for size in stored) // STI_SHARE
    return tuple(sti.plan(stored, sti.importance(model, tokens), allowed))


def streamed(contender: Contender, bytes_per_s: float | None) -> StreamedDecoder:
    """The tiny target under the contender's budget, read at a rate."""
    config = Config(budget(contender), contender.ahead, bytes_per_s)
    folder, shape = Path(_folder().name), target("tiny-target").config
    if not contender.shards:
        return StreamedDecoder(folder, shape, config)
    return StreamedDecoder(sti.ShardStore(folder / "shards", widths(), bytes_per_s), shape, config)


class Patient:
    """A model in memory whose every pass leaves time for all provisional guesses."""

    def __init__(self, model: Any, drafter: Drafter) -> None:
        self.head, self.new_cache, self.inner = model.head, model.new_cache, model
        self.meanwhile = getattr(drafter, "meanwhile", lambda: False)

    def hidden_states(self, *arguments: Any) -> torch.Tensor:
        """As in `Decoder`."""
        while self.meanwhile():
            pass
        return self.inner.hidden_states(*arguments)  # type: ignore[no-any-return]


class Nothing:
    """The drafter of those that do not draft."""

    def session(self) -> "Nothing":
        """Itself."""
        return self

    def propose(self, context: Any) -> Any:
        """The root alone."""
        from reference_impls.speculative_decoding.tree import chain

        return chain(context.tokens[-1:])


@cache
def results(name: str, setup: Setup) -> list[Result]:
    """What a contender makes, in memory. How many provisional guesses fit into a pass depends on its time; here it is
    as many as LLMCad may make."""
    contender = next(one for one in contenders() if one.name == name)
    drafter = contender.make() if contender.make else Nothing()
    model = streamed(contender, None) if contender.shards else target("tiny-target")
    return run(Patient(model, drafter), drafter, setup, rule=contender.rule)


def likeness(name: str, setup: Setup) -> float:
    """Rouge-L of a contender's texts against the target's own, the mean over the prompts."""
    pairs = list(zip(results(name, setup), results("std", setup), strict=True))
    assert len(pairs) == len(prompts(setup))
    return sum(rouge_l(made.tokens[0], own.tokens[0]) for made, own in pairs) / len(pairs)
