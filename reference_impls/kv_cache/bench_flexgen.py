"""FlexGen's block: throughput by its order, and the cost model's seconds of a step against those that it takes.

Links are slowed down to stated rates, so that what is measured is the schedule and not this machine's memory.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor

from reference_impls.kv_cache import flexgen, flexgen_replay
from reference_impls.kv_cache.flexgen import DEVICE, DISK, HOST, Shares
from reference_impls.kv_cache.flexgen_block import Lookahead, OffloadedBlock, block_step, work_of
from reference_impls.kv_cache.links import Links, Tiered
from reference_impls.kv_cache.sealed import Parts
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
    step = step_of(config, tokens)
    with torch.inference_mode():
        return _median([taken(step) for _ in range(STEPS + 1)][1:])


def _median(found: list[float]) -> float:
    return float(torch.tensor(found, dtype=torch.float64).median())


def taken(step: Callable[[], object]) -> float:
    """Seconds of one."""
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


@cache
def _small() -> Tiered:
    return Tiered(["host", "disk"], Links(**RATES), torch.device("cpu"))


def startups(repeats: int = 8) -> list[float]:
    """What a transfer takes beside its bytes: the four of `Machine.least_s`, by moving a batch's state, and `.wake_s`.

    Means, since a step waits for so many of them that their sum is what counts.
    """
    small, large = (torch.zeros(1, count // 4) for count in (6_000, 400_000))
    held, found = _small(), []

    def put(number: int) -> None:
        held.put(number, (small,), over=True)
        held.wait(number)

    for _ in range(repeats):
        down, up, disk_down, disk_up = (taken(partial(one, number)) for number in range(2) for one in (put, held.get))
        whole = taken(held.links.host_to_device.submit(large.nbytes, lambda: (large.clone(),)).result)
        found.append([disk_up - up, up, down, disk_down - down, whole - large.nbytes / RATES["host_to_device"]])
    return [max(0.0, sum(each) / repeats) for each in zip(*found, strict=True)]


@cache
def others(config: flexgen.Config, tokens: int) -> tuple[Tiered, Lookahead]:
    """Something else that moves as many bytes as the block does, a part of them wherever a cache of it would."""
    block = block_of(config, tokens)
    away = sum(tier != "device" for tier in block.cache.tiers)
    moved = flexgen.bytes_moved(work_of(load_model(MODEL), tokens), block.placed)["host_to_device"]
    held = Tiered(block.cache.tiers, Links(), torch.device("cpu"))
    for number in range(len(held.tiers)):
        held.put(number, (torch.zeros(1, int(moved / max(1, away) / 4)),))
    held.wait()
    for name, rate in RATES.items():
        held.links.by_name[name].bytes_per_s = rate
    stays = Tiered(["device"] * config.batches, held.links, torch.device("cpu"))
    return held, Lookahead(config, load_model(MODEL).config.layers, 0, stays, held, stays)


def computing(config: flexgen.Config, tokens: int) -> float:
    """Seconds that one step computes, with everything on the device, but at the pace that links would give it.

    Before a batch passes a layer it waits for something else that comes over the links, which runs beside the computing
    where links do: what lay in the processor's caches is gone by then, and the links' threads need a core now and then.
    """
    plain = flexgen.without_offload(config)
    step, block, (held, ahead) = step_of(plain, tokens), block_of(plain, tokens), others(config, tokens)
    waited = 0.0

    def get(number: int) -> Parts:
        nonlocal waited
        place = ahead.order.index(divmod(number, config.batches))
        if config.overlap:
            ahead.after(*divmod(place, len(ahead.loads[0])))
        waited += taken(partial(held.get, number))
        return block.cache.here.get(number)

    block.cache.get = get  # type: ignore[method-assign]
    try:
        return taken(step) - waited
    finally:
        del block.cache.get


def compared(config: flexgen.Config, tokens: int) -> tuple[float, float]:
    """Seconds of a step: as the replay predicts it, and as it is. What it is told is measured beside it, in turn."""
    block, step = block_of(config, tokens), step_of(config, tokens)
    work = work_of(load_model(MODEL), tokens, len(block.chunks), block.caches[0].group)
    with torch.inference_mode():
        found = [(taken(step), computing(config, tokens), *startups()) for _ in range(STEPS + 1)]
    real, alone, one, two, three, four, wake = (_median([*each]) for each in zip(*found[1:], strict=True))
    machine = replace(_machine(_flops(work, config, alone)), wake_s=wake, least_s=(one, two, three, four))
    return flexgen_replay.step_seconds(work, block, machine, tokens // work.group * work.group), real


def bound(config: flexgen.Config, tokens: int) -> float:
    """By the paper's formula, told the links' rates and how fast the block computes alone, all in memory."""
    work = work_of(load_model(MODEL), tokens)
    flops = _flops(work, config, seconds(flexgen.without_offload(config), tokens))
    return flexgen.step_seconds(work, block_of(config, tokens).placed, _machine(flops))


def _machine(flops: float) -> flexgen.Machine:
    """With the stated links and room for everything."""
    down, up, back, away = (RATES[one] for one in flexgen.DIRECTIONS)
    return flexgen.Machine(down, up, back, away, flops, float("inf"))


def _flops(work: flexgen.Work, config: flexgen.Config, took: float) -> float:
    return work.layers * config.batch * config.batches * work.layer_flops / took


def _error(config: flexgen.Config, replays: bool, _model: str, _seed: int) -> float:
    predicted, real = compared(config, 256) if replays else (bound(config, 256), seconds(config, 256))
    return 100 * abs(predicted / real - 1)


def _prediction_case(name: str) -> Case:
    config = flexgen.Config(8, BATCHES, *PLACES[name])
    ways = [
        Way("in-turn", partial(_error, replace(config, overlap=False), True), "flexgen_replay", "baseline", "kernel"),
        Way("overlapped", partial(_error, config, True), "flexgen_replay", effect="kernel"),
        Way("overlapped-maximum", partial(_error, config, False), "flexgen", effect="kernel"),
    ]
    places = {"host": "on the host", "disk": "on a disk", "mixed": "on device, host and disk"}
    case = value_case(
        f"kv_cache/flexgen/{MODEL}/{name}/prediction_error",
        f"Seconds of a step of a block with its parts {places[name]}: predicted against measured",
        "prediction_error",
        ways,
        _work(8, 256, steps=STEPS, **{f"{one}_bytes_per_s": rate for one, rate in RATES.items()}),
        trials=SEEDS,
        why="0 % where the model is exact; the maximum over links and computing leaves out whatever waits for another",
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
