"""One simulated cluster as a function of its parameters, for sweeps: `python -m scripts.bench.sweep`."""

from math import inf
from typing import Any

from reference_impls.cluster import policies, power, profiles, traces
from reference_impls.cluster.equal_energy import Config, cluster_for
from reference_impls.cluster.simulate import Budget
from reference_impls.cluster.simulate import simulate as run


def simulate(
    policy: str,
    watts: float = inf,
    load: float = 1.0,
    jobs: int = 120,
    nodes: int = 8,
    k: float = 0.8,
    cubic: float = 1.0,
    seed: int = 0,
    **config: Any,
) -> dict[str, float]:
    """Completion time, energy and moves of one trace.

    watts: the cap on power per GPU; k, cubic: the assumed response of time and power to the clock;
    config: fields of the policy's Config, such as frequency or eta. Raises ValueError for a policy that is not there.
    """
    known = policies()
    if policy not in known:
        raise ValueError(f"there is no policy {policy!r}; there are {', '.join(sorted(known))}")
    shape = Config(nodes=nodes)
    gpus = shape.nodes * shape.gpus_per_node
    curve = power.Config(cubic_w=power.Config().cubic_w * cubic)
    tables = power.tables(profiles.fitted(k), gpus, curve)
    trace = traces.philly_like(tables, traces.Config(jobs, gpus, load), seed)
    module = known[policy]
    found = run(
        trace, dict(tables), module, module.Config(**config), cluster_for(policy, shape), Budget(cap_w=watts * gpus)
    )
    return {
        "mean_jct_s": found.mean_jct_s,
        "energy_j": found.energy_j,
        "end_s": found.end_s,
        "migrations": found.migrations,
        "restarts": found.restarts,
    }
