"""First in, first out: jobs keep the GPUs they asked for until they end.

Paper: none; the order that batch systems have without a policy.
Idea: whoever came first goes first; with backfill, a later job that fits may pass one that does not.
Symbols: nothing beyond the names.
Simplified: backfill reserves nothing for the job that is passed.
Differs: nothing.
Cost: one pass over the waiting jobs.
Checked against: a trace worked by hand.
"""

from dataclasses import dataclass

from reference_impls.cluster import Plan, PolicyConfig, View
from reference_impls.cluster.rigid import fill


@dataclass(frozen=True)
class Config(PolicyConfig):
    """Whether jobs may pass others."""

    backfill: bool = True


def schedule(view: View, config: Config) -> Plan:
    """Running jobs first, then by arrival."""
    order = sorted(view.active, key=lambda one: one.share is None)  # stable: by arrival within each
    return Plan(fill(order, view, config, strict=not config.backfill))
