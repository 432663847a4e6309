"""The drafters of this family's cases, under the names that records use."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from torch import nn

from reference_impls.measurement.case import NotInstalledError
from reference_impls.models.decoder import Decoder
from reference_impls.quantization import rtn
from reference_impls.quantization.apply import quantize_model
from reference_impls.quantization.fused import fuse
from reference_impls.speculative_decoding import (
    Drafter,
    draft_model,
    eagle,
    llmcad,
    lookahead,
    prompt_lookup,
    quantized_draft,
    retrieval,
    self_speculative,
    token_tree,
    trained,
)
from reference_impls.speculative_decoding.bench_setups import Setup, draft, store, target


@dataclass(frozen=True)
class Recipe:
    """A drafter under the name of records and figures."""

    name: str
    module: str
    make: Callable[[Setup], Drafter]
    note: str = ""


def tiny_recipes() -> list[Recipe]:
    """Every method of the family on the tiny target; the untrained ones first."""
    return [
        *_with_draft((3, 2, 1, 1)),
        *_untrained(),
        Recipe("early-exit-4-of-6", "self_speculative", lambda setup: _exit(setup, 4), "not trained to leave early"),
        Recipe("medusa", "medusa", lambda setup: trained.medusa_drafter(target(setup.model))),
        Recipe("eagle-chain", "eagle", lambda setup: trained.eagle_drafter(target(setup.model))),
        Recipe(
            "eagle-tree",
            "eagle",
            lambda setup: trained.eagle_drafter(target(setup.model), eagle.tree((3, 2, 1, 1))),
        ),
    ]


def smollm2_recipes() -> list[Recipe]:
    """No smaller model has its vocabulary, so its own copy at 8 bits drafts."""
    return [
        *_with_draft((2, 1, 1, 1), "its own copy at 8 bits drafts, with a cache of its own"),
        *_untrained(),
        Recipe("early-exit-24-of-30", "self_speculative", lambda setup: _exit(setup, 24, 2), "two guesses a round"),
        Recipe("medusa", "medusa", lambda one: trained.medusa_drafter(target(one.model), folder=smollm2_drafters())),
        Recipe("eagle-chain", "eagle", lambda one: trained.eagle_drafter(target(one.model), folder=smollm2_drafters())),
    ]


def _with_draft(widths: tuple[int, ...], note: str = "") -> list[Recipe]:
    """Methods in which a second model drafts; widths: of the fixed tree."""
    shape, compiled = token_tree.fixed_shape(widths), quantized_draft.Config(compiled=True)
    return [
        Recipe("draft-model-4", "draft_model", lambda one: draft_model.Drafter(draft_of(one.model)), note),
        Recipe("token-tree", "token_tree", lambda one: token_tree.Drafter(draft_of(one.model), shape), note),
        Recipe(
            "llmcad",
            "llmcad",
            lambda one: llmcad.Drafter(draft_of(one.model)),
            "; ".join(filter(None, ("made for targets that do not fit in memory", note))),
        ),
        Recipe(
            "quantized-draft-4",
            "quantized_draft",
            lambda one: quantized_draft.Drafter(copy_at_8_bits(one.model), compiled),
            "a copy at 8 bits on the target's own cache, its step compiled",
        ),
        Recipe(
            "quantized-draft-4-eager",
            "quantized_draft",
            lambda one: quantized_draft.Drafter(copy_at_8_bits(one.model)),
            "the same, its step not compiled",
        ),
    ]


def smollm2_drafters() -> Path:
    """The folder that $SMOLLM2_DRAFTERS names. Raises NotInstalledError where there is none."""
    folder = os.environ.get("SMOLLM2_DRAFTERS")
    if not folder:
        raise NotInstalledError("heads for SmolLM2; see scripts/train_drafters.py, then set $SMOLLM2_DRAFTERS")
    return Path(folder)


def _untrained() -> list[Recipe]:
    return [
        Recipe("prompt-lookup", "prompt_lookup", lambda _: prompt_lookup.Drafter()),
        Recipe("retrieval", "retrieval", lambda setup: _retrieval(setup.model)),
        Recipe("lookahead", "lookahead", _lookahead),
    ]


def _lookahead(setup: Setup) -> Drafter:
    return lookahead.Drafter(lookahead.Config(vocab=target(setup.model).config.vocab))


@cache
def _retrieval(model: str) -> Drafter:
    """Sorted once: it is its own session and remembers nothing."""
    return retrieval.Drafter(store(model))


def _exit(setup: Setup, layers: int, length: int = 4) -> Drafter:
    return self_speculative.Drafter(target(setup.model), self_speculative.exit_at(layers, length))


def draft_of(model: str) -> Decoder:
    """The model that drafts for a target: the tiny draft, or the target's copy where no smaller one has its tokens."""
    return draft() if model == "tiny-target" else copy_at_8_bits(model)


@cache
def copy_at_8_bits(model: str) -> Decoder:
    """Its linear layers and head rounded to 8 bits, with the products of each layer fused."""
    copy: Decoder = rounded_to_8_bits(fuse(target(model)))
    return copy


def rounded_to_8_bits(model: nn.Module) -> Any:
    """A copy of any model. Raises ValueError, with the reason, where the kernel for CPUs does not run."""
    config = rtn.Config(bits=8, group_size=None, symmetric=True)
    return quantize_model(model, rtn, config, skip=(), effect="kernel", path="w8a8_cpu").eval()
