"""Time of whole decode steps: this package's decoder with plain and packed weights.

A step gives every sequence of the batch one token, behind CACHED tokens that are in the cache, and forgets it again.
On a GPU the step is replayed as a CUDA graph, since its hundreds of launches would take longer than a small model's
work. Models without a file here have the shape of a real one and random weights: their quality means nothing and their
cases give the error of one layer in its place.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from reference_impls.measurement.case import Case, Ceilings, Implementation, Limit, Quality, Step, Workload
from reference_impls.models.decoder import Config, Decoder
from reference_impls.models.shapes import SHAPES, random_model
from reference_impls.quantization import rtn
from reference_impls.quantization.apply import layer_error, quantize_model
from reference_impls.quantization.bench_prompts import CACHED, RANDOM, prompt_of
from reference_impls.quantization.bench_quality import EVALUATED, model_of, rtn_perplexity, workload_of
from reference_impls.quantization.compiled import StaticDecoder
from reference_impls.quantization.fused import fuse
from reference_impls.quantization.peers import decode_peers


@dataclass(frozen=True)
class Way:
    """How a decoder is stored and multiplied."""

    name: str
    dtype: torch.dtype  # of activations, and of weights that are not packed
    bits: int | None = None  # of packed weights; None: plain
    group_size: int | None = None
    path: str = ""
    fused: bool = False
    head: bool = False  # whether the head is packed too; the embedding never is
    note: str = ""
    compiled: bool = False

    @property
    def config(self) -> rtn.Config | None:
        """The grid of the packed weights, symmetric where it has one scale a row."""
        if self.bits is None:
            return None
        return rtn.Config(bits=self.bits, group_size=self.group_size, symmetric=self.group_size is None)

    @property
    def stored(self) -> float:
        """Bits a weight takes with its scales and zero_points, of 16 bits each."""
        if self.bits is None:
            return self.dtype.itemsize * 8
        return self.bits + (0 if self.group_size is None else 32 / self.group_size)


_B, _F = torch.bfloat16, torch.float32
BASELINE = Way("bf16", _B)
PER_LAYER = (
    Way("fp32", _F),
    Way("int8-aten", _B, 8, None, "aten_int8"),
    Way("int8-fbgemm", _B, 8, None, "fbgemm_int8", note="rounds the activations too"),
    Way("int4-aten", _B, 4, 64, "aten_int4"),
)
FUSED = (
    Way("bf16-fused", _B, fused=True),
    Way("int8-fbgemm-fused", _F, 8, None, "fbgemm_int8", True, True, "rounds the activations too, one scale for all"),
    Way("int8-onednn-fused", _F, 8, None, "onednn_int8", True, True, "rounds the activations too, one scale a row"),
    Way("int4-aten-fused", _B, 4, 64, "aten_int4", True, True),
)
COMPILED = (
    Way("bf16-compiled", _B, fused=True, compiled=True),
    Way("int8-w8a8-compiled", _F, 8, None, "w8a8_cpu", True, True, "rounds the activations too", compiled=True),
)
ON_GPU = (
    Way("bf16-fused", _B, fused=True),
    Way("int8-triton-fused", _B, 8, 128, "triton", True, True),
    Way("int4-triton-fused", _B, 4, 128, "triton", True, True),
)


def decode_cases() -> list[Case]:
    """Two real models and one larger shape on a CPU; SmolLM2 and an 8B shape on a GPU."""
    cpu = [
        _case("tiny-target", 1, "cpu", (*PER_LAYER, *FUSED)),
        _case("smollm2-135m", 1, "cpu", (*PER_LAYER, *FUSED, *COMPILED)),
        *(_case("smollm2-135m", batch, "cpu", FUSED) for batch in (2, 4, 8)),
        _case("random-350m", 1, "cpu", (*FUSED, *COMPILED)),
    ]
    gpu = [_case("smollm2-135m", batch, "cuda", _smollm2_on_gpu()) for batch in (1, 16)]
    return [*cpu, *gpu, *(_case("random-8b", batch, "cuda", ON_GPU) for batch in (1, 4, 16, 64))]


def _smollm2_on_gpu() -> tuple[Way, ...]:
    """Groups of 64: 128 does not divide its width of 576."""
    return ON_GPU[0], *(Way(w.name, w.dtype, w.bits, 64, w.path, w.fused, w.head) for w in ON_GPU[1:])


def _case(model: str, batch: int, device: str, ways: tuple[Way, ...]) -> Case:
    name = f"quantization/decode/{model}" if device == "cpu" else f"quantization/decode-cuda/{model}"
    own = [_implementation(model, way) for way in (BASELINE, *ways)]
    peers = decode_peers(model, batch, partial(build, model)) if device == "cuda" or batch == 1 else []
    return Case(
        id=name if batch == 1 else f"{name}/batch-{batch}",
        title=f"Decoding with {model} at batch {batch}",
        metric="decode_throughput",
        workload=_workload(model) | {"batch": batch, "cached_tokens": CACHED, "dtype": "as named"},
        implementations=(*own, *peers),
        timed=True,
        amount=float(batch),
        lossy=True,
        devices=(device,),
    )


def _workload(model: str) -> dict[str, Any]:
    if model in EVALUATED:
        return dict(workload_of(model))
    return {"model": model, "weights": "random, normal with deviation 0.02, in the shape of a real model"}


def _implementation(model: str, way: Way) -> Implementation:
    role: Any = "baseline" if way is BASELINE else "peer" if way.name == "fp32" else "method"
    module = "compiled" if way.compiled else "matmul" if way.bits else "fused" if way.fused else None
    if way.path == "triton":
        module = "w4a16_triton"
    quality = partial(_quality, way) if way.bits else None
    about = "quality is that of rounding the layers' weights alone" if way.bits else ""
    note = "; ".join(part for part in (way.note, about) if part)
    step, limit = partial(_decode, model, way), partial(_limit, model, way)
    return Implementation(way.name, role, "kernel", step, (), quality, limit, note, module)


def _quality(way: Way, workload: Workload, device: str) -> Quality:  # noqa: ARG001 computed on the CPU
    """Perplexity that the grid leaves, head included only in the timing; for random weights a layer's error."""
    assert way.config is not None
    if (model := str(workload["model"])) in EVALUATED:
        return Quality("perplexity", rtn_perplexity(model, way.config)())
    generator = torch.Generator().manual_seed(0)
    weight, inputs = torch.randn(512, 1024, generator=generator) * 0.02, torch.randn(64, 1024, generator=generator)
    return Quality("layer_error", layer_error(weight, rtn.dequantize(rtn.quantize(weight, way.config)), inputs))


def _limit(model: str, way: Way, workload: Workload, ceilings: Ceilings) -> Limit | None:
    """All weights read once a step, or all products computed, whichever takes longer; in float32 where that is faster,
    since a kernel may convert what it has read."""
    rates = ceilings.matmul_flops_per_s or {}
    rate = max(rates.get("int8" if "int8" in way.path else str(way.dtype)[6:], 0), rates.get("float32", 0))
    if ceilings.read_bytes_per_s is None:
        return None
    config, batch = shape_of(model), int(workload["batch"] or 1)
    attention = config.hidden * config.head_dim * 2 * (config.heads + config.kv_heads)
    inside = config.layers * (attention + 3 * config.hidden * config.ffn)
    head = config.vocab * config.hidden
    moved = inside * way.stored / 8 + head * (way.stored if way.head else way.dtype.itemsize * 8) / 8
    seconds, formula = moved / ceilings.read_bytes_per_s, "batch * read bandwidth / bytes of weights and head"
    if rate and 2 * batch * (inside + head) / rate > seconds:
        seconds, formula = 2 * batch * (inside + head) / rate, "batch * product rate / 2 * weights * batch"
    return Limit(batch / seconds, formula)


def shape_of(model: str) -> Config:
    """The model's shape, without loading it."""
    return RANDOM[model] if model in RANDOM else SHAPES[model]


def build(model: str, dtype: torch.dtype, device: str = "cpu") -> Decoder:
    """The model in that dtype, a copy of its own."""
    if model in RANDOM:
        return random_model(RANDOM[model], torch.Generator(device).manual_seed(0), dtype).eval().requires_grad_(False)
    plain = model_of(model)
    decoder = Decoder(plain.config).to(dtype)
    decoder.load_state_dict(plain.state_dict())
    return decoder.to(device).eval().requires_grad_(False)


def packed_decoder(model: str, way: Way, device: str) -> Decoder:
    """The decoder as the way says."""
    decoder: Any = build(model, way.dtype, device)
    if way.fused:
        decoder = fuse(decoder)
    if way.config is not None:
        skip = () if way.head else ("head",)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # torch tells that fbgemm's tensors will move to torchao
            decoder = quantize_model(decoder, rtn, way.config, skip=skip, effect="kernel", path=way.path)
    found: Decoder = decoder.eval()
    return found


def _decode(model: str, way: Way, workload: Workload, device: str) -> Step:
    decoder = packed_decoder(model, way, device)
    tokens = prompt_of(model, int(workload["batch"] or 1)).to(device)
    cache = decoder.new_cache(len(tokens), CACHED + 8)
    with torch.inference_mode():
        decoder(tokens[:, :CACHED], cache)
        newest = tokens[:, CACHED:].contiguous()
        if way.compiled:
            static, position = StaticDecoder(decoder, CACHED + 8, len(tokens)), torch.tensor([CACHED], device=device)
            static.load(cache)
            return partial(_ignore, static, newest[:, 0], position)

    def step() -> None:
        decoder(newest, cache)
        cache.crop(CACHED)

    return _graph(step) if device == "cuda" else step


def _ignore(call: Callable[..., object], *arguments: Tensor) -> None:
    """A timed step returns nothing."""
    with torch.inference_mode():
        call(*arguments)


def _graph(step: Callable[[], None]) -> Step:
    """The step as a CUDA graph. It always decodes at the same position, so nothing in it changes between replays."""
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    with torch.inference_mode(), torch.cuda.stream(stream):
        for _ in range(3):
            step()
        graph = torch.cuda.CUDAGraph()
        torch.cuda.synchronize()
        with torch.cuda.graph(graph, stream=stream):
            step()
    replay: Step = graph.replay
    return replay
