"""LLM-Pruner: remove coupled structures whose removal changes the loss least, then recover with LoRA.

Paper: arXiv 2305.11627, section 3.1 (coupled structures), 3.2, eq. 3-5 (importance), 3.3 (recovery).
Idea: loss moves by gradient times weight if a weight goes; sum that over all that must go together.
Symbols: g = gradient of the next-token loss on calibration text; importance of a structure = sum of |g * w|.
Simplified: coupling is known from the decoder and not traced; first order only, no diagonal of the Fisher matrix.
Differs: each block removes the same share of its own structures, so that all stay alike; under grouped queries a
    key/value head goes with its query heads.
Cost: one backward pass over the calibration text, with a gradient for each weight.
Checked against: gradients written out for one structure; the dense model with the same structures set to zero.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from reference_impls.adaptation import lora
from reference_impls.models.decoder import Block, Decoder
from reference_impls.models.perplexity import token_losses
from reference_impls.pruning import Calibration
from reference_impls.pruning.surgery import BlockScores, ShrinkConfig, as_decoder, cut, decoder_blocks


@dataclass(frozen=True)
class Config(ShrinkConfig):
    """How much, and how a structure's importance is put together."""

    importance: Literal["element", "vector"] = "element"  # sum of |g w|, or the absolute value of each part's sum

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.importance not in ("element", "vector"):
            raise ValueError(f"importance must be element or vector, got {self.importance!r}")


@dataclass(frozen=True)
class Recovery:
    """The training after pruning."""

    steps: int = 50
    learning_rate: float = 3e-4
    adapter: lora.Config = field(default_factory=lora.Config)


def shrink(model: nn.Module, config: Config, calibration: Calibration | None = None) -> Decoder:
    """A decoder without the structures of least importance. calibration: batches of tokens (batch, seq)."""
    decoder = as_decoder(model)
    if calibration is None:
        raise ValueError("structured needs text to find gradients on: give calibration=Calibration(batches)")
    products = gradient_products(decoder, calibration.batches)
    return cut(decoder, [block_scores(block, products, config) for block in decoder_blocks(decoder)], config)


def gradient_products(model: Decoder, batches: Sequence[Tensor]) -> dict[Tensor, Tensor]:
    """g * w of every weight in the blocks. batches: tokens (batch, seq) each -> (out, in) by parameter"""
    weights = [weight for weight in model.blocks.parameters() if weight.dim() == 2]
    trained = [weight.requires_grad for weight in weights]
    total = [torch.zeros_like(weight) for weight in weights]
    try:
        for weight in weights:
            weight.requires_grad_(True)
        for tokens in batches:
            loss = token_losses(model(tokens[:, :-1]), tokens[:, 1:]).mean() / len(batches)
            total = [held + new for held, new in zip(total, torch.autograd.grad(loss, weights), strict=True)]
    finally:
        for weight, was in zip(weights, trained, strict=True):
            weight.requires_grad_(was)
    return {weight: gradient * weight.detach() for weight, gradient in zip(weights, total, strict=True)}


def block_scores(block: Block, products: dict[Tensor, Tensor], config: Config) -> BlockScores:
    """Importance of each neuron and each group of one block, over all the weights that go with it."""
    attention, ffn = block.attention, block.ffn
    size = attention.head_dim
    queries = size * (attention.query.out_features // attention.key.out_features)

    def score(layer: nn.Linear, lines: int = 1, columns: bool = False) -> Tensor:
        product = products[layer.weight].T if columns else products[layer.weight]
        parts = product.reshape(-1, lines, product.shape[1])  # (structures, rows or columns of each, the other axis)
        if config.importance == "vector":
            return parts.sum(2).abs().sum(1)
        return parts.abs().sum((1, 2))

    neurons = score(ffn.gate) + score(ffn.up) + score(ffn.down, columns=True)
    groups = score(attention.query, queries) + score(attention.key, size) + score(attention.value, size)
    return BlockScores(neurons, groups + score(attention.output, queries, columns=True))


def recover(model: Decoder, batches: Sequence[Tensor], config: Recovery, generator: torch.Generator) -> Decoder:
    """Train adapters on next tokens, going round the batches, and merge them. batches: tokens (batch, seq) each"""
    adapted = lora.adapt(model, config.adapter, generator)
    optimizer = torch.optim.AdamW(lora.adapter_parameters(adapted), lr=config.learning_rate, weight_decay=0.0)
    for step in range(config.steps):
        tokens = batches[step % len(batches)]
        optimizer.zero_grad()
        torch.autograd.backward(token_losses(adapted(tokens[:, :-1]), tokens[:, 1:]).mean())
        optimizer.step()
    merged = lora.merge(adapted)
    if not isinstance(merged, Decoder):
        raise TypeError(f"merging must give back a Decoder, got {type(merged).__name__}")
    return merged
