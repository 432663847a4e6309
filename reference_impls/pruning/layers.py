"""ShortGPT: remove the blocks that change the residual stream least.

Paper: arXiv 2403.03853 (block influence, layer removal).
Idea: a block whose output points where its input pointed adds little, and the next can do without it.
Symbols: x_i = hidden states before block i; influence = 1 - mean cos(x_i, x_(i + 1)), 0 to 2.
Simplified: nothing; no training afterwards, as in the paper's main results.
Differs: nothing.
Cost: one forward pass over the calibration text; every removed block saves its share of weights, FLOPs and cache.
Checked against: hand-made hidden states; blocks that do nothing, whose removal must be exact.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

from reference_impls.models.decoder import Decoder
from reference_impls.pruning import Calibration
from reference_impls.pruning.surgery import as_decoder, remove_blocks
from reference_impls.quantization.calibration import find_blocks


@dataclass(frozen=True)
class Config:
    """How many blocks go."""

    removed: int = 1

    def __post_init__(self) -> None:
        if self.removed < 0:
            raise ValueError(f"removed must not be negative, got {self.removed}")


def influence(before: Tensor, after: Tensor) -> Tensor:
    """1 - cos, for each token. before, after: (.., hidden) -> (..)"""
    return 1 - cosine_similarity(before.double(), after.double(), dim=-1)


@torch.no_grad()
def block_influence(model: nn.Module, calibration: Calibration) -> Tensor:
    """Mean influence of every block over the calibration tokens, of any model with a list of blocks. -> (layers,)"""
    blocks = find_blocks(model)
    sums, tokens = torch.zeros(len(blocks), dtype=torch.float64), torch.zeros(len(blocks), dtype=torch.float64)

    def observe(index: int) -> Any:
        def hook(_module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            after = output if isinstance(output, Tensor) else output[0]
            found = influence(inputs[0], after)
            sums[index] += found.sum().cpu()
            tokens[index] += found.numel()

        return hook

    handles = [block.register_forward_hook(observe(index)) for index, block in enumerate(blocks.values())]
    try:
        for batch in calibration.batches:
            calibration.forward(model, batch)
    finally:
        for handle in handles:
            handle.remove()
    return sums / tokens


def least_influential(scores: Tensor, removed: int) -> list[int]:
    """Blocks of lowest score, of equal ones the first, in order. scores: (layers,)"""
    return sorted(scores.argsort(stable=True)[:removed].tolist())


def shrink(model: nn.Module, config: Config, calibration: Calibration | None = None) -> Decoder:
    """A decoder without its least influential blocks. calibration: batches of tokens (batch, seq)."""
    decoder = as_decoder(model)
    if calibration is None:
        raise ValueError("layers needs text to see hidden states on: give calibration=Calibration(batches)")
    return remove_blocks(decoder, least_influential(block_influence(decoder, calibration), config.removed))
