"""Elastic sharing for speed alone: the next GPUs go where they save most time, whatever they draw.

Paper: "Elastic Resource Sharing for Distributed Deep Learning", NSDI 2021 (AFS); "ElasticFlow: An Elastic Serverless
    Training Platform for Distributed Deep Learning", ASPLOS 2023.
Idea: throughput rises ever more slowly with GPUs, so a GPU is worth most to a job that has few, or is long.
Symbols: JCT = iterations left / rate; a step doubles a job's GPUs.
Simplified: neither paper's deadlines nor its admission; remaining iterations are known.
Differs: the greedy rule is on the time saved per added GPU, in doublings, so that buddy blocks stay aligned.
Cost: a heap over the jobs, a pop for each doubling.
Checked against: exhaustive search over two jobs and few GPUs.
"""

from dataclasses import dataclass
from heapq import heapify, heappop, heappush

from reference_impls.cluster import Active, Plan, PolicyConfig, Share, View
from reference_impls.cluster.steps import keep_or_start, settle


@dataclass(frozen=True)
class Config(PolicyConfig):
    """hold_s: how long a job keeps its GPUs at least, since every change costs a pause."""

    hold_s: float = 900.0


def saved_per_gpu(one: Active, doubling: int, level: int) -> float:
    """Seconds that a doubling saves, over the GPUs that it adds."""
    rate = one.table.rate
    if doubling + 1 >= len(rate):
        return 0.0
    saved = one.left / rate[doubling][level] - one.left / rate[doubling + 1][level]
    return saved / (1 << doubling)


def schedule(view: View, config: Config) -> Plan:
    """One GPU each, the shortest job first, then doublings by what they save."""
    begun = keep_or_start(view, config.hold_s)
    free = view.gpus - sum(begun.gpus.values())
    doublings = {number: gpus.bit_length() - 1 for number, gpus in begun.gpus.items()}
    by_id = {one.job.id: one for one in begun.order}
    level = {number: config.level(one.table) for number, one in by_id.items()}
    heap = [
        (-saved_per_gpu(by_id[number], at, level[number]), number)
        for number, at in doublings.items()
        if number not in begun.held
    ]
    heapify(heap)
    while heap and free:
        worth, number = heappop(heap)
        adds = 1 << doublings[number]
        if worth >= 0 or adds > free:
            continue
        free -= adds
        doublings[number] += 1
        heappush(heap, (-saved_per_gpu(by_id[number], doublings[number], level[number]), number))
    shares = {number: Share(1 << at, level[number]) for number, at in doublings.items()}
    return settle(view, shares, begun, config.hold_s, config.pause_s)
