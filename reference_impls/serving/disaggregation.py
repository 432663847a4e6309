"""Prefill and decode on devices of their own, against the same devices doing both.

Paper: arXiv 2401.09670 (DistServe), sections 3 and 4; 2311.18677 (Splitwise).
Idea: a prompt cannot hold up decodes that run elsewhere; the price is sending its cache across, and two pools to fill.
Symbols: handover_s = prompt tokens * bytes_per_token / link_bytes_per_s.
Simplified: one model replica a device, requests dealt out in turn; no search for the best numbers of each pool.
Differs: DistServe pulls caches when the decode side has room; here they are sent at once and wait there.
Cost: a copy of the cache for each request.
Checked against: one request's times by hand; with no decodes to hold up, both ways give the same first token.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

from reference_impls.serving import Job, Limits, Request, Scheduler, fcfs
from reference_impls.serving.cost import CostModel
from reference_impls.serving.serve import Record, Server
from reference_impls.serving.simulate import Simulated, simulate

MakeScheduler = Callable[[], Scheduler]
Item = TypeVar("Item")


@dataclass(frozen=True)
class Config:
    """How many devices do what, and what a token's cache costs to send."""

    prefill_devices: int = 1
    decode_devices: int = 1
    bytes_per_token: float = 131_072
    link_bytes_per_s: float = 50e9
    prefill_batch: int = 4
    decode_batch: int = 16

    def __post_init__(self) -> None:
        if min(self.prefill_devices, self.decode_devices, self.prefill_batch, self.decode_batch) < 1:
            raise ValueError(f"each pool needs a device and a slot, got {self}")
        if self.bytes_per_token < 0 or self.link_bytes_per_s <= 0:
            raise ValueError(f"bytes_per_token must be 0 or more and link_bytes_per_s above 0, got {self}")

    def handover_s(self, tokens: int) -> float:
        """Seconds until the cache of so many tokens has arrived."""
        return tokens * self.bytes_per_token / self.link_bytes_per_s


def dealt(items: Iterable[Item], hands: int) -> list[list[Item]]:
    """In turn, as a front end without knowledge does."""
    found = list(items)
    return [found[hand::hands] for hand in range(hands)]


def together(requests: Iterable[Request], cost: CostModel, limits: Limits, devices: int) -> Record:
    """The baseline: every device prefills and decodes its share."""
    return merged([simulate(share, fcfs.Scheduler(), cost, limits) for share in dealt(requests, devices)])


def apart(requests: Iterable[Request], cost: CostModel, config: Config, make: MakeScheduler = fcfs.Scheduler) -> Record:
    """Prompts on the devices of one pool, everything after the first token on those of the other."""
    requests = list(requests)
    first = [Request(one.id, one.arrival_s, one.prompt, 1) for one in requests]
    limits = Limits(config.prefill_batch)
    prefilled = merged([simulate(share, make(), cost, limits) for share in dealt(first, config.prefill_devices)])
    wanted = {one.id: one for one in requests}
    arriving = []
    for job in prefilled.jobs:
        at = (job.finished_s or 0.0) + config.handover_s(job.prompt)
        one = wanted[job.id]
        sent = Job(job.id, at, one.prompt, one.output, cached=one.prompt, generated=1, last_token_s=job.last_token_s)
        sent.first_token_s = job.first_token_s
        arriving.append(sent)
    done = [job for job in arriving if job.output == 1]
    going_on = sorted((job for job in arriving if job.output > 1), key=lambda job: job.arrival_s)
    record = merged(
        [
            Server(make(), Limits(config.decode_batch), Simulated(cost)).serve_jobs(share)
            for share in dealt(going_on, config.decode_devices)
        ]
    )
    for job in done:
        job.finished_s = job.first_token_s
    record.jobs += done
    for job in record.jobs:
        job.arrival_s = wanted[job.id].arrival_s
    record.end_s = max(record.end_s, prefilled.end_s)
    return record


def merged(records: list[Record]) -> Record:
    """What several devices did, as one."""
    whole = Record()
    for one in records:
        whole.jobs += one.jobs
        whole.refused += one.refused
        whole.gaps += one.gaps
        whole.iterations += one.iterations
        whole.token_steps += one.token_steps
        whole.end_s = max(whole.end_s, one.end_s)
    return whole
