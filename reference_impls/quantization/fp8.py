"""FP8: 8-bit floats, E4M3 for range enough and E5M2 for more, with one scale a tensor.

Paper: arXiv 2209.05433, section 3 and table 1.
Idea: a float's step grows with the value, so 8 bits cover a wide range; one scale brings the largest value to its end.
Symbols: E = exponent bits, M = mantissa bits; a code is (-1)**sign * 2**(exponent - bias) * 1.mantissa.
Simplified: products are computed on dequantized values, the accuracy of tensor cores' FP8 sums is not modelled.
Differs: values beyond the end saturate in both formats, where the paper leaves E5M2's infinity to the caller;
    activations are scaled by their own largest value at each call, not by a history.
Cost: 8 bits a weight and 32 bits a scale.
Checked against: torch.float8_e4m3fn and float8_e5m2 casts; the table of all 256 codes, written out by the definition.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from reference_impls.quantization import LayerStats

_DTYPES = {"e4m3": torch.float8_e4m3fn, "e5m2": torch.float8_e5m2}
_BITS = {"e4m3": (4, 3), "e5m2": (5, 2)}  # of exponent and mantissa


@dataclass(frozen=True)
class Config:
    """Formats of weights and activations."""

    format: str = "e4m3"
    input_format: str | None = "e4m3"  # None: weight_only
    per_channel: bool = False  # a scale for each row of the weight and each token, instead of one a tensor

    def __post_init__(self) -> None:
        for value in (self.format, self.input_format or "e4m3"):
            if value not in _BITS:
                raise ValueError(f"format: expected one of {', '.join(_BITS)}, got {value!r}")


@dataclass(frozen=True)
class Fp8Weight:
    """Codes as torch's 8-bit floats; what a weight stands for is code * scale."""

    codes: Tensor  # (out, in), torch.float8_e4m3fn or float8_e5m2
    scale: Tensor  # (1, 1), or (out, 1) per_channel, float32
    dtype: torch.dtype
    input_format: str | None
    per_channel: bool

    @property
    def shape(self) -> tuple[int, int]:
        """(out, in) of the weight."""
        return self.codes.shape[0], self.codes.shape[1]

    @property
    def bits_per_weight(self) -> float:
        """8 bits a code and 32 a scale, per weight."""
        return 8 + 32 * self.scale.numel() / self.codes.numel()


def code_table(name: str) -> Tensor:
    """What each of the 256 codes stands for, by the definition (table 1); nan and inf included. -> (256,)"""
    exponent_bits, mantissa_bits = _BITS[name]
    bias = 2 ** (exponent_bits - 1) - 1
    codes = torch.arange(256)
    mantissa = codes % 2**mantissa_bits
    exponent = (codes >> mantissa_bits) % 2**exponent_bits
    fraction = mantissa / 2**mantissa_bits + (exponent > 0)  # exponent 0: subnormal, no leading 1
    power: Tensor = torch.pow(2.0, exponent.clamp(min=1) - bias)
    values: Tensor = fraction * power * torch.where(codes < 128, 1.0, -1.0)
    top = exponent == 2**exponent_bits - 1
    if name == "e4m3":  # only the last code is given up, so that the range is wider; no inf
        return values.masked_fill(top & (mantissa == 2**mantissa_bits - 1), torch.nan)
    return values.masked_fill(top & (mantissa > 0), torch.nan).where(
        ~(top & (mantissa == 0)), values.sign() * torch.inf
    )


def largest(name: str) -> float:
    """448 for e4m3, 57344 for e5m2."""
    table = code_table(name)
    return float(table[table.isfinite()].max())


def round_to_format(values: Tensor, name: str) -> Tensor:
    """Nearest value of the format, ties to the even mantissa, saturating. values: any shape -> the same, float32"""
    exponent_bits, mantissa_bits = _BITS[name]
    lowest = 2 - 2 ** (exponent_bits - 1)  # exponent of the smallest normal number; below it the step stays
    exponent = torch.frexp(values.float()).exponent - 1
    step: Tensor = torch.pow(2.0, (exponent.clamp(min=lowest) - mantissa_bits).float())
    return ((values.float() / step).round() * step).clamp(-largest(name), largest(name))


def choose_scale(values: Tensor, name: str, per_row: bool) -> Tensor:
    """values: (rows, in) -> (1, 1) or (rows, 1), float32: what brings the largest value to the format's end"""
    absmax = values.float().abs().amax((1,) if per_row else (0, 1), keepdim=True)
    return (absmax / largest(name)).clamp(min=torch.finfo(torch.float32).tiny)


def quantize(weight: Tensor, config: Config, stats: LayerStats | None = None) -> Fp8Weight:  # noqa: ARG001
    """weight: (out, in) -> 8-bit floats: (out, in). The statistics are not used."""
    scale = choose_scale(weight.detach(), config.format, config.per_channel)
    codes = round_to_format(weight.detach().float() / scale, config.format).to(_DTYPES[config.format])
    return Fp8Weight(codes, scale, weight.dtype, config.input_format, config.per_channel)


def dequantize(quantized: Fp8Weight) -> Tensor:
    """-> (out, in)"""
    return (quantized.codes.float() * quantized.scale).to(quantized.dtype)


def quantize_input(inputs: Tensor, quantized: Fp8Weight) -> Tensor:
    """Rounded with one scale for all, or one a token. inputs: (batch.., in) -> the same shape"""
    if quantized.input_format is None:
        return inputs
    rows = inputs.reshape(-1, inputs.shape[-1])
    scale = choose_scale(rows, quantized.input_format, quantized.per_channel)
    return (round_to_format(rows.float() / scale, quantized.input_format) * scale).to(inputs.dtype).reshape_as(inputs)
