"""The file that a cold start reads: formats, types and packed codes of one decoder.

Paper: arXiv 2207.13263 (cold starts as a direction; what is written how, is ours).
Idea: loading takes at least file bytes / bandwidth, so fewer bytes load sooner. Two things decide what else it takes:
    whether bytes are copied (pickle) or mapped (safetensors), and whether codes stay packed or are expanded at once.
Symbols: nothing beyond the configuration's fields.
Simplified: packed layers dequantize at every call, so they save bytes and not time; the head stays as it is.
Differs: pickles are read with torch's loader that refuses everything but tensors and plain values.
Cost: mapped weights cost no time when they are opened, and page faults at their first use.
Checked against: logits of the model before it was written, for every format and variant.
"""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from reference_impls.models import safetensors_file
from reference_impls.models.decoder import Config as Shape
from reference_impls.models.decoder import Decoder

GROUP_SIZE: Final = 64
FORMATS: Final = ("safetensors", "pickle", "gguf")
TYPES: Final = {"float32": torch.float32, "bfloat16": torch.bfloat16}
CODES: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "int8": ("rtn", {"bits": 8, "group_size": GROUP_SIZE}),
    "fp8": ("fp8", {"input_format": None}),
    "int4": ("rtn", {"bits": 4, "group_size": GROUP_SIZE}),
    "nf4": ("nf4", {"group_size": GROUP_SIZE}),
}
"""Variant -> method of reference_impls.quantization and its config; all but linear layers is kept in bfloat16."""


@dataclass(frozen=True)
class Config:
    """How the file is written, and whether codes are expanded to a full matrix when it is read."""

    variant: str = "float32"
    format: str = "safetensors"
    expand: bool = False

    def __post_init__(self) -> None:
        if self.variant not in (*TYPES, *CODES):
            raise ValueError(f"variant must be one of {', '.join((*TYPES, *CODES))}, got {self.variant!r}")
        if self.format not in FORMATS:
            raise ValueError(f"format must be {', '.join(FORMATS[:-1])} or {FORMATS[-1]}, got {self.format!r}")
        if self.format == "gguf" and self.variant not in TYPES:
            raise ValueError(f"a GGUF file is expanded to one of {', '.join(TYPES)}, got {self.variant!r}")


def convert(model: Decoder, variant: str) -> Decoder:
    """A copy of the model in this variant."""
    if variant in TYPES:
        return deepcopy(model).to(TYPES[variant])
    from reference_impls.quantization.apply import quantize_model

    method, config = CODES[variant]
    packed: Any = quantize_model(deepcopy(model).to(torch.bfloat16), method, config, effect="packed")
    result: Decoder = packed
    return result


def write(model: Decoder, path: Path | str, config: Config | None = None) -> int:
    """Convert and write. -> the file's bytes"""
    config, path = config or Config(), Path(path)
    if config.format == "gguf":
        raise ValueError("GGUF files are read and not written")
    converted = convert(model, config.variant)
    state = {name: tensor.detach() for name, tensor in converted.state_dict().items()}
    if converted.config.tied:
        state.pop("head.weight", None)
    notes = {"config": json.dumps(asdict(converted.config)), "variant": config.variant}
    if config.format == "pickle":
        torch.save({"notes": notes, "state": state}, path)
    else:
        safetensors_file.write(path, state, notes)
    with path.open("rb") as file:
        os.fsync(file.fileno())
    return path.stat().st_size


def read(path: Path | str, format: str = "safetensors") -> tuple[dict[str, Tensor], dict[str, str]]:  # noqa: A002 the field's name
    """-> tensors by name, and the notes beside them."""
    if format == "pickle":
        found = torch.load(path, weights_only=True)
        return found["state"], found["notes"]
    return safetensors_file.read(path)


def load(path: Path | str, config: Config | None = None, device: str = "cpu") -> Decoder:
    """The decoder of a file, its tensors those of the file and not copies of them; on a GPU, copied there."""
    config = config or Config()
    if config.format == "gguf":
        from reference_impls.models.weights import load_gguf

        return load_gguf(path, TYPES[config.variant]).to(device).eval().requires_grad_(False)
    state, notes = read(path, config.format)
    if device != "cpu":
        state = {name: tensor.to(device) for name, tensor in state.items()}
    with _no_initial_values(), torch.device("meta"):
        model = Decoder(Shape(**json.loads(notes["config"])))
    for prefix, layer in _packed(state, notes["variant"], TYPES["bfloat16"]):
        model.set_submodule(prefix, _expanded(layer) if config.expand else layer)
    missing, unknown = model.load_state_dict(_without_expanded(model, state), strict=False, assign=True)
    left = [name for name in missing if not (name == "head.weight" and model.config.tied) and _on_meta(model, name)]
    if unknown or left:
        raise ValueError(f"{path}: missing tensors {left[:5]}, unknown tensors {unknown[:5]}")
    model.tie()
    return model.eval().requires_grad_(False)


@contextmanager
def _no_initial_values() -> Iterator[None]:
    """Layers made in the block draw no weights: on the meta device that imports hundreds of modules for nothing."""
    kinds: tuple[Any, ...] = (nn.Linear, nn.Embedding)
    before = [kind.reset_parameters for kind in kinds]
    try:
        for kind in kinds:
            kind.reset_parameters = lambda _self: None
        yield
    finally:
        for kind, method in zip(kinds, before, strict=True):
            kind.reset_parameters = method


def _packed(state: Mapping[str, Tensor], variant: str, dtype: torch.dtype) -> Iterator[tuple[str, nn.Module]]:
    """Layers whose weight is stored in another form, by name."""
    for name in state:
        prefix, _, part = name.rpartition(".")
        if part == "left":
            from reference_impls.low_rank import Factors
            from reference_impls.low_rank.apply import LowRankLinear

            yield prefix, LowRankLinear(Factors(state[name], state[f"{prefix}.right"]))
        elif part == "codes" and f"{prefix}.values" in state:
            from reference_impls.pruning.semi_structured import PackedWeight, SemiStructuredLinear

            yield prefix, SemiStructuredLinear(PackedWeight(state[f"{prefix}.values"], state[name]))
        elif part == "codes":
            yield prefix, _of_codes(state, prefix, variant, dtype)


def _of_codes(state: Mapping[str, Tensor], prefix: str, variant: str, dtype: torch.dtype) -> nn.Module:
    from reference_impls.quantization.fp8 import Fp8Weight
    from reference_impls.quantization.packed import PackedLinear
    from reference_impls.quantization.packed_records import PackedNf4, RecordLinear

    codes, scale, *nf4 = (state.get(f"{prefix}.{name}") for name in ("codes", "scale", "absmax", "step", "mean"))
    if variant == "nf4":
        return RecordLinear(PackedNf4(codes, *nf4, dtype))  # type: ignore[arg-type,call-arg]
    if variant == "fp8":
        return RecordLinear(Fp8Weight(codes, scale, dtype, None, False))  # type: ignore[arg-type]
    return PackedLinear.from_state(state, f"{prefix}.")


def _expanded(layer: nn.Module) -> nn.Module:
    """A plain layer of the numbers that the stored form stands for; factors stay as they are."""
    if hasattr(layer, "left"):
        return layer
    with _no_initial_values():
        plain = nn.Linear(1, 1, bias=False, device="meta")
    weight = _dense(layer)
    plain.out_features, plain.in_features = weight.shape
    plain.weight = nn.Parameter(weight.to(TYPES["bfloat16"]), requires_grad=False)
    return plain


def _dense(layer: Any) -> Tensor:
    from reference_impls.quantization import packed, packed_records
    from reference_impls.quantization.grid import decode_weight

    if hasattr(layer, "dense"):
        weight: Tensor = layer.dense()
        return weight
    if isinstance(layer, packed.PackedLinear):
        return decode_weight(packed.unpack(layer.packed))
    return packed_records.dequantize_record(layer.packed)


def _without_expanded(model: Decoder, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors that the model has a place for; those of layers that were expanded have been used up."""
    places = model.state_dict().keys()
    plain = {f"{name}." for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    return {name: t for name, t in state.items() if name in places or f"{name.rpartition('.')[0]}." not in plain}


def _on_meta(model: Decoder, name: str) -> bool:
    return bool(model.state_dict()[name].is_meta)


def drop_from_page_cache(path: Path | str) -> bool:
    """Ask the kernel to forget the file, so that the next read comes from the disk. -> whether it can be asked"""
    if not hasattr(os, "posix_fadvise"):
        return False
    with Path(path).open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return True
