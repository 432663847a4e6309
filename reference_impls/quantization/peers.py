"""Programs that people use, decoding the same model: transformers, transformers with torchao, and llama.cpp.

Each is checked once, when it is prepared: what it says next must be what this package's decoder says in float32, to
the error that its own rounding makes. A peer that is further off is recorded as failed with that error, not timed.
"""

import atexit
import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from reference_impls.measurement.case import Implementation, NotInstalledError, Step, Workload
from reference_impls.models import smollm2
from reference_impls.models.decoder import Decoder
from reference_impls.models.weights import HUGGING_FACE, config_to_hugging_face, names
from reference_impls.quantization.bench_prompts import prompt_of

LLAMA_VARIABLE = "LLAMA_CPP_PYTHON"
"""A Python that has llama-cpp-python; the bench's own unless set."""
INT4 = "PrototypeInt4WeightOnlyConfig"
CHILD = Path(__file__).parent / "peer_llama_cpp.py"
Build = Callable[[torch.dtype, str], Decoder]


def decode_peers(model: str, batch: int, build: Build) -> list[Implementation]:
    """The peers for a model; build(dtype, device) -> this package's decoder of the same weights."""
    found = [
        _transformers("transformers-bf16", None, build, 0.05),
        _transformers("transformers-torchao-int8", "Int8WeightOnlyConfig", build, 0.1),
        _transformers("transformers-torchao-int8-dynamic", "Int8DynamicActivationInt8WeightConfig", build, 0.2),
        _transformers("transformers-torchao-int4", INT4, build, 0.5),
    ]
    if model == "smollm2-135m" and batch == 1:
        note = "its own file: 4-bit weights in groups of 32, 8-bit head"
        found.append(Implementation("llama.cpp-q4_1", "peer", "kernel", partial(_llama_cpp, None, build), note=note))
        note = "the file quantized anew to 8 bits in groups of 32 by llama.cpp"
        found.append(Implementation("llama.cpp-q8_0", "peer", "kernel", partial(_llama_cpp, "q8_0", build), note=note))
    return found


def check_close(name: str, theirs: Tensor, ours: Tensor, bound: float) -> None:
    """Both: (batch, vocab). Raises ValueError where theirs is off by a larger share of its norm than `bound`."""
    theirs, ours = theirs.float().cpu(), ours.float().cpu()
    error = float((theirs - ours).norm() / ours.norm())
    if not error < bound:
        raise ValueError(f"{name}: its logits are {error:.3g} off this package's, expected less than {bound}")


def _next_logits(build: Build, prompt: Tensor, device: str) -> Tensor:
    """What the plain decoder says after each sequence. prompt: (batch, seq) -> (batch, vocab)"""
    dtype = torch.float32 if device == "cpu" else torch.bfloat16
    with torch.inference_mode():
        decoder = build(dtype, device)
        logits: Tensor = decoder.head(decoder.hidden_states(prompt.to(device))[:, -1])
        return logits


def _prompt(workload: Workload) -> Tensor:
    return prompt_of(str(workload["model"]), int(workload["batch"] or 1))


def _transformers(name: str, config: str | None, build: Build, bound: float) -> Implementation:
    def prepare(workload: Workload, device: str) -> Step:
        return _transformers_step(name, config, build, bound, workload, device)

    needs = ("transformers",) if config is None else ("transformers", "torchao")
    note = config or ""
    return Implementation(name, "peer", "kernel", prepare, needs, note=note)


def _transformers_step(
    name: str, config: str | None, build: Build, bound: float, workload: Workload, device: str
) -> Step:
    """Its model on its own growing cache, from which each step's token is removed again, as here."""
    import transformers

    prompt = _prompt(workload).to(device)
    model = to_transformers(build(torch.bfloat16, device))
    if config is not None:
        torchao_quantize(model, config)
    past = transformers.DynamicCache()
    cached = prompt.shape[1] - 1

    def step() -> Any:
        out = model(prompt[:, cached:], past_key_values=past, use_cache=True)
        past.crop(-1)
        return out

    with torch.inference_mode():
        model(prompt[:, :cached], past_key_values=past, use_cache=True)
        check_close(name, step().logits[:, -1], _next_logits(build, prompt, device), bound)
    return lambda: _done(step())


def torchao_quantize(model: Any, config: str) -> None:
    """Change the model by a torchao config of that name; 4 bits on a CPU are still in its prototypes."""
    import torchao.quantization

    if config == INT4:
        from torchao.prototype.quantization.int4 import PrototypeInt4WeightOnlyConfig

        torchao.quantization.quantize_(model, PrototypeInt4WeightOnlyConfig(group_size=64))
    else:
        torchao.quantization.quantize_(model, getattr(torchao.quantization, config)())


def to_transformers(decoder: Decoder) -> Any:
    """The same weights (shared) in transformers' LlamaForCausalLM."""
    import transformers

    weight = decoder.embedding.weight
    fields = config_to_hugging_face(decoder.config, weight.dtype)
    with torch.device("meta"):
        model: Any = transformers.LlamaForCausalLM(transformers.LlamaConfig(**fields))
    model = model.to(weight.dtype)
    state, renamed = decoder.state_dict(), names(decoder.config, HUGGING_FACE)
    if decoder.config.tied:
        renamed["head.weight"] = "lm_head.weight"
    model.load_state_dict({theirs: state[own] for own, theirs in renamed.items()}, strict=True, assign=True)
    model.tie_weights()
    model.model.rotary_emb = type(model.model.rotary_emb)(model.config).to(weight.device)  # buffers are in no file
    return model.eval().requires_grad_(False)


class LlamaProcess:
    """llama.cpp in a process of its own, one JSON line in and one out; the pipe adds some tens of microseconds."""

    def __init__(self, *arguments: str) -> None:
        python = os.environ.get(LLAMA_VARIABLE, sys.executable)
        probe = subprocess.run([python, "-c", "import llama_cpp"], capture_output=True, check=False)
        if probe.returncode:
            raise NotInstalledError(f"llama-cpp-python, for {python}; ${LLAMA_VARIABLE} may name another Python")
        command = [python, str(CHILD), *arguments]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True)
        atexit.register(self.process.kill)
        self._read()

    def ask(self, **command: Any) -> Any:
        """Send a command of `peer_llama_cpp.py`; -> its answer."""
        assert self.process.stdin
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()
        return self._read()

    def _read(self) -> Any:
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"llama.cpp ended with {self.process.wait()}")
        return json.loads(line)


def _llama_cpp(kind: str | None, build: Build, workload: Workload, device: str) -> Step:
    if device != "cpu":
        raise NotInstalledError("llama.cpp for this device")
    prompt = _prompt(workload)
    model = LlamaProcess(str(smollm2.checked_path()), str(torch.get_num_threads()), *([kind] if kind else []))
    *cached, newest = prompt[0].tolist()
    model.ask(prefill=cached)
    theirs = torch.tensor([model.ask(logits=newest)])
    check_close("llama.cpp", theirs, _next_logits(build, prompt, device), 0.05)
    return lambda: _done(model.ask(step=newest))


def _done(_result: object) -> None:
    """A timed step returns nothing."""
