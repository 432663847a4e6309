"""An event-driven simulation of a server: the cost model in the place of the device.

Paper: arXiv 2405.05465 (Vidur: simulating an inference server from profiled iterations); 2305.05920 (FastServe).
Idea: between two events (an arrival, an end, a used-up quantum, a finished copy) the batch stays the same, and the time
    of k iterations of it has a closed form, so they are one step.
Symbols: n = members, all decoding, kv = cached tokens read in the first, beyond_n = what n decoders take beyond
    the line of `cost.CostModel`; T_k = k (a + c n + beyond_n + d kv) + d n k (k - 1) / 2.
Simplified: the scheduler's own time is not charged; copies do not slow iterations down.
Differs: Vidur predicts each operator; here a line of six coefficients, and what so many decoders take beyond it, stand
    for the whole iteration.
Cost: some microseconds a member and decision, whatever the number of iterations between decisions.
Checked against: the same run one iteration at a time; hand-worked traces; a real engine on the same trace.
"""

from collections.abc import Iterable
from math import ceil, inf, isinf, sqrt

from reference_impls.serving import Batch, Job, Limits, Request, Scheduler
from reference_impls.serving.cost import CostModel
from reference_impls.serving.kv_swap import Space
from reference_impls.serving.serve import Observer, Record, Server


class Simulated:
    """The device. leaps: whether iterations between events are one step."""

    def __init__(self, cost: CostModel, *, leaps: bool = True) -> None:
        self.cost, self.leaps = cost, leaps
        self.prefill_s = cost.prefill_s

    def begin(self) -> None:
        """Deciding takes no time here."""

    def refuses(self, job: Job) -> str:  # noqa: ARG002 the face has it
        """Nothing."""
        return ""

    def recall(self, job: Job) -> None:
        """Nothing is known beforehand."""

    def finish(self, job: Job) -> None:
        """Nothing is held here."""

    def run(self, batch: Batch, most: int, until_s: float) -> tuple[int, float, float]:
        """As many iterations as fit; see `Executor.run`."""
        first = self.cost.seconds(batch.prefill_tokens, batch.decoders, batch.kv_tokens, batch.pairs, batch.passes)
        if not self.leaps or most == 1 or until_s <= first:
            return 1, first, first
        rise = self.cost.d * len(batch.jobs)
        count = most if isinf(until_s) else min(most, iterations_until(first, rise, until_s))
        return count, first, span(first, rise, count)


def span(first: float, rise: float, count: int) -> float:
    """T_k: seconds of so many iterations, each longer than the one before by `rise`."""
    return count * first + rise * count * (count - 1) / 2


def iterations_until(first: float, rise: float, until_s: float) -> int:
    """The smallest k with T_k >= until_s."""
    if rise == 0:
        count = ceil(until_s / first)
    else:
        half = first - rise / 2
        count = ceil((sqrt(half * half + 2 * rise * until_s) - half) / rise)
    count = max(count, 1)
    while count > 1 and span(first, rise, count - 1) >= until_s:  # rounding, at most once or twice
        count -= 1
    while span(first, rise, count) < until_s:
        count += 1
    return count


def simulate(
    requests: Iterable[Request],
    scheduler: Scheduler,
    cost: CostModel = CostModel(),  # noqa: B008 frozen
    limits: Limits = Limits(),  # noqa: B008
    space: Space | None = None,
    *,
    leaps: bool = True,
    observer: Observer | None = None,
) -> Record:
    """Serve a trace by a policy, in no time."""
    return Server(scheduler, limits, Simulated(cost, leaps=leaps), space, observer).serve(requests)


def capacity(requests: Iterable[Request], cost: CostModel, limits: Limits) -> float:
    """Requests a second that a server can finish at most if every slot is always taken: the rate of load 1.

    A mean request brings its prompt once, and decodes beside `limits.batch` - 1 others.
    """
    requests = list(requests)
    prompt = sum(one.prompt for one in requests) / len(requests)
    output = sum(one.output for one in requests) / len(requests)
    context = sum((one.prompt + one.output / 2) * one.output for one in requests) / sum(one.output for one in requests)
    iteration = cost.seconds(0, limits.batch, context * limits.batch)
    pairs = sum(one.prompt**2 for one in requests) / (2 * len(requests))
    seconds = cost.b * prompt + cost.e * pairs + cost.f + output * iteration / limits.batch
    return 1 / seconds if seconds > 0 else inf
