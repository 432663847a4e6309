"""What policies share that give a job exactly the GPUs that its owner asked for, or none."""

from collections.abc import Iterable

from reference_impls.cluster import Active, PolicyConfig, Share, View


def fill(order: Iterable[Active], view: View, config: PolicyConfig, strict: bool = False) -> dict[int, Share]:
    """Start jobs in this order while GPUs last. strict: nobody passes one that does not fit."""
    free, shares = view.gpus, {}
    for one in order:
        if one.job.gpus <= free:
            shares[one.job.id] = Share(one.job.gpus, config.level(one.table))
            free -= one.job.gpus
        elif strict:
            break
        if not free:
            break
    return shares
