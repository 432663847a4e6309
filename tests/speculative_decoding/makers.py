"""One drafter of every module, for the random models of these tests."""

from collections.abc import Callable
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

import torch

import reference_impls.speculative_decoding as family
from reference_impls.models import generate as plain
from reference_impls.models.decoder import Decoder
from reference_impls.quantization.apply import quantize_model
from reference_impls.speculative_decoding import (
    Drafter,
    bild,
    draft_model,
    eagle,
    llmcad,
    lookahead,
    medusa,
    oracle,
    prompt_lookup,
    quantized_draft,
    retrieval,
    self_speculative,
    token_tree,
)
from tests.speculative_decoding.conftest import near, some_tokens

MAKERS: dict[str, Callable[[Decoder, torch.Tensor], Drafter]] = {
    "bild": lambda target, prompt: bild.Drafter(near(target, 0.1), bild.Config(fallback=0.3)),
    "draft_model": lambda target, prompt: draft_model.Drafter(near(target, 0.1)),
    "eagle": lambda target, prompt: eagle.Drafter(target, block(target), eagle.tree((2, 2, 1))),
    "llmcad": lambda target, prompt: llmcad.Drafter(near(target, 0.1)),
    "lookahead": lambda target, prompt: lookahead.Drafter(lookahead.Config(vocab=32)),
    "medusa": lambda target, prompt: medusa.Drafter(target, heads(target), medusa.best_shape([[0.5, 0.2]] * 3, 9)),
    "oracle": lambda target, prompt: oracle.Drafter(known(target, prompt), oracle.Config(0.7, vocab=32)),
    "prompt_lookup": lambda target, prompt: prompt_lookup.Drafter(),
    "quantized_draft": lambda target, prompt: quantized_draft.Drafter(rounded(target)),
    "retrieval": lambda target, prompt: retrieval.Drafter(
        some_tokens(2000, vocab=32).tolist(), retrieval.Config(min_ngram=1)
    ),
    "self_speculative": lambda target, prompt: self_speculative.Drafter(target, self_speculative.exit_at(1)),
    "token_tree": lambda target, prompt: token_tree.Drafter(near(target, 0.1), token_tree.fixed_shape((3, 2, 1))),
}


def known(target: Decoder, prompt: torch.Tensor) -> list[int]:
    return [*prompt.tolist(), *plain.generate(target, prompt[None], 60)[0].tolist()]


def rounded(target: Decoder) -> Decoder:
    """So roughly that guesses are wrong at times."""
    copy: Any = quantize_model(target, "rtn", {"bits": 4, "group_size": None}, skip=())
    return copy


def heads(target: Decoder) -> medusa.Heads:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        made = medusa.Heads(target.config.hidden, 3).to(target.embedding.weight.dtype)
        torch.nn.init.normal_(made.layers[1].weight, std=0.3)  # type: ignore[arg-type]
    return made.requires_grad_(False)


def block(target: Decoder) -> eagle.Head:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return eagle.Head(target.config).to(target.embedding.weight.dtype).requires_grad_(False)


def modules() -> dict[str, Any]:
    """Every drafter of the family, found by walking the package."""
    found = {one.name: import_module(f"{family.__name__}.{one.name}") for one in iter_modules(family.__path__)}
    return {
        name: module
        for name, module in found.items()
        if getattr(getattr(module, "Drafter", None), "__module__", "") == module.__name__
    }
