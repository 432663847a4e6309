"""QuaRot: rotate the inputs of every layer so that no channel is an outlier, then round weights and activations.

Paper: arXiv 2404.00456, section 4 (stages 1a-1c).
Idea: (x R)(R^T W^T) is the same product for orthogonal R, and a Hadamard R spreads a large channel over all of them.
Symbols: R = rotation of the residual stream, H = Hadamard matrix of a layer's inputs.
Simplified: rotations are multiplied as full matrices (no fast transform); the key/value cache is not rounded, so
    queries and keys are not rotated after RoPE; each attention head is rotated by itself, folded on both sides.
Differs: the method alone rotates every layer's inputs online; `rotate_decoder` folds all but one a block.
    The paper rounds weights by GPTQ, `quantize` to nearest. A rotated model with tied embeddings has them untied.
Cost: bits + 16 / in a weight; online one product by H a layer, folded only that of the down projection.
Checked against: the unrotated model in float64, orthogonality, int32 arithmetic on the codes.
"""

from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from reference_impls.quantization import LayerStats
from reference_impls.quantization.grid import GridConfig, GridWeight, decode_weight, fake_quantize_rows, round_weight
from reference_impls.quantization.hadamard import hadamard, random_hadamard


@dataclass(frozen=True)
class Config(GridConfig):
    """The grid of the weights, bits of the activations, and whether each layer rotates its own inputs."""

    group_size: int | None = None
    symmetric: bool = True
    input_bits: int | None = 4  # None: weight_only
    rotate_inputs: bool = True  # False: for models that went through rotate_decoder, and as the control

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.input_bits is not None:
            GridConfig(self.input_bits)  # checks the bits


@dataclass(frozen=True)
class RotatedWeight:
    """The codes of W H, and H."""

    grid: GridWeight
    rotation: Tensor | None  # (in, in): H; None: the inputs are not rotated here
    input_bits: int | None

    @property
    def shape(self) -> tuple[int, int]:
        """(out, in) of the weight."""
        return self.grid.shape

    @property
    def bits_per_weight(self) -> float:
        """As the grid; H is known from its size and not stored."""
        return self.grid.bits_per_weight


def quantize(weight: Tensor, config: Config, stats: LayerStats | None = None) -> RotatedWeight:  # noqa: ARG001
    """weight: (out, in) -> codes of W H: (out, groups, group_size). The statistics are not used."""
    weight = weight.detach()
    if not config.rotate_inputs:
        return RotatedWeight(round_weight(weight, config), None, config.input_bits)
    rotation = hadamard(weight.shape[1], torch.promote_types(weight.dtype, torch.float32), weight.device)
    rotated = (weight.to(rotation.dtype) @ rotation).to(weight.dtype)
    return RotatedWeight(round_weight(rotated, config), rotation, config.input_bits)


def dequantize(quantized: RotatedWeight) -> Tensor:
    """-> (out, in), turned back"""
    weight = decode_weight(quantized.grid)
    if quantized.rotation is None:
        return weight
    return (weight.to(quantized.rotation.dtype) @ quantized.rotation.T).to(weight.dtype)


def quantize_input(inputs: Tensor, quantized: RotatedWeight) -> Tensor:
    """Rotated, rounded per token, and turned back. inputs: (batch.., in) -> the same shape"""
    if quantized.input_bits is None:
        return inputs
    if quantized.rotation is None:
        return fake_quantize_rows(inputs, quantized.input_bits)
    rotation = quantized.rotation
    rounded = fake_quantize_rows(inputs.to(rotation.dtype) @ rotation, quantized.input_bits)
    return (rounded @ rotation.T).to(inputs.dtype)


class Rotate(nn.Module):
    """Multiply by a fixed orthogonal matrix: the one rotation that no weight can take."""

    matrix: Tensor

    def __init__(self, matrix: Tensor) -> None:
        super().__init__()
        self.register_buffer("matrix", matrix)

    def forward(self, inputs: Tensor) -> Tensor:
        """inputs: (batch.., in) -> the same shape"""
        return inputs @ self.matrix


_NAMES = (  # where this package's decoder and Hugging Face's Llama keep the same things
    {
        "embedding": "embedding", "blocks": "blocks", "norm": "norm", "head": "head",
        "block norms": ("attention_norm", "ffn_norm"),
        "attention in": ("attention.query", "attention.key", "attention.value"),
        "value": "attention.value", "attention out": "attention.output",
        "ffn in": ("ffn.gate", "ffn.up"), "ffn out": "ffn.down",
    },
    {
        "embedding": "model.embed_tokens", "blocks": "model.layers", "norm": "model.norm", "head": "lm_head",
        "block norms": ("input_layernorm", "post_attention_layernorm"),
        "attention in": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
        "value": "self_attn.v_proj", "attention out": "self_attn.o_proj",
        "ffn in": ("mlp.gate_proj", "mlp.up_proj"), "ffn out": "mlp.down_proj",
    },
)  # fmt: skip


def rotate_decoder(model: nn.Module, generator: torch.Generator) -> nn.Module:
    """A copy that computes the same with a rotated residual stream; round it with Config(rotate_inputs=False).

    Norm weights move into the layers behind them (stage 1a); the residual stream turns by a random Hadamard R; heads of
    values turn with the output projection; the down projection's inputs turn online (stage 1b).
    """
    names = next((names for names in _NAMES if _has(model, str(names["embedding"]))), None)
    if names is None:
        raise ValueError(f"{type(model).__name__} is no Llama-style decoder: found neither embedding nor embed_tokens")
    result = deepcopy(model)
    embedding, head, norm = (_at(result, names[part]) for part in ("embedding", "head", "norm"))
    head.weight = nn.Parameter(head.weight.detach().clone())  # unties it
    if getattr(getattr(result, "config", None), "tie_word_embeddings", False):
        result.config.tie_word_embeddings = False  # type: ignore[union-attr]
    residual = random_hadamard(embedding.weight.shape[1], generator, torch.float64).to(embedding.weight.device)
    _set(embedding, embedding.weight.double() @ residual)
    for block in _at(result, names["blocks"]):
        _rotate_block(block, names, residual)
    _fold_norm(norm, [head])
    _set(head, head.weight.double() @ residual)
    return result


def _rotate_block(block: nn.Module, names: dict[str, Any], residual: Tensor) -> None:
    """In place: residual stream, heads of values, and the down projection."""
    for norm, layers in zip(names["block norms"], (names["attention in"], names["ffn in"]), strict=True):
        inner = [_at(block, layer) for layer in layers]
        _fold_norm(_at(block, norm), inner)
        for layer in inner:
            _set(layer, layer.weight.double() @ residual)
    attention = _at(block, names["attention out"].rpartition(".")[0])
    value, output, down = (_at(block, names[part]) for part in ("value", "attention out", "ffn out"))
    turn = hadamard(int(attention.head_dim), torch.float64, residual.device)
    _set(value, (turn.T @ value.weight.double().unflatten(0, (-1, len(turn)))).flatten(0, 1))
    _set(output, (output.weight.double().unflatten(1, (-1, len(turn))) @ turn).flatten(1))
    online = hadamard(down.in_features, torch.float64, residual.device)
    _set(down, down.weight.double() @ online)
    for layer in (output, down):
        if layer.bias is not None:
            raise ValueError("rotate_decoder: layers that write to the residual stream must have no bias")
        _set(layer, residual.T @ layer.weight.double())
    block.set_submodule(names["ffn out"], nn.Sequential(Rotate(online.to(down.weight.dtype)), down))


def _fold_norm(norm: Any, layers: list[Any]) -> None:
    """In place: the norm's weight, one a channel, moves into the layers that read its output."""
    for layer in layers:
        _set(layer, layer.weight.double() * norm.weight.double())
    _set(norm, torch.ones_like(norm.weight))


def _set(module: Any, weight: Tensor) -> None:
    module.weight = nn.Parameter(weight.detach().to(module.weight.dtype), requires_grad=module.weight.requires_grad)


def _has(model: nn.Module, path: str) -> bool:
    return path in dict(model.named_modules())


def _at(model: nn.Module, path: Any) -> Any:
    return model.get_submodule(path)
