"""Width pruning: remove the heads and neurons whose activations are smallest, without any gradient.

Paper: arXiv 2407.14679, section 2.2 (scores from activations); 2310.06694, section 2.1 (one shape for every layer).
Idea: what a structure puts out on calibration text tells how much the next layer would miss it.
Symbols: score of a neuron = mean |silu(gate x) * up x|; of a group = mean norm of what its heads put out.
Simplified: heads and neurons only, no channels of the residual stream; no masks learnt, no training afterwards.
Differs: the gated product is scored, where the first paper's models have one projection before the activation.
Cost: one forward pass over the calibration text.
Checked against: activations computed by hand; silent structures, which must go first and change nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from reference_impls.models.decoder import Block, Decoder
from reference_impls.pruning import Calibration
from reference_impls.pruning.surgery import BlockScores, ShrinkConfig, as_decoder, cut, decoder_blocks


@dataclass(frozen=True)
class Config(ShrinkConfig):
    """How much."""


class _Sums:
    """Running sums for one block, filled by hooks at the inputs of `down` and `output`."""

    def __init__(self, block: Block) -> None:
        self.head_dim = block.attention.head_dim
        self.heads = block.attention.query.out_features // self.head_dim
        self.kv_heads = block.attention.key.out_features // self.head_dim
        self.neurons = self.groups = torch.zeros(())
        self.tokens = 0

    def add_neurons(self, inputs: Tensor) -> None:
        """inputs: (batch, seq, ffn)"""
        self.neurons = self.neurons + inputs.detach().abs().flatten(0, 1).double().sum(0)
        self.tokens += inputs.shape[0] * inputs.shape[1]

    def add_heads(self, inputs: Tensor) -> None:
        """inputs: (batch, seq, heads * head_dim)"""
        heads = inputs.detach().reshape(-1, self.kv_heads, self.heads // self.kv_heads, self.head_dim)
        self.groups = self.groups + torch.linalg.vector_norm(heads.double(), dim=-1).sum(
            (0, 2)
        )  # over tokens and the heads of a group

    def scores(self) -> BlockScores:
        return BlockScores(self.neurons / self.tokens, self.groups / self.tokens)


def shrink(model: nn.Module, config: Config, calibration: Calibration | None = None) -> Decoder:
    """A decoder without the structures of smallest activations. calibration: batches of tokens (batch, seq)."""
    decoder = as_decoder(model)
    if calibration is None:
        raise ValueError("width needs text to see activations on: give calibration=Calibration(batches)")
    return cut(decoder, activation_scores(decoder, calibration), config)


@torch.no_grad()
def activation_scores(model: Decoder, calibration: Calibration) -> list[BlockScores]:
    """Mean size of what each structure puts out, block by block."""
    blocks = decoder_blocks(model)
    sums = [_Sums(block) for block in blocks]

    def hook(add: Callable[[Tensor], None]) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        return lambda _module, inputs: add(inputs[0])

    handles = [
        layer.register_forward_pre_hook(hook(add))
        for block, held in zip(blocks, sums, strict=True)
        for layer, add in ((block.ffn.down, held.add_neurons), (block.attention.output, held.add_heads))
    ]
    try:
        for batch in calibration.batches:
            calibration.forward(model, batch)
    finally:
        for handle in handles:
            handle.remove()
    return [held.scores() for held in sums]
