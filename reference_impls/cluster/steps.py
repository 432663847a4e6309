"""What elastic policies share: who starts with one GPU, who keeps what it has, which change is worth its pause."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf

from reference_impls.cluster import Active, Plan, Share, View


@dataclass(frozen=True)
class Begun:
    """gpus: by job, in order of importance; held: those that keep what they have for now."""

    order: list[Active]
    gpus: dict[int, int]
    held: frozenset[int]


def keep_or_start(view: View, hold_s: float) -> Begun:
    """One GPU each in order of the time left on one GPU; jobs changed less than hold_s ago keep theirs if all fit."""
    order = sorted(view.active, key=lambda one: one.left / one.table.rate[0][-1])[: view.gpus]
    held = frozenset(one.job.id for one in order if one.share and one.since > view.now - hold_s)
    gpus = {one.job.id: one.share.gpus if one.share and one.job.id in held else 1 for one in order}
    if sum(gpus.values()) > view.gpus:
        held, gpus = frozenset(), dict.fromkeys(gpus, 1)
    return Begun(order, gpus, held)


def settle(view: View, shares: Mapping[int, Share], begun: Begun, hold_s: float, pause_s: float) -> Plan:
    """Leave out growth that its pause would eat up; ask again when the next held job may change."""
    kept = {}
    for one in begun.order:
        number = one.job.id
        share = shares.get(number)
        if share is None:
            continue
        now = one.share
        if now and share.gpus > now.gpus:
            before = one.left / one.table.rate[now.gpus.bit_length() - 1][share.level]
            after = pause_s + one.left / one.table.rate[share.gpus.bit_length() - 1][share.level]
            kept[number] = Share(now.gpus, share.level) if after >= before else share
        else:
            kept[number] = share
    ends = (one.since + hold_s for one in begun.order if one.job.id in begun.held)
    return Plan(kept, max(min(ends, default=inf), view.now + 1e-3))
