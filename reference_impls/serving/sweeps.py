"""One simulated server as a function of its parameters, for sweeps: `python -m scripts.bench.sweep`."""

from typing import Any

from reference_impls.serving import Limits, policies
from reference_impls.serving.cost import CostModel
from reference_impls.serving.metrics import SUMMARIES
from reference_impls.serving.simulate import capacity
from reference_impls.serving.simulate import simulate as run
from reference_impls.serving.traces import Config, generate


def simulate(
    policy: str,
    load: float = 0.9,
    trace: str = "conversation",
    arrivals: str = "poisson",
    requests: int = 400,
    batch: int = 16,
    tokens: int = 2048,
    seed: int = 0,
    **config: Any,
) -> dict[str, float]:
    """Every summary of one run, in seconds or as counts. load: arrivals over what the server can finish at most.

    config: fields of the policy's Config, such as quantum_s or ageing_s. Raises ValueError for an unknown policy.
    """
    known = policies()
    if policy not in known:
        raise ValueError(f"there is no policy {policy!r}; there are {', '.join(sorted(known))}")
    cost, limits, module = CostModel(), Limits(batch=batch, tokens=tokens), known[policy]
    rate = load * capacity(generate(Config(trace, 4000, 1.0, "together", 12345)), cost, limits)
    scheduler = module.Scheduler(module.Config(**config))
    record = run(generate(Config(trace, requests, rate, arrivals, seed)), scheduler, cost, limits)
    return {name: of(record) for name, of in SUMMARIES.items()}
