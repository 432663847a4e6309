"""Cases in which everything is asked for at once: slots refilled or left empty; caches swapped."""

from dataclasses import replace

from reference_impls.measurement.case import Case, Implementation, Role, Step, Workload
from reference_impls.serving.bench_engine import CUDA, POLICIES, TINY, Setup, model_of, requests_of, run
from reference_impls.serving.bench_hugging_face import peer
from reference_impls.serving.cost import CostModel


def together_cases() -> list[Case]:
    """Output tokens a second; and with swaps on CUDA."""
    names = ("fcfs-request-batches", "fcfs")
    found = []
    for setup in (TINY, *CUDA):
        ways = [_together(setup, name, "baseline" if name == names[0] else "method") for name in names]
        if setup is TINY:
            ways.append(peer(setup))
        found.append(_together_case(setup, "together", ways))
    for setup in CUDA:
        short = replace(setup, blocks=setup.batch * 12)
        swaps = {swap: replace(short, swap=swap) for swap in ("recompute", "reactive", "proactive")}
        ways = [
            _together(one, "fastserve", "baseline" if swap == "recompute" else "method", f"{swap}-swap")
            for swap, one in swaps.items()
        ]
        found.append(_together_case(short, "short-memory", ways))
    return found


def _together_case(setup: Setup, kind: str, ways: list[Implementation]) -> Case:
    made = sum(one.output for one in requests_of(setup, 0))
    return Case(
        id=f"serving/{setup.model}/batch-{setup.batch}-{kind}/decode_throughput",
        title=f"Answers of {setup.model}, all asked for at once, {setup.batch} at a time",
        metric="decode_throughput",
        workload=setup.workload | {"arrivals": "all at once", "load_percent": None},
        implementations=tuple(ways),
        timed=True,
        amount=float(made),
        no_limit="prefill and decode together; the bound of a decode step is in other suites",
        devices=("cuda",) if setup.model == "random-1b" else ("cpu",),
    )


def _together(setup: Setup, name: str, role: Role, label: str | None = None) -> Implementation:
    def prepare(_workload: Workload, device: str) -> Step:
        model_of(setup.model, device)

        def step() -> None:
            run(setup, POLICIES[name][1], 0, device, None, CostModel())

        return step

    return Implementation(label or name, role, "kernel", prepare, module="kv_swap" if label else POLICIES[name][0])


def cases() -> list[Case]:
    """All of this module."""
    return together_cases()
