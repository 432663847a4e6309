"""Fewer heads of keys and values: pooled, pooled and trained on, and latents trained against heads at equal bytes."""

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import replace
from functools import cache, partial
from typing import Literal

import torch
from torch import nn

from reference_impls.attention import gqa, mla
from reference_impls.measurement.case import Case, Value
from reference_impls.models.decoder import Config as Shape
from reference_impls.models.decoder import Decoder
from reference_impls.models.perplexity import token_losses, token_perplexity
from reference_impls.models.shapes import INITIAL_DEVIATION, random_model
from reference_impls.pruning.bench_models import PROPERTY, SEEDS, Way, load_model, tokens_of, value_case

EVALUATED, CONTEXT = 2048, 256
UPTRAIN_STEPS, UPTRAIN_RATE, UPTRAIN_BATCH = 60, 3e-4, 1
TOY = Shape(vocab=1024, hidden=96, layers=2, heads=6, kv_heads=6, head_dim=16, ffn=256, max_positions=512)
TOY_STEPS, TOY_RATE, TOY_WARMUP, TOY_BATCH, TOY_CONTEXT = 450, 4e-3, 50, 2, 128
"""Many steps of few tokens: with so little text, a step more teaches more than a sequence more."""
HEADS = {"mha": 6, "gqa-2": 2, "mqa": 1}
LATENTS = {"mla": (24, 8), "mla-64": (48, 16)}
"""Numbers of the latent and of the rotated key: together as many as one head of keys and values, and as two."""


def cases() -> list[Case]:
    """A trained model converted, and small ones trained from nothing."""
    return [*_converted(), *_trained()]


# The tiny target with one head of keys and values instead of two.


@cache
def converted(how: Literal["mean", "first", "two"]) -> Decoder:
    """One head that is the mean of the two, or the first of them; "two" is the model as it is."""
    model = load_model("tiny-target")
    return model if how == "two" else gqa.convert(model, gqa.Config(1, how))


@cache
def uptrained(how: Literal["mean", "first", "two"], seed: int) -> float:
    """Perplexity after training on; the seed draws the order of the text."""
    model = train(converted(how), UPTRAIN_STEPS, UPTRAIN_RATE, UPTRAIN_BATCH, CONTEXT, seed=seed)
    return _of(model)


def train(model: Decoder, steps: int, rate: float, batch: int, context: int, warmup: int = 0, seed: int = 0) -> Decoder:
    """Train on text behind what is evaluated; the rate rises for `warmup` steps, and falls to 0 in a line."""
    model = deepcopy(model).requires_grad_(True).train()
    text = tokens_of("tiny-target")[EVALUATED:]
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, betas=(0.9, 0.95), weight_decay=0.01)
    generator = torch.Generator().manual_seed(seed)
    with torch.inference_mode(False), torch.enable_grad():
        for step in range(steps):
            for group in optimizer.param_groups:
                group["lr"] = rate * min(1 - step / steps, (step + 1) / (warmup + 1))
            starts = torch.randint(len(text) - context - 1, (batch,), generator=generator)
            tokens = torch.stack([text[start : start + context + 1] for start in starts])
            loss = token_losses(model(tokens[:, :-1]), tokens[:, 1:]).mean()
            optimizer.zero_grad()
            torch.autograd.backward([loss])
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
    return model.requires_grad_(False).eval()


def _of(model: Decoder) -> float:
    return token_perplexity(model, tokens_of("tiny-target")[:EVALUATED], CONTEXT)


@cache
def untrained(how: Literal["mean", "first", "two"]) -> float:
    """Perplexity without training on, the same for every seed."""
    return _of(converted(how))


def _perplexity(how: Literal["mean", "first", "two"], trains_on: bool, _model: str, seed: int) -> float:
    return uptrained(how, seed) if trains_on else untrained(how)


def _bytes(numbers: int, layers: int, _model: str, _seed: int) -> float:
    """Of a cache of CONTEXT tokens in 16 bits."""
    return 2.0 * numbers * layers * CONTEXT


def _work(**more: Value) -> dict[str, Value]:
    return {
        "model": "tiny-target",
        "text": "Sense and Sensibility from chapter 38, held out from the tiny models",
        "tokens": EVALUATED,
        "context_length": CONTEXT,
        "dtype": "float32",
        **more,
    }


def _converted() -> list[Case]:
    shape = load_shape()
    hows: tuple[Literal["mean", "first"], ...] = ("mean", "first")
    names = [*hows, *(f"{how}-trained" for how in hows)]
    two, one = gqa.cache_numbers(2, shape.head_dim), gqa.cache_numbers(1, shape.head_dim)
    quality = [
        Way("two-heads", partial(_perplexity, "two", False), role="baseline"),
        Way("two-heads-trained", partial(_perplexity, "two", True), "gqa", effect="packed"),
        *(Way(how, partial(_perplexity, how, False), "gqa", effect="packed") for how in hows),
        *(Way(f"{how}-trained", partial(_perplexity, how, True), "gqa", effect="packed") for how in hows),
    ]
    size = [
        Way("two-heads", partial(_bytes, two, shape.layers), role="baseline", effect="packed"),
        Way("two-heads-trained", partial(_bytes, two, shape.layers), "gqa", effect="packed"),
        *(Way(name, partial(_bytes, one, shape.layers), "gqa", effect="packed") for name in names),
    ]
    work = _work(uptrain_steps=UPTRAIN_STEPS, uptrain_tokens=UPTRAIN_STEPS * UPTRAIN_BATCH * CONTEXT)
    title = "One head of keys and values made of two"
    prefix = "attention/gqa/tiny-target/one-head"
    return [
        value_case(f"{prefix}/perplexity", title, "perplexity", quality, work, trials=SEEDS, why=PROPERTY),
        value_case(f"{prefix}/kv_bytes", title, "kv_bytes", size, work, why="bytes follow from the shape"),
    ]


def load_shape() -> Shape:
    """Of the tiny target, without its weights."""
    return Shape(vocab=1024, hidden=192, layers=6, heads=6, kv_heads=2, head_dim=32, ffn=512, max_positions=1024)


# Small models trained from nothing.


def toy(kind: str, seed: int) -> Decoder:
    """Untrained: heads of their own, groups, one shared head, or latents of as many bytes as the one or the two."""
    generator = torch.Generator().manual_seed(seed)
    if kind not in LATENTS:
        return random_model(replace(TOY, kv_heads=HEADS[kind]), generator, torch.float32)
    latent, rope_dim = LATENTS[kind]
    config = mla.Config(TOY.hidden, TOY.heads, TOY.head_dim, latent, rope_dim, absorbed=False)
    model = random_model(replace(TOY, head_dim=rope_dim), generator, torch.float32)  # angles are of rope_dim
    for layer, block in enumerate(model.blocks):
        block.attention = mla.LatentAttention(config, layer)
        for weight in block.attention.parameters():
            if weight.dim() > 1:
                nn.init.normal_(weight, std=INITIAL_DEVIATION, generator=generator)
    return model


def trained(kind: str, seed: int) -> Decoder:
    """After TOY_STEPS steps, the same for all kinds; the seed draws the weights and the order of the text."""
    return train(toy(kind, seed), TOY_STEPS, TOY_RATE, TOY_BATCH, TOY_CONTEXT, TOY_WARMUP, seed)


def _toy_perplexity(kind: str, _model: str, seed: int) -> float:
    return _of(trained(kind, seed))


def _trained() -> list[Case]:
    """Against separate heads; and latents against two heads, whose bytes they have: other bytes, another comparison."""
    small = "Small decoders trained from nothing"
    return [
        *_compared("toy", ("mha", "gqa-2", "mqa", "mla"), f"{small}: separate heads, groups, one head, latents"),
        *_compared("toy-two-heads", ("gqa-2", "mla-64"), f"{small}: two heads of keys and values, and as many bytes"),
    ]


def _compared(name: str, kinds: Sequence[str], title: str) -> list[Case]:
    """Perplexity and bytes of these kinds, the first of which is the baseline."""
    numbers = {kind: gqa.cache_numbers(heads, TOY.head_dim) for kind, heads in HEADS.items()}
    numbers |= {kind: latent + rope_dim for kind, (latent, rope_dim) in LATENTS.items()}

    def ways(measure: Callable[[str], Callable[[str, int], float]]) -> list[Way]:
        base = Way(kinds[0], measure(kinds[0]), role="baseline", effect="packed")
        modules = {kind: "mla" if kind in LATENTS else "gqa" for kind in kinds[1:]}
        return [base, *(Way(kind, measure(kind), module, effect="packed") for kind, module in modules.items())]

    quality = ways(lambda kind: partial(_toy_perplexity, kind))
    size = ways(lambda kind: partial(_bytes, numbers[kind], TOY.layers))
    work = _work(
        task="decoders of 2 layers, trained from nothing",
        train_steps=TOY_STEPS,
        train_tokens=TOY_STEPS * TOY_BATCH * TOY_CONTEXT,
    )
    prefix, why = f"attention/heads/{name}", "bytes follow from the shape"
    return [
        value_case(f"{prefix}/perplexity", title, "perplexity", quality, work, trials=SEEDS, why=PROPERTY),
        value_case(f"{prefix}/kv_bytes", title, "kv_bytes", size, work, why=why),
    ]
