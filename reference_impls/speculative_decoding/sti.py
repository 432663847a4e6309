"""STI's way to a target that does not fit: layers at several widths on the disk, chosen so that reading keeps pace.

Paper: arXiv 2207.05022, sections 4 (shards of several fidelities) and 5 (planning). A baseline of LLMCad; lossy.
Idea: bytes a pass are the time a pass; give each layer the bits that its importance deserves within that many bytes.
Symbols: b = bits of a weight's code, FULL = as the model stores it.
Simplified: layers are the shards, where the paper also cuts a layer by its heads; round to nearest.
Differs: the paper profiles importance by accuracy on its task, here it is the change of the scores on given tokens; it
    also chooses how many layers and heads compute, here all of them do. Nothing is preloaded but what the budget keeps.
Cost: every width is stored; a pass reads b / 16 or b / 32 of the bytes, plus scales; unpacking costs arithmetic.
Checked against: enumeration of all plans; the same weights rounded in memory; the target itself at full width.
"""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.func import functional_call

from reference_impls.models import safetensors_file
from reference_impls.models.decoder import Decoder
from reference_impls.quantization.grid import GridConfig, decode_weight, round_weight
from reference_impls.quantization.packed import PackedLinear, pack, unpack
from reference_impls.speculative_decoding.layer_store import Weights, nbytes, read_uncached, slow_down, split

FULL = 0
"""Stands for no rounding among the widths."""
WIDTHS = (2, 4, 8, FULL)
"""What is stored of every layer, narrow to wide."""


def write_shards(model: Decoder, folder: Path, widths: Sequence[int] = WIDTHS, group_size: int = 32) -> None:
    """Every layer at every width, a file each; `rest.safetensors` for what is no layer."""
    folder.mkdir(parents=True, exist_ok=True)
    layers, rest = split(model)
    for layer, weights in enumerate(layers):
        for bits in widths:
            safetensors_file.write(
                _path(folder, layer, bits), weights if bits == FULL else packed(weights, bits, group_size)
            )
    safetensors_file.write(folder / "rest.safetensors", rest)


def _path(folder: Path, layer: int, bits: int) -> Path:
    return folder / f"layer-{layer}-{bits or 'full'}.safetensors"


def packed(weights: Weights, bits: int, group_size: int) -> Weights:
    """The matrices as codes, scales and zero points; the vectors as they are."""
    found: Weights = {}
    for name, value in weights.items():
        if value.dim() < 2:
            found[name] = value
        else:
            linear = PackedLinear(pack(round_weight(value, GridConfig(bits, group_size))))
            found |= {f"{name}.{part}": tensor for part, tensor in linear.state_dict().items()}
    return found


def unpacked(weights: Weights) -> Weights:
    """As the layer computes with it."""
    names = [name.removesuffix(".layout") for name in weights if name.endswith(".layout")]
    found = {name: decode_weight(unpack(PackedLinear.from_state(weights, f"{name}.").packed)) for name in names}
    return found | {name: value for name, value in weights.items() if name.endswith("norm.weight")}


@torch.no_grad()
def importance(model: Decoder, tokens: Tensor, bits: int = WIDTHS[0], group_size: int = 32) -> list[float]:
    """How much the scores change when one layer alone is rounded to few bits: the mean divergence from the model's own.

    tokens: (batch, seq) -> nats, by layer
    """
    wanted = model(tokens).log_softmax(-1)
    found = []
    for layer, weights in enumerate(split(model)[0]):
        rounded = {
            f"blocks.{layer}.{name}": value for name, value in unpacked(packed(weights, bits, group_size)).items()
        }
        other = functional_call(model, rounded, (tokens,)).log_softmax(-1)
        found.append(float((wanted.exp() * (wanted - other)).sum(-1).mean()))
    return found


def plan(sizes: Sequence[Mapping[int, int]], weight: Sequence[float], bytes_a_pass: int) -> list[int]:
    """Widths by layer, within the bytes: the widest that all can have, then the important layers wider still.

    sizes: bytes of every width, by layer; weight: importance, by layer. Raises ValueError where nothing fits.
    """
    widths = sorted(sizes[0], key=lambda bits: bits or 99)

    def total(chosen: Sequence[int]) -> int:
        return sum(size[bits] for size, bits in zip(sizes, chosen, strict=True))

    fitting = [bits for bits in widths if total([bits] * len(sizes)) <= bytes_a_pass]
    if not fitting:
        raise ValueError(f"a pass needs at least {total([widths[0]] * len(sizes)):,} bytes, got {bytes_a_pass:,}")
    chosen = [fitting[-1]] * len(sizes)
    for layer in sorted(range(len(sizes)), key=lambda layer: -weight[layer]):
        for bits in reversed(widths[widths.index(chosen[layer]) :]):
            wider = [*chosen[:layer], bits, *chosen[layer + 1 :]]
            if total(wider) <= bytes_a_pass:
                chosen = wider
                break
    return chosen


class ShardStore:
    """A store (see `layer_store.Store`) that gives every layer at the width of a plan."""

    def __init__(self, folder: Path, widths: Sequence[int], bytes_per_s: float | None = None) -> None:
        self.folder, self.widths, self.bytes_per_s = folder, list(widths), bytes_per_s
        read = [read_uncached(_path(folder, layer, bits)) for layer, bits in enumerate(widths)]
        self.held = [nbytes(weights) for weights in read]
        self.unpacked = max(nbytes(self.unpack(layer, weights)) for layer, weights in enumerate(read))

    def rest(self) -> Weights:
        """As in `Store`."""
        return read_uncached(self.folder / "rest.safetensors")

    def fetch(self, layer: int) -> Weights:
        """As in `Store`."""
        start = time.perf_counter()
        weights = read_uncached(_path(self.folder, layer, self.widths[layer]))
        slow_down(self.held[layer], self.bytes_per_s, start)
        return weights

    def unpack(self, layer: int, fetched: Weights) -> Weights:
        """As in `Store`."""
        return fetched if self.widths[layer] == FULL else unpacked(fetched)

    def done(self, layer: int) -> None:
        """As in `Store`."""


def shard_sizes(folder: Path, layers: int, widths: Sequence[int] = WIDTHS) -> list[dict[int, int]]:
    """Bytes of every width, by layer."""
    return [{bits: nbytes(read_uncached(_path(folder, layer, bits))) for bits in widths} for layer in range(layers)]
