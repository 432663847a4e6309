"""FlexGen's block: throughput by its order, and the cost model's seconds of a step against those that it takes.

Links are slowed down to stated rates, so that what is measured is the schedule and not this machine's memory.
"""

import time
from dataclasses import replace
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor

from reference_impls.kv_cache import flexgen
from reference_impls.kv_cache.flexgen import DEVICE, DISK, HOST, Shares
from reference_impls.kv_cache.flexgen_block import OffloadedBlock, block_step, work_of
from reference_impls.measurement.case import Case, Ceilings, Implementation, Limit, Step, Workload
from reference_impls.pruning.bench_models import SEEDS, Way, load_model, tokens_of, value_case

MODEL = "tiny-target"
BATCHES, STEPS = 4, 5
RATES = {"disk_to_host": 2e8, "host_to_device": 4e8, "device_to_host": 4e8, "host_to_disk": 2e8}
"""Bytes a second."""
THIRDS = Shares(1 / 3, 1 / 3, 1 / 3)
PLACES = {
    "host": (HOST, HOST, HOST),
    "disk": (DISK, DISK, DISK),
    "mixed": (THIRDS, THIRDS, HOST),
}
"""Where weights, cache and activations lie."""


def cases() -> list[Case]:
    """Predictions, then throughput."""
    return [*map(_prediction_case, PLACES), _order_case()]


def _work(batch: int, tokens: int, **more: Any) -> dict[str, Any]:
    return {"model": MODEL, "batch": batch, "batches": BATCHES, "cached_tokens": tokens, "dtype": "float32", **more}


@cache
def block_of(config: flexgen.Config, tokens: int) -> OffloadedBlock:
    """With the prompts in its caches, and from then on over links of the stated rates."""
    block = OffloadedBlock(load_model(MODEL), config)
    block_step(block, [one[:, :tokens] for one in texts(config.batch, tokens)])
    for name, rate in RATES.items():
        block.links.by_name[name].bytes_per_s = rate
    return block


def texts(batch: int, tokens: int) -> Tensor:
    """-> (batches, batch, tokens + 1)"""
    return tokens_of(MODEL)[: BATCHES * batch * (tokens + 1)].view(BATCHES, batch, tokens + 1)


def step_of(config: flexgen.Config, tokens: int) -> Step:
    """Decodes one token of every sequence, and takes it back."""
    block, newest = block_of(config, tokens), [one[:, tokens:] for one in texts(config.batch, tokens)]

    def step() -> None:
        block_step(block, newest)
        for own in block.caches:
            own.crop(tokens)

    return step


def seconds(config: flexgen.Config, tokens: int) -> float:
    """Of a step, the median of some behind one that is not counted."""
    step, found = step_of(config, tokens), []
    with torch.inference_mode():
        for _ in range(STEPS + 1):
            start = time.perf_counter()
            step()
            found.append(time.perf_counter() - start)
    return float(torch.tensor(found[1:]).median())


def predicted(config: flexgen.Config, tokens: int) -> float:
    """By the cost model, which is told the links' rates and how fast the block computes with everything in memory."""
    work = work_of(load_model(MODEL), tokens)
    alone = seconds(flexgen.without_offload(config), tokens)
    flops = work.layers * config.batch * config.batches * work.layer_flops / alone
    machine = flexgen.Machine(**RATES, flops=flops, memory=float("inf"))
    return flexgen.step_seconds(work, block_of(config, tokens).placed, machine)


def _error(config: flexgen.Config, _model: str, _seed: int) -> float:
    return 100 * abs(predicted(config, 256) / seconds(config, 256) - 1)


def _prediction_case(name: str) -> Case:
    config = flexgen.Config(8, BATCHES, *PLACES[name])
    ways = [
        Way("in-turn", partial(_error, replace(config, overlap=False)), "flexgen", "baseline", "kernel"),
        Way("overlapped", partial(_error, config), "flexgen", effect="kernel"),
    ]
    places = {"host": "on the host", "disk": "on a disk", "mixed": "on device, host and disk"}
    case = value_case(
        f"kv_cache/flexgen/{MODEL}/{name}/prediction_error",
        f"Seconds of a step of a block with its parts {places[name]}: predicted against measured",
        "prediction_error",
        ways,
        _work(8, 256, steps=STEPS, **{f"{one}_bytes_per_s": rate for one, rate in RATES.items()}),
        trials=SEEDS,
        why="0 % where the cost model is exact; it leaves out the loads that nothing hides at a step's beginning",
    )
    return replace(case, deterministic=False)


def _order_case() -> Case:
    ways = {
        "rows": flexgen.Config(4, BATCHES, cache=DEVICE, order="rows", overlap=False),
        "zigzag": flexgen.Config(4, BATCHES, cache=DEVICE, overlap=False),
        "zigzag-overlapped": flexgen.Config(4, BATCHES, cache=DEVICE),
    }
    return Case(
        id=f"kv_cache/flexgen/{MODEL}/decode_throughput",
        title=f"Decoding {BATCHES} batches of 4 with weights behind a link, by the block's order",
        metric="decode_throughput",
        workload=_work(4, 64, bytes_per_s=RATES["host_to_device"]),
        implementations=tuple(
            Implementation(
                name,
                "baseline" if name == "rows" else "method",
                "kernel",
                partial(_decode, config),
                limit=partial(_limit, config),
                module=None if name == "rows" else "flexgen_block",
                note="loads run beside computing" if config.overlap else "loads and computing take turns",
            )
            for name, config in ways.items()
        ),
        amount=4.0 * BATCHES,
        timed=True,
        devices=("cpu",),
    )


def _decode(config: flexgen.Config, work: Workload, device: str) -> Step:  # noqa: ARG001 a CPU's case
    return step_of(config, 64)


def _limit(config: flexgen.Config, work: Workload, ceilings: Ceilings) -> Limit:  # noqa: ARG001
    moved = flexgen.bytes_moved(work_of(load_model(MODEL), 64), config)["host_to_device"]
    rate = RATES["host_to_device"]
    return Limit(4 * BATCHES * rate / moved, f"stated link rate / {moved / 1e6:.1f} MB of weights a step")
