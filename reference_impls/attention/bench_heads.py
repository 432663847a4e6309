"""Fewer heads of keys and values: pooled, pooled and trained on, and latents trained against heads at equal bytes."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from functools import cache, partial

import torch
from torch import nn

from reference_impls.attention import gqa, mla
from reference_impls.measurement.case import Case, Value
from reference_impls.models.decoder import Config as Shape
from reference_impls.models.decoder import Decoder
from reference_impls.models.perplexity import token_losses, token_perplexity
from reference_impls.models.shapes import random_model
from reference_impls.pruning.bench_models import PROPERTY, Way, load_model, tokens_of, value_case

EVALUATED, CONTEXT = 2048, 256
UPTRAIN_STEPS, UPTRAIN_RATE = 40, 3e-4
TOY = Shape(vocab=1024, hidden=96, layers=2, heads=6, kv_heads=6, head_dim=16, ffn=256, max_positions=512)
TOY_STEPS, TOY_RATE, TOY_BATCH, TOY_CONTEXT = 150, 4e-3, 8, 128


def cases() -> list[Case]:
    """A trained model converted, and small ones trained from nothing."""
    return [*_converted(), *_trained()]


# The tiny target with one head of keys and values instead of two.


@cache
def converted(name: str) -> Decoder:
    """mean or first, and trained on where the name says so."""
    how, _, trained = name.partition("-")
    model = gqa.convert(load_model("tiny-target"), gqa.Config(1, "mean" if how == "mean" else "first"))
    return train(model, UPTRAIN_STEPS, UPTRAIN_RATE, 4, CONTEXT) if trained else model


def train(model: Decoder, steps: int, rate: float, batch: int, context: int) -> Decoder:
    """Train on text behind what is evaluated; the rate falls to 0 in a line."""
    model = deepcopy(model).requires_grad_(True).train()
    text = tokens_of("tiny-target")[EVALUATED:]
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, betas=(0.9, 0.95), weight_decay=0.01)
    generator = torch.Generator().manual_seed(0)
    with torch.inference_mode(False), torch.enable_grad():
        for step in range(steps):
            for group in optimizer.param_groups:
                group["lr"] = rate * (1 - step / steps)
            starts = torch.randint(len(text) - context - 1, (batch,), generator=generator)
            tokens = torch.stack([text[start : start + context + 1] for start in starts])
            loss = token_losses(model(tokens[:, :-1]), tokens[:, 1:]).mean()
            optimizer.zero_grad()
            torch.autograd.backward([loss])
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
    return model.requires_grad_(False).eval()


def _perplexity(make: Callable[[], Decoder], _model: str, _seed: int) -> float:
    return token_perplexity(make(), tokens_of("tiny-target")[:EVALUATED], CONTEXT)


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
    names = ("mean", "first", "mean-trained", "first-trained")
    two, one = gqa.cache_numbers(2, shape.head_dim), gqa.cache_numbers(1, shape.head_dim)
    quality = [
        Way("two-heads", partial(_perplexity, partial(load_model, "tiny-target")), role="baseline"),
        Way("two-heads-trained", partial(_perplexity, _baseline_trained), "gqa", effect="packed"),
        *(Way(name, partial(_perplexity, partial(converted, name)), "gqa", effect="packed") for name in names),
    ]
    size = [
        Way("two-heads", partial(_bytes, two, shape.layers), role="baseline", effect="packed"),
        Way("two-heads-trained", partial(_bytes, two, shape.layers), "gqa", effect="packed"),
        *(Way(name, partial(_bytes, one, shape.layers), "gqa", effect="packed") for name in names),
    ]
    work = _work(uptrain_steps=UPTRAIN_STEPS, uptrain_tokens=UPTRAIN_STEPS * 4 * CONTEXT)
    title = "One head of keys and values made of two"
    prefix = "attention/gqa/tiny-target/one-head"
    return [
        value_case(f"{prefix}/perplexity", title, "perplexity", quality, work, why=PROPERTY),
        value_case(f"{prefix}/kv_bytes", title, "kv_bytes", size, work, why="bytes follow from the shape"),
    ]


def load_shape() -> Shape:
    """Of the tiny target, without its weights."""
    return Shape(vocab=1024, hidden=192, layers=6, heads=6, kv_heads=2, head_dim=32, ffn=512, max_positions=1024)


@cache
def _baseline_trained() -> Decoder:
    """The control: the same training without a conversion."""
    return train(load_model("tiny-target"), UPTRAIN_STEPS, UPTRAIN_RATE, 4, CONTEXT)


# Small models trained from nothing.


def toy(kind: str) -> Decoder:
    """Untrained: heads of their own, groups, one shared head, or latents of as many bytes as that one."""
    heads = {"mha": 6, "gqa-2": 2, "mqa": 1, "mla": 1}[kind]
    generator = torch.Generator().manual_seed(1)
    if kind != "mla":
        return random_model(replace(TOY, kv_heads=heads), generator, torch.float32)
    config = mla.Config(TOY.hidden, TOY.heads, TOY.head_dim, latent=24, rope_dim=8)
    model = random_model(replace(TOY, head_dim=config.rope_dim), generator, torch.float32)  # angles are of rope_dim
    for layer, block in enumerate(model.blocks):
        made = mla.LatentAttention(config, layer)
        for weight in made.parameters():
            if weight.dim() > 1:
                nn.init.normal_(weight, std=weight.shape[1] ** -0.5, generator=generator)
        block.attention = made
    return model


@cache
def trained(kind: str) -> Decoder:
    """After TOY_STEPS steps."""
    return train(toy(kind), TOY_STEPS, TOY_RATE, TOY_BATCH, TOY_CONTEXT)


def _trained() -> list[Case]:
    numbers = {"mha": 192, "gqa-2": 64, "mqa": 32, "mla": 32}
    modules = {"gqa-2": "gqa", "mqa": "gqa", "mla": "mla"}

    def ways(measure: Callable[[str], Callable[[str, int], float]]) -> list[Way]:
        base = Way("mha", measure("mha"), role="baseline", effect="packed")
        return [base, *(Way(kind, measure(kind), module, effect="packed") for kind, module in modules.items())]

    quality = ways(lambda kind: partial(_perplexity, partial(trained, kind)))
    size = ways(lambda kind: partial(_bytes, numbers[kind], TOY.layers))
    work = _work(
        task="decoders of 2 layers, trained from nothing",
        train_steps=TOY_STEPS,
        train_tokens=TOY_STEPS * TOY_BATCH * TOY_CONTEXT,
    )
    title = "Small decoders trained from nothing: separate heads, groups, one head, latents"
    return [
        value_case("attention/heads/toy/perplexity", title, "perplexity", quality, work, why=PROPERTY),
        value_case("attention/heads/toy/kv_bytes", title, "kv_bytes", size, work, why="bytes follow from the shape"),
    ]
