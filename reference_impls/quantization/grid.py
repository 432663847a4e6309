"""The uniform grid that most methods round to: grouping, scale and zero_point, rounding, and the record of it.

A code c stands for (c - zero_point) * scale. Codes are unsigned; a symmetric grid has its zero_point in the middle.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class GridConfig:
    """What every method on a uniform grid lets one choose."""

    bits: int = 4
    group_size: int | None = 128  # weights along a row that share one scale; None: the whole row (per_channel)
    symmetric: bool = False
    full_range: bool = False  # symmetric with all 2**bits codes: a smaller step, ends half a step off; for few bits

    def __post_init__(self) -> None:
        if not 2 <= self.bits <= 8:
            raise ValueError(f"bits must be 2 to 8 (a code is kept in one byte), got {self.bits}")
        if self.group_size is not None and self.group_size < 1:
            raise ValueError(f"group_size must be at least 1, or None for one group a row, got {self.group_size}")
        if self.full_range and not self.symmetric:
            raise ValueError("full_range is a kind of symmetric grid: an asymmetric one always has all codes")


@dataclass(frozen=True)
class GridWeight:
    """A weight on a uniform grid, with what some methods add: scaled inputs and reordered columns."""

    codes: Tensor  # (out, groups, group_size), uint8: 0 .. 2**bits - 1
    scale: Tensor  # (out, groups, 1), or (1, 1, 1) per_tensor
    zero_point: Tensor  # as scale; whole numbers unless the method says otherwise
    bits: int
    symmetric: bool
    dtype: torch.dtype  # of the weight that was quantized
    input_scale: Tensor | None = None  # (in,): the codes stand for weight * input_scale, so inputs are divided by it
    columns: Tensor | None = None  # (in,): column j of the codes is column columns[j] of the weight

    @property
    def shape(self) -> tuple[int, int]:
        """(out, in) of the weight."""
        return self.codes.shape[0], self.codes.shape[1] * self.codes.shape[2]

    @property
    def bits_per_weight(self) -> float:
        """Codes, scales, zero_points (symmetric: none), input_scale and columns (32 bits each), per weight."""
        per_scale = self.scale.element_size() * 8 * (1 if self.symmetric else 2)
        per_column = sum(t.element_size() * 8 for t in (self.input_scale,) if t is not None)
        per_column += 0 if self.columns is None else 32
        return self.bits + per_scale * self.scale.numel() / self.codes.numel() + per_column / self.codes.shape[0]


def group(weight: Tensor, group_size: int | None) -> Tensor:
    """weight: (out, in) -> (out, groups, group_size); None makes each row one group."""
    out, width = weight.shape
    size = width if group_size is None else group_size
    if width % size:
        raise ValueError(f"group_size {size} does not divide in={width}; divisors near it: {_near(width, size)}")
    return weight.reshape(out, width // size, size)


def _near(width: int, size: int) -> str:
    divisors = [d for d in range(1, width + 1) if width % d == 0]
    return ", ".join(str(d) for d in sorted(sorted(divisors, key=lambda d: abs(d - size))[:3]))


def choose_scale(grouped: Tensor, config: GridConfig, per_tensor: bool = False) -> tuple[Tensor, Tensor]:
    """Map each group's range onto the codes 0 .. 2**bits - 1; the scale is rounded to the dtype it is kept in.

    grouped: (out, groups, group_size) -> scale, zero_point: (out, groups, 1), per_tensor (1, 1, 1)
    """
    axes = (0, 1, 2) if per_tensor else (2,)
    low = grouped.amin(axes, keepdim=True).clamp(max=0)  # the range holds 0, so that 0.0 has an exact code
    high = grouped.amax(axes, keepdim=True).clamp(min=0)
    return scale_of_range(low, high, config)


def scale_of_range(low: Tensor, high: Tensor, config: GridConfig) -> tuple[Tensor, Tensor]:
    """low <= 0 <= high: (out, groups, 1) -> scale, zero_point: (out, groups, 1), in the dtype of low."""
    top, middle = 2**config.bits - 1, 2 ** (config.bits - 1)
    wide = torch.promote_types(low.dtype, torch.float32)
    low, high, kept = low.to(wide), high.to(wide), low.dtype
    steps = top if config.full_range or not config.symmetric else top - 1  # between the ends of the range
    span = 2 * torch.maximum(-low, high) if config.symmetric else high - low
    scale = (span / steps).clamp(min=torch.finfo(kept).tiny).to(kept)
    if config.symmetric:
        return scale, torch.full_like(scale, middle)
    return scale, (-low / scale.to(wide)).round().clamp(0, top).to(kept)


def round_to_codes(values: Tensor, scale: Tensor, zero_point: Tensor, config: GridConfig) -> Tensor:
    """Nearest code of each value; a symmetric grid without full_range leaves code 0 unused: -x is the mirror of x.

    values: (out, groups, group_size); scale, zero_point: broadcast with it -> (out, groups, group_size) uint8
    """
    wide = torch.promote_types(values.dtype, torch.float32)
    codes = (values.to(wide) / scale.to(wide) + zero_point.to(wide)).round()
    return codes.clamp(1 if config.symmetric and not config.full_range else 0, 2**config.bits - 1).to(torch.uint8)


def decode(codes: Tensor, scale: Tensor, zero_point: Tensor) -> Tensor:
    """codes: (out, groups, group_size) -> values of the same shape, in float32 or, where the scale is, float64."""
    wide = torch.promote_types(scale.dtype, torch.float32)
    return (codes.to(wide) - zero_point.to(wide)) * scale.to(wide)


def round_weight(weight: Tensor, config: GridConfig, per_tensor: bool = False) -> GridWeight:
    """Round to nearest on the grid that spans each group. weight: (out, in) -> its record."""
    grouped = group(weight.detach(), config.group_size)
    scale, zero_point = choose_scale(grouped, config, per_tensor)
    codes = round_to_codes(grouped, scale, zero_point, config)
    return GridWeight(codes, scale, zero_point, config.bits, config.symmetric, weight.dtype)


def decode_weight(quantized: GridWeight) -> Tensor:
    """-> (out, in): the weight that the record stands for, with its inputs unscaled and its columns in order."""
    weight = decode(quantized.codes, quantized.scale, quantized.zero_point).flatten(1)
    if quantized.columns is not None:
        weight = weight[:, quantized.columns.argsort()]
    if quantized.input_scale is not None:
        weight = weight / quantized.input_scale.to(weight.dtype)
    return weight.to(quantized.dtype)


def fake_quantize_rows(inputs: Tensor, bits: int) -> Tensor:
    """Symmetric rounding with one scale a row (per token), dequantized again. inputs: (batch.., in) -> the same."""
    rows = inputs.reshape(1, -1, inputs.shape[-1])  # one group a token
    config = GridConfig(bits, None, symmetric=True)
    scale, zero_point = choose_scale(rows, config)
    return (
        decode(round_to_codes(rows, scale, zero_point, config), scale, zero_point).reshape_as(inputs).to(inputs.dtype)
    )


def fold_input_scale(previous: Tensor, input_scale: Tensor) -> Tensor:
    """Let what puts out a layer's inputs divide them by input_scale, at no cost when the model runs.

    previous: (in,), a norm's weight or a bias, or (in, before), a linear layer's weight -> the same shape
    """
    by = input_scale.to(previous.dtype)
    return previous.detach() / (by if previous.dim() == 1 else by[:, None])
