"""The cases of LLMCad: a target whose layers come from files at stated rates, and the method with each part removed.

All contenders have the same bytes for weights: the draft's bytes are given to those that need no draft. Reading one
layer ahead needs a buffer more, so plain streaming keeps one layer more in memory.
"""

import tempfile
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch

from reference_impls.measurement.case import Case, Ceilings, Implementation, Limit, Role, Step, Workload
from reference_impls.speculative_decoding import Drafter, draft_model, llmcad, token_tree
from reference_impls.speculative_decoding.bench_setups import (
    Setup,
    draft,
    plain_step,
    run,
    speculative_step,
    target,
    tokens_per_pass,
)
from reference_impls.speculative_decoding.layer_stream import Config, StreamedDecoder, write_layers

SETUP = Setup("tiny-target", "free", tokens=24)
MANY = Setup("tiny-target", "free", tokens=48, count=8)
"""For what needs no streaming: a single text is not enough to tell the parts apart."""
TUNED = llmcad.Config(branch_threshold=0.05, alpha0=0.001, adaptive=False, max_tree=32)
"""Found on other prompts than those of the cases."""


@dataclass(frozen=True)
class Storage:
    """Where the target's layers are. bytes_per_s None: all of them stay in memory."""

    name: str
    bytes_per_s: float | None


STORAGES = (Storage("memory", None), Storage("400-mb-per-s", 4e8), Storage("130-mb-per-s", 1.3e8))


def cases() -> list[Case]:
    """Seconds of a step at every storage, and throughput of all contenders at each."""
    return [_step_case(), *(_throughput_case(storage) for storage in STORAGES), _tokens_case()]


def drafters() -> dict[str, Drafter]:
    """Contenders with a draft; a new one each time, since LLMCad's remembers its newest session."""
    shape = token_tree.fixed_shape((3, 2, 1, 1))
    return {
        "sp-4": draft_model.Drafter(draft()),
        "sp-8": draft_model.Drafter(draft(), draft_model.Config(8)),
        "sp-tree": token_tree.Drafter(draft(), shape),
        "llmcad": llmcad.Drafter(draft()),
        "llmcad-no-tree": llmcad.Drafter(draft(), llmcad.Config(branch_threshold=1.0)),
        "llmcad-no-fallback": llmcad.Drafter(draft(), llmcad.Config(adaptive=False)),
        "llmcad-no-provisional": llmcad.Drafter(draft(), llmcad.Config(provisional=False)),
        "llmcad-tuned": llmcad.Drafter(draft(), TUNED),
    }


MODULES = {"sp-4": "draft_model", "sp-8": "draft_model", "sp-tree": "token_tree"}
NOTES = {
    "std": "layers read one after the other, nothing beside",
    "std-pl": "the next layer is read while one computes",
    "llmcad-no-tree": "one branch",
    "llmcad-no-fallback": "the threshold stays at its start value",
    "llmcad-tuned": "for a draft that is rarely sure: branches from 0.05 on, judged below a fixed 0.001",
    "llmcad-no-provisional": "does not draft while the target's layers are read",
}


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    """The target's layers as files, until the process ends."""
    folder = tempfile.TemporaryDirectory(prefix="frugalfm-layers-")
    write_layers(target("tiny-target"), Path(folder.name))
    return folder


def _bytes() -> tuple[int, int, int]:
    """-> of one layer, of everything else, of the draft."""
    model = target("tiny-target")
    layer = sum(p.nbytes for p in model.blocks[0].parameters())
    whole = sum(p.nbytes for p in model.parameters())
    return layer, whole - layer * len(model.blocks), sum(p.nbytes for p in draft().parameters())


def streamed(storage: Storage, ahead: bool = True, with_draft: bool = True) -> StreamedDecoder:
    """The tiny target under the budget: two layers beside the draft, or all where it stays in memory."""
    layer, rest, small = _bytes()
    model = target("tiny-target")
    layers = 2 if storage.bytes_per_s is not None else len(model.blocks) + 2
    config = Config(rest + layers * layer + (0 if with_draft else small), ahead, storage.bytes_per_s)
    return StreamedDecoder(Path(_folder().name), model.config, config)


def _workload(storage: Storage) -> Workload:
    layer, rest, small = _bytes()
    return dict(SETUP.workload) | {
        "draft": "tiny-draft",
        "storage": storage.name,
        "bytes_per_s": storage.bytes_per_s,
        "weight_budget_bytes": rest + 2 * layer + small if storage.bytes_per_s else None,
    }


def _throughput_case(storage: Storage) -> Case:
    names = ["std", "std-pl", *drafters()]
    return Case(
        id=f"speculative_decoding/llmcad/{storage.name}/decode_throughput",
        title=f"LLMCad and its parts, target {_words(storage)}",
        metric="decode_throughput",
        workload=_workload(storage),
        implementations=tuple(_contender(name, storage) for name in names),
        timed=True,
        amount=float(SETUP.tokens),
        no_limit="" if storage.bytes_per_s else "the streamed cases have the limit of their rate",
        devices=("cpu",),
    )


def _words(storage: Storage) -> str:
    return "in memory" if storage.bytes_per_s is None else f"read at {storage.bytes_per_s / 1e6:.0f} MB/s"


def _contender(name: str, storage: Storage) -> Implementation:
    role: Role = "baseline" if name == "std" else "method" if name.startswith("llmcad") else "peer"
    module = "layer_stream" if name.startswith("std") else MODULES.get(name, "llmcad")
    limit = partial(_limit, name) if storage.bytes_per_s else None
    return Implementation(
        name, role, "kernel", partial(_prepare, name, storage), limit=limit, note=NOTES.get(name, ""), module=module
    )


def _prepare(name: str, storage: Storage, _workload: Workload, _device: str) -> Step:
    if name.startswith("std"):
        return plain_step(streamed(storage, ahead=name == "std-pl", with_draft=False), SETUP)
    model, drafter = streamed(storage), drafters()[name]
    model.idle = getattr(drafter, "meanwhile", None)
    return speculative_step(model, drafter, SETUP)


def _limit(name: str, workload: Workload, _: Ceilings) -> Limit:
    """Tokens of a pass over the seconds of its bytes, if nothing else cost anything."""
    layer, _rest, _small = _bytes()
    layers = len(target("tiny-target").blocks) - (1 if name == "std" else 0)
    rate = float(workload["bytes_per_s"] or 0)
    per_pass = _tokens(name, SETUP)
    return Limit(per_pass * rate / (layers * layer), f"{per_pass:.2f} tokens a pass / seconds to read {layers} layers")


@cache
def _tokens(name: str, setup: Setup) -> float:
    """Tokens a pass, in memory. How many provisional guesses fit into a pass depends on its time, so LLMCad's limit
    is that of as many as it may make."""
    if name.startswith("std"):
        return 1.0
    drafter = drafters()[name]
    return tokens_per_pass(run(_Patient(drafter), drafter, setup))


class _Patient:
    """The target in memory, whose every pass leaves time for all provisional guesses."""

    def __init__(self, drafter: Drafter) -> None:
        model = target("tiny-target")
        self.head, self.new_cache, self.inner = model.head, model.new_cache, model
        self.meanwhile = getattr(drafter, "meanwhile", lambda: False)

    def hidden_states(self, *arguments: Any) -> torch.Tensor:
        while self.meanwhile():
            pass
        return self.inner.hidden_states(*arguments)


def _tokens_case() -> Case:
    def value(name: str, _workload: Workload, _device: str) -> Step:
        return lambda: _tokens(name, MANY)

    return Case(
        id="speculative_decoding/llmcad/tokens_per_target_step",
        title="Tokens a pass of the target, where each pass leaves time for every provisional guess",
        metric="tokens_per_target_step",
        workload=dict(MANY.workload) | {"draft": "tiny-draft"},
        implementations=tuple(
            Implementation(
                name,
                "baseline" if name == "std" else "method",
                "kernel",
                partial(value, name),
                module="layer_stream" if name == "std" else MODULES.get(name, "llmcad"),
            )
            for name in ["std", *drafters()]
        ),
        timed=False,
        no_limit="a property of models and text, not of the machine",
        devices=("cpu",),
    )


def _step_case() -> Case:
    """What one pass costs: the ratio r of a target's pass to a draft's step, on which everything here depends."""
    ways = [Implementation("draft-step", "baseline", "kernel", _draft_step)]
    ways += [
        Implementation(f"target-{one.name}", "method", "kernel", partial(_target_step, one), module="layer_stream")
        for one in STORAGES
    ]
    return Case(
        id="speculative_decoding/llmcad/passes/step_time",
        title="One token through the draft, and through the target at every storage",
        metric="step_time",
        workload={"model": "tiny-target", "draft": "tiny-draft", "cached_tokens": 63, "batch": 1, "dtype": "float32"},
        implementations=tuple(ways),
        timed=True,
        no_limit="the streamed cases have the limit of their rate",
        devices=("cpu",),
    )


def _draft_step(_workload: Workload, _device: str) -> Step:
    return plain_step(draft(), Setup("tiny-target", "free", tokens=1))


def _target_step(storage: Storage, _workload: Workload, _device: str) -> Step:
    return plain_step(streamed(storage, with_draft=True), Setup("tiny-target", "free", tokens=1))
