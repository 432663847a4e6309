"""Cases of simulated servers whose memory is short, whose prompts are cut, or whose phases are split."""

from collections.abc import Callable
from functools import cache, partial

from reference_impls.measurement.case import Case, Implementation, Role, Value
from reference_impls.serving import Limits, Request, fastserve, fcfs
from reference_impls.serving.bench_simulated import (
    COST,
    REQUESTS,
    by_seed,
    highest,
    requests_of,
    value_case,
    workload_of,
)
from reference_impls.serving.cost import CostModel
from reference_impls.serving.disaggregation import Config as SplitConfig
from reference_impls.serving.disaggregation import apart, together
from reference_impls.serving.kv_swap import Config as SpaceConfig
from reference_impls.serving.kv_swap import Space
from reference_impls.serving.metrics import SUMMARIES, latencies
from reference_impls.serving.simulate import simulate
from reference_impls.serving.traces import Config as TraceConfig
from reference_impls.serving.traces import generate

BLOCK_BYTES = 16 * 819_200
"""A block of 16 tokens of a model of 13 billion parameters: 2 x 40 layers x 5,120 numbers x 2 bytes a token."""
LINK = 25e9
DEVICE_BLOCKS = {"short": 480, "ample": 100_000}
Values = dict[str, float]


@cache
def swapped(swap: str, order: str, device: str, seed: int) -> Values:
    """One run of FastServe at full load on Zipf lengths, with memory for about half of what it would like."""
    trace = requests_of("zipf", "poisson", 100, seed)
    config = SpaceConfig(DEVICE_BLOCKS[device], 100_000, 16, "proactive", 16, 0.1, BLOCK_BYTES, LINK)
    space = Space(SpaceConfig(**(vars(config) | {"swap": swap})))
    policy = fastserve.Config(0.025, ageing_s=3.0, order="artifact" if order == "artifact" else "enst")
    scheduler = fcfs.Scheduler() if order == "fcfs" else fastserve.Scheduler(policy)
    record = simulate(trace, scheduler, COST, Limits(16), space)
    return {
        "latency_per_token": SUMMARIES["per_token"](record),
        "overhead": 100 * record.stalled_s / record.end_s,
        "kv_bytes": float(space.counts.peak_blocks * BLOCK_BYTES),
        "bytes_moved": float((space.counts.blocks_in + space.counts.blocks_out) * BLOCK_BYTES),
    }


def _swap_way(name: str, swap: str, order: str, metric: str, role: Role, device: str = "short") -> Implementation:
    def value(seed: int) -> float:
        return swapped(swap, order, device, seed)[metric]

    module = "kv_swap" if role == "method" else None
    return Implementation(name, role, "simulated", partial(by_seed, value), module=module)


def swap_cases() -> list[Case]:
    """Recomputing, copying on demand, copying ahead in two orders; and how much is held at most."""
    work = workload_of("zipf", "poisson", 100) | {
        "policy": "FastServe, ageing 3 s",
        "device_blocks": DEVICE_BLOCKS["short"],
        "bytes_per_block": BLOCK_BYTES,
        "link_bytes_per_s": LINK,
    }
    ways: list[tuple[str, str, str, Role]] = [
        ("recompute", "recompute", "enst", "baseline"),
        ("reactive-swap", "reactive", "enst", "method"),
        ("proactive-swap-enst", "proactive", "enst", "method"),
        ("proactive-swap-artifact", "proactive", "artifact", "method"),
    ]
    found = [
        value_case(
            f"serving/short-memory/{metric}",
            "Simulated FastServe with memory for about half of its caches",
            metric,
            work,
            [_swap_way(name, swap, order, metric, role) for name, swap, order, role in ways],
        )
        for metric in ("latency_per_token", "overhead")
    ]
    moved = [
        _swap_way(name, swap, order, "bytes_moved", "baseline" if swap == "reactive" else "method")
        for name, swap, order, _ in ways[1:]
    ]
    title = "Bytes of caches that simulated FastServe copies, memory for about half of them"
    found.append(value_case("serving/short-memory/bytes_moved", title, "bytes_moved", work, moved))
    peak = [
        _swap_way("fcfs", "proactive", "fcfs", "kv_bytes", "baseline", "ample"),
        _swap_way("fastserve", "proactive", "enst", "kv_bytes", "method", "ample"),
    ]
    title = "Largest size of all caches of simulated requests, memory unlimited"
    return [
        *found,
        value_case("serving/ample-memory/kv_bytes", title, "kv_bytes", work | {"device_blocks": 100_000}, peak),
    ]


CHUNKS = {"whole-prompts": None, "chunks-512": 512, "chunks-128": 128}
CHUNK_COST = CostModel(COST.a, COST.b, COST.c, 2e-8)


@cache
def chunked(name: str, seed: int) -> Values:
    """Conversations with long prompts mixed in, by pieces of so many tokens."""
    record = simulate(_mixture(seed, 2.0), fcfs.Scheduler(), CHUNK_COST, _limits(name))
    at_once = simulate(_mixture(seed, 2.0, "together"), fcfs.Scheduler(), CHUNK_COST, _limits(name))
    return {
        "throughput": REQUESTS / at_once.end_s,
        "tbt_tail": SUMMARIES["tbt_p99"](record),
        "ttft": SUMMARIES["ttft"](record),
        "jct": SUMMARIES["jct"](record),
    }


def _mixture(seed: int, rate: float, arrivals: str = "poisson") -> list[Request]:
    return generate(TraceConfig("long-prompts-and-answers", REQUESTS, rate, arrivals, seed))


def _limits(name: str) -> Limits:
    """Pieces of a prompt leave room for sixteen decodes beside them."""
    if name == "prompts-apart":
        return Limits(16, 2048, mixing="separate")
    chunk = CHUNKS[name]
    return Limits(16, chunk + 16 if chunk else 2048, chunk)


def chunk_cases() -> list[Case]:
    """Time between tokens, and to the first, against the size of a piece."""
    work: dict[str, Value] = {
        "trace": "prompts and answers both long",
        "requests": REQUESTS,
        "rate_per_s": 2.0,
        "batch": 16,
    }
    work |= {"iteration_cost": "25 ms + 0.12 ms/prompt token + 0.4 ms/decode + 20 ns/cached token, assumed"}
    names = ["prompts-apart", *CHUNKS]
    return [
        value_case(
            f"serving/long-prompts-and-answers/{metric}",
            "Simulated requests with long prompts and long answers",
            metric,
            work | {"rate_per_s": None, "arrivals": "together"} if metric == "throughput" else work,
            [
                Implementation(
                    name,
                    "baseline" if name == "prompts-apart" else "method",
                    "simulated",
                    partial(by_seed, partial(_value, chunked, name, metric)),
                    module="chunked_prefill" if name != "prompts-apart" else None,
                )
                for name in names
            ],
        )
        for metric in ("tbt_tail", "ttft", "jct", "throughput")
    ]


@cache
def chunked_rate(name: str, seed: int) -> float:
    """The highest rate with 99 % of gaps between tokens within 0.1 s and a mean first token within 2 s."""

    def met(rate: float) -> bool:
        record = simulate(_mixture(seed, rate), fcfs.Scheduler(), CHUNK_COST, _limits(name))
        return SUMMARIES["tbt_p99"](record) <= 0.1 and SUMMARIES["ttft"](record) <= 2.0

    return highest(met, 0.2, 8.0)


def chunk_rate_case() -> Case:
    """What bounding the time between tokens allows a server to take."""
    names = ["prompts-apart", *CHUNKS]
    return value_case(
        "serving/long-prompts-and-answers/gap-target/throughput_at_slo",
        "Simulated requests a second with 99 % of gaps within 0.1 s and the first token within 2 s on average",
        "throughput_at_slo",
        {"trace": "prompts and answers both long", "requests": REQUESTS, "batch": 16},
        [
            Implementation(
                name,
                "baseline" if name == "prompts-apart" else "method",
                "simulated",
                partial(by_seed, partial(chunked_rate, name)),
                module="chunked_prefill" if name != "prompts-apart" else None,
            )
            for name in names
        ],
    )


def _value(of: Callable[[str, int], Values], name: str, metric: str, seed: int) -> float:
    return of(name, seed)[metric]


SPLITS = {"one-and-one": (1, 1), "one-and-three": (1, 3)}
TARGETS_S = {"loose": (0.4, 0.04), "tight": (0.4, 0.033)}
"""To the first token, and each later one; a full batch of decodes alone takes 31 ms."""


@cache
def split(name: str, targets: str, seed: int) -> Values:
    """As many devices in both arms; the highest rate with 90 % of requests within both targets."""
    prefill, decode = SPLITS[name.removeprefix("together-")]

    def met(rate: float) -> bool:
        trace = _mixture(seed, rate * (prefill + decode))
        if name.startswith("together"):
            record = together(trace, CHUNK_COST, Limits(16), prefill + decode)
        else:
            record = apart(trace, CHUNK_COST, SplitConfig(prefill, decode, BLOCK_BYTES / 16, LINK))
        found = latencies(record)
        first_s, later_s = TARGETS_S[targets]
        return bool(((found.ttft <= first_s) & ~(found.tpot > later_s)).mean() >= 0.9)

    return {"throughput_at_slo": highest(met, 0.05, 8.0)}


def split_cases() -> list[Case]:
    """Requests a second and device, by how the devices are divided and how tight the targets are."""
    return [_split_case(name, targets) for name in SPLITS for targets in TARGETS_S]


def _split_case(name: str, targets: str) -> Case:
    (a, b), (first_s, later_s) = SPLITS[name], TARGETS_S[targets]
    work: dict[str, Value] = {"trace": "prompts and answers both long", "requests": REQUESTS, "link_bytes_per_s": LINK}
    work |= {"targets": f"{first_s} s to the first token, {later_s} s each later, 90 % of requests"}

    def way(label: str, key: str, role: Role, module: str | None) -> Implementation:
        def value(seed: int) -> float:
            return split(key, targets, seed)["throughput_at_slo"]

        return Implementation(label, role, "simulated", partial(by_seed, value), module=module)

    return value_case(
        f"serving/{name}-{targets}/throughput_at_slo",
        f"Simulated requests a second and device within {targets} targets, {a} + {b} devices",
        "throughput_at_slo",
        work | {"prefill_devices": a, "decode_devices": b},
        [way("together", f"together-{name}", "baseline", None), way("apart", name, "method", "disaggregation")],
    )


def cases() -> list[Case]:
    """All of this module."""
    return [*swap_cases(), *chunk_cases(), chunk_rate_case(), *split_cases()]
