"""The cases of this family: what quantization costs in quality, and what it saves in bytes and time.

Quality and bytes are those of whole models (the trained tiny target, and SmolLM2-135M where it is installed, whose
weights were 4-bit once already: every workload says so). Time is that of one linear layer and of whole decode steps.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from reference_impls.measurement.case import Case, Ceilings, Implementation, Limit, Quality, Role, Step, Workload
from reference_impls.models import smollm2, tiny
from reference_impls.models.decoder import Decoder
from reference_impls.models.perplexity import token_perplexity
from reference_impls.quantization import awq, bitnet, fp8, gptq, hqq, llm_int8, nf4, quarot, rtn, smoothquant, spqr
from reference_impls.quantization.apply import find_linears, quantize_model
from reference_impls.quantization.calibration import Calibration
from reference_impls.quantization.matmul import PATHS, prepare
from reference_impls.quantization.packed import PackedWeight, pack

CONTEXT = 256
EVALUATED = 4096
CALIBRATED = 8 * CONTEXT
SIDE = 4096
CACHED = 64
"""Tokens in the cache of a measured decode step."""


@dataclass(frozen=True)
class Recipe:
    """A method with its parameters, under the name that records and figures use."""

    name: str
    method: Any
    config: Any


def _grid_recipes(bits: int) -> list[Recipe]:
    """Methods on a uniform grid, all with the same groups of 64, which divide every width here."""
    return [
        Recipe("rtn", rtn, rtn.Config(bits=bits, group_size=64)),
        Recipe("hqq", hqq, hqq.Config(bits=bits, group_size=64)),
        Recipe("awq", awq, awq.Config(bits=bits, group_size=64)),
        Recipe("gptq", gptq, gptq.Config(bits=bits, group_size=64)),
        Recipe("gptq-act-order", gptq, gptq.Config(bits=bits, group_size=64, act_order=True)),
        Recipe("spqr", spqr, spqr.Config(bits=bits, group_size=16)),
    ]


def _other_recipes() -> dict[str, list[Recipe]]:
    return {
        "w8a8": [
            Recipe("llm-int8", llm_int8, llm_int8.Config()),
            Recipe("smoothquant", smoothquant, smoothquant.Config()),
            Recipe("fp8-e4m3", fp8, fp8.Config()),
        ],
        "w4a4": [
            Recipe("quarot", quarot, quarot.Config()),
            Recipe("no-rotation", quarot, quarot.Config(rotate_inputs=False)),
        ],
        "w4-levels": [Recipe("nf4-double", nf4, nf4.Config()), Recipe("nf4", nf4, nf4.Config(double=False))],
        "ternary": [Recipe("bitnet-untrained", bitnet, bitnet.Config())],
    }


def cases() -> list[Case]:
    """Every case of the family."""
    quality = [case for model in ("tiny-target", "smollm2-135m") for case in _quality_cases(model)]
    layers = [_layer_case(batch, device) for device in ("cpu", "cuda") for batch in (1, 4, 16, 64)]
    decode = [_decode_case(model) for model in ("tiny-target", "smollm2-135m")]
    return [*quality, *layers, *decode, _time_case()]


# Quality and bytes: values, exact for their text.


def _quality_cases(model: str) -> list[Case]:
    small = model == "tiny-target"
    groups = {f"{bits}-bit": _grid_recipes(bits) for bits in ((8, 4, 3, 2) if small else (4, 3))}
    if small:
        groups |= _other_recipes()
    else:
        groups = {name: [r for r in recipes if r.name in ("rtn", "hqq", "gptq")] for name, recipes in groups.items()}
    return [
        Case(
            id=f"quantization/{model}/{name}/{metric}",
            title=f"{title} of {model}, {name}",
            metric=metric,
            workload=_workload(model),
            implementations=tuple(_quality(one, measure) for one in [None, *recipes]),
            timed=False,
            no_limit="a property of the model and the text, not of the machine",
            devices=("cpu",),
        )
        for name, recipes in groups.items()
        for metric, title, measure in (
            ("perplexity", "Perplexity", _perplexity),
            ("bits_per_weight", "Stored bits a weight", _bits),
        )
    ]


def _workload(model: str) -> Workload:
    origin = (
        "trained in bf16, never quantised" if model == "tiny-target" else "dequantised from Q4_1: 4-bit once already"
    )
    return {
        "model": model,
        "weights": origin,
        "text": "Sense and Sensibility from chapter 38, held out from the tiny models",
        "tokens": EVALUATED,
        "context_length": CONTEXT,
        "calibration_tokens": CALIBRATED,
        "calibration_text": "the tokens after those evaluated",
        "dtype": "float32",
    }


def _quality(recipe: Recipe | None, measure: Callable[[str, Recipe | None], float]) -> Implementation:
    def prepare_step(workload: Workload, device: str) -> Step:  # noqa: ARG001 values do not depend on the device
        return partial(measure, str(workload["model"]), recipe)

    role: Role = "method" if recipe else "baseline"
    return Implementation(recipe.name if recipe else "float32", role, "simulated", prepare_step)


def _perplexity(model: str, recipe: Recipe | None) -> float:
    return _quality_of(model, recipe)[0]


def _bits(model: str, recipe: Recipe | None) -> float:
    return _quality_of(model, recipe)[1]


@cache
def _quality_of(model: str, recipe: Recipe | None) -> tuple[float, float]:
    """-> perplexity, stored bits a weight. Both at once, so that a model is quantised once and need not be kept."""
    quantized = _quantized(model, recipe)
    perplexity = token_perplexity(quantized, _tokens(model)[:EVALUATED], CONTEXT)
    if recipe is None:
        return perplexity, 32.0
    layers: list[Any] = [*find_linears(quantized).values()]
    counts = [layer.out_features * layer.in_features for layer in layers]
    bits = [count * layer.quantized.bits_per_weight for count, layer in zip(counts, layers, strict=True)]
    return perplexity, float(sum(bits) / sum(counts))


def _quantized(model: str, recipe: Recipe | None) -> nn.Module:
    if recipe is None:
        return _model(model)
    tokens = _tokens(model)[EVALUATED : EVALUATED + CALIBRATED]
    calibration = Calibration([*tokens.view(-1, 1, CONTEXT)])
    needs = getattr(recipe.method, "NEEDS", ())
    return quantize_model(_model(model), recipe.method, recipe.config, calibration if needs else None)


@cache
def _model(name: str) -> Decoder:
    return tiny.load_target() if name == "tiny-target" else smollm2.load_smollm2()


@cache
def _tokens(model: str) -> Tensor:
    if model == "tiny-target":
        return tiny.heldout_tokens(EVALUATED + CALIBRATED)
    ids = smollm2.load_smollm2_tokenizer().encode(tiny.heldout_text())
    return torch.as_tensor(ids)[: EVALUATED + CALIBRATED]


# Time of one linear layer.


def _layer_case(batch: int, device: str) -> Case:
    bf16 = torch.bfloat16
    ways = [
        Implementation("bf16", "baseline", "kernel", partial(_plain, bf16), limit=_byte_limit(16)),
        Implementation(
            "dequantize-int8", "method", "packed", partial(_packed, 8, None, "dequantize"), quality=_error(8, None)
        ),
    ]
    if device == "cpu":
        ways += [
            Implementation("fp32", "peer", "kernel", partial(_plain, torch.float32), limit=_byte_limit(32)),
            _kernel("int8-aten", 8, None, "aten_int8"),
            _kernel("int8-fbgemm", 8, None, "fbgemm_int8", "rounds the activations too"),
            _kernel("int4-aten", 4, 64, "aten_int4"),
        ]
    else:
        ways += [_kernel("int8-triton", 8, 128, "triton"), _kernel("int4-triton", 4, 128, "triton")]
    peer = Implementation("torchao-int8", "peer", "kernel", _torchao, needs=("torchao",), limit=_byte_limit(8))
    return Case(
        id=f"quantization/linear-4096-{device}/batch-{batch}",
        title=f"One 4096 x 4096 linear layer, {batch} rows",
        metric="step_time",
        workload={"in": SIDE, "out": SIDE, "batch": batch, "inputs": "bfloat16"},
        implementations=(*ways, peer),
        timed=True,
        lossy=True,
        devices=(device,),
    )


def _kernel(name: str, bits: int, group_size: int | None, path: str, note: str = "") -> Implementation:
    stored = bits + (0 if group_size is None else 32 / group_size)
    return Implementation(
        name,
        "method",
        "kernel",
        partial(_packed, bits, group_size, path),
        quality=_error(bits, group_size),
        limit=_byte_limit(stored),
        note=note or f"path {path}",
    )


def _byte_limit(bits: float) -> Callable[[Workload, Ceilings], Limit | None]:
    def limit(workload: Workload, ceilings: Ceilings) -> Limit | None:  # noqa: ARG001 the same for all workloads
        if ceilings.read_bytes_per_s is None:
            return None
        moved = SIDE * SIDE * bits / 8
        formula = f"{bits:g} bits a weight / read bandwidth of {ceilings.read_bytes_per_s / 1e9:.1f} GB/s"
        return Limit(moved / ceilings.read_bytes_per_s, formula)

    return limit


@cache
def _layer_weight() -> Tensor:
    """(4096, 4096), as a layer of an 8B model has it: normal, deviation 0.02."""
    return torch.randn(SIDE, SIDE, generator=torch.Generator().manual_seed(0)) * 0.02


@cache
def _layer_packed(bits: int, group_size: int | None) -> PackedWeight:
    symmetric = group_size is None
    config = rtn.Config(bits=bits, group_size=group_size, symmetric=symmetric)
    return pack(rtn.quantize(_layer_weight().to(torch.bfloat16), config))


def _inputs(workload: Workload, device: str, dtype: torch.dtype = torch.bfloat16) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(int(workload["batch"] or 1), SIDE, generator=generator).to(device, dtype)


def _plain(dtype: torch.dtype, workload: Workload, device: str) -> Step:
    weight, inputs = _layer_weight().to(device, dtype), _inputs(workload, device, dtype)
    return lambda: _done(linear(inputs, weight))


def _packed(bits: int, group_size: int | None, path: str, workload: Workload, device: str) -> Step:
    packed = _layer_packed(bits, group_size)
    if device == "cuda":
        from reference_impls.quantization import map_tensors

        packed = map_tensors(packed, lambda tensor: tensor.cuda())
    inputs = _inputs(workload, device)
    if path == "dequantize":  # the oracle keeps its dequantised weight; here each call pays for making it
        return lambda: _done(PATHS[path].prepare(packed)(inputs))
    multiply = prepare(packed, path)
    return lambda: _done(multiply(inputs))


def _torchao(workload: Workload, device: str) -> Step:
    from torchao.quantization import Int8WeightOnlyConfig, quantize_

    layer = nn.Sequential(nn.Linear(SIDE, SIDE, bias=False, dtype=torch.bfloat16)).to(device)
    layer.load_state_dict({"0.weight": _layer_weight()})
    quantize_(layer, Int8WeightOnlyConfig())
    inputs = _inputs(workload, device)
    return lambda: _done(layer(inputs))


def _error(bits: int, group_size: int | None) -> Callable[[Workload, str], Quality]:
    """The error that the grid makes in this layer's output, whichever code multiplies."""

    def quality(workload: Workload, device: str) -> Quality:  # noqa: ARG001 computed on the CPU
        inputs = _inputs(workload, "cpu", torch.float32)
        exact = linear(inputs, _layer_weight())
        rounded = PATHS["dequantize"].prepare(_layer_packed(bits, group_size))(inputs)
        return Quality("layer_error", float((rounded - exact).norm() / exact.norm()))

    return quality


def _done(_result: Tensor) -> None:
    """A timed step returns nothing."""


# Time of a whole decode step.


def _decode_case(model: str) -> Case:
    ways = [
        Implementation(
            "bf16", "baseline", "kernel", partial(_decode, model, None, torch.bfloat16), limit=_model_limit(model, 16)
        ),
        Implementation(
            "fp32", "peer", "kernel", partial(_decode, model, None, torch.float32), limit=_model_limit(model, 32)
        ),
        _decode_way(model, "int8-aten", 8, None, "aten_int8"),
        _decode_way(model, "int8-fbgemm", 8, None, "fbgemm_int8", "rounds the activations too"),
        _decode_way(model, "int4-aten", 4, 64, "aten_int4"),
    ]
    return Case(
        id=f"quantization/decode/{model}",
        title=f"Decoding with {model} at batch 1",
        metric="decode_throughput",
        workload=dict(_workload(model)) | {"batch": 1, "cached_tokens": CACHED, "dtype": "as named"},
        implementations=tuple(ways),
        timed=True,
        amount=1.0,
        lossy=True,
        devices=("cpu",),
    )


def _decode_way(model: str, name: str, bits: int, group_size: int | None, path: str, note: str = "") -> Implementation:
    config = rtn.Config(bits=bits, group_size=group_size, symmetric=group_size is None)
    recipe = Recipe("rtn", rtn, config)

    def quality(workload: Workload, device: str) -> Quality:  # noqa: ARG001 of the model alone
        return Quality("perplexity", _perplexity(model, recipe))

    stored = bits + (0 if group_size is None else 32 / group_size)
    step = partial(_decode, model, (config, path), torch.bfloat16)
    return Implementation(name, "method", "kernel", step, quality=quality, limit=_model_limit(model, stored), note=note)


def _model_limit(model: str, bits: float) -> Callable[[Workload, Ceilings], Limit | None]:
    def limit(workload: Workload, ceilings: Ceilings) -> Limit | None:  # noqa: ARG001 the same for all workloads
        if ceilings.read_bytes_per_s is None:
            return None
        decoder = _model(model)
        linears = sum(layer.weight.numel() for layer in find_linears(decoder).values())
        head = decoder.embedding.weight.numel()  # tied: read once for the logits, in 16 or 32 bits
        moved = linears * bits / 8 + head * (4 if bits == 32 else 2)
        return Limit(ceilings.read_bytes_per_s / moved, "read bandwidth / (weights + head) in bytes")

    return limit


def _decode(
    model: str, how: tuple[rtn.Config, str] | None, dtype: torch.dtype, _workload: Workload, device: str
) -> Step:
    plain = _model(model)
    decoder: Any = type(plain)(plain.config).to(dtype)
    decoder.load_state_dict(plain.state_dict())
    if how is not None:
        config, path = how
        decoder = quantize_model(decoder, rtn, config, effect="kernel", path=path)
    decoder.eval()
    tokens = _tokens(model)[: CACHED + 1].to(device)
    cache = decoder.new_cache(1, CACHED + 8)
    with torch.inference_mode():
        decoder(tokens[None, :CACHED], cache)

    def step() -> None:
        decoder(tokens[None, CACHED:], cache)
        cache.crop(CACHED)

    return step


# Time to apply a method.


def _time_case() -> Case:
    ways = [_apply_way(recipe, "baseline" if recipe.name == "rtn" else "method") for recipe in _grid_recipes(4)]
    return Case(
        id="quantization/apply/layer-768",
        title="Quantizing one 768 x 768 layer to 4 bits",
        metric="quantize_time",
        workload={"in": 768, "out": 768, "bits": 4, "calibration_rows": 1024, "dtype": "float32"},
        implementations=tuple(ways),
        timed=True,
        no_limit="bound by the method's own sequence of steps, not by a resource",
        devices=("cpu",),
    )


def _apply_way(recipe: Recipe, role: Role) -> Implementation:
    def prepare_step(workload: Workload, device: str) -> Step:
        from reference_impls.quantization.calibration import stats_of

        generator = torch.Generator().manual_seed(2)
        width = int(workload["in"] or 1)
        weight = (torch.randn(width, width, generator=generator) * 0.02).to(device)
        rows = torch.randn(int(workload["calibration_rows"] or 1), width, generator=generator).to(device)
        stats = stats_of(rows)
        return lambda: _done(recipe.method.quantize(weight, recipe.config, stats))

    return Implementation(recipe.name, role, "simulated", prepare_step)
