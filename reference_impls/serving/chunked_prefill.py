"""How an iteration is put together: whole prompts or pieces of them, beside decodes or apart.

Paper: arXiv 2403.02310 (Sarathi-Serve), section 4; 2308.16369 (SARATHI); mixed iterations are Orca's.
Idea: a prompt passed in pieces of bounded size cannot hold up the decodes that share its iterations for long, and the
    decodes ride along while its weights are read anyway.
Symbols: nothing.
Simplified: the size of a piece is given, not searched for from a latency target.
Differs: Sarathi fills up running decodes first; here jobs are taken in the policy's order, which is the same under
    first come, first served, where whatever decodes is older than whatever waits.
Cost: each piece reads the keys and values of all before it: tokens**2 / (2 * chunk) instead of none.
Checked against: the limits of every iteration; chunked output equals whole output with a real model.
"""

from collections.abc import Callable, Iterable
from itertools import chain, islice

from reference_impls.serving import Batch, Job, Limits

Claim = Callable[[Job, int], bool]
"""(job, tokens) -> whether its cache lies on the device with room for so many more."""


def share_of(job: Job, limits: Limits, room: int, is_first: bool) -> int:
    """Tokens that the job may pass in this iteration; 0 where its whole prompt does not fit.

    A whole prompt that no iteration could hold runs as an iteration's first, or it would never run.
    """
    pending = job.pending
    if limits.chunk is None:
        return pending if pending <= room or is_first else 0
    return min(pending, limits.chunk, room)


def compose(
    ordered: Iterable[Job],
    limits: Limits,
    claim: Claim | None = None,
    recall: Callable[[Job], None] | None = None,
) -> Batch:
    """Take jobs in their order until the batch is full or no token is left; pass over whose cache has no room.

    recall: called for each job that holds no memory just before its turn, to say how much of it is known.
    """
    rest = iter(ordered)
    first = list(islice(rest, limits.batch))
    if claim is None and len(first) <= limits.tokens:  # most iterations are of decodes alone; this is `is_decode`
        decodes = [job.generated and job.prompt + job.generated - job.cached == 1 for job in first]
        if False not in decodes:
            return Batch(first, [1] * len(first), 0, len(first), sum([job.cached for job in first]))
    jobs: list[Job] = []
    shares: list[int] = []
    room, most, passed_over, decoders = limits.tokens, limits.batch, 0, 0
    for job in chain(first, rest):
        if recall is not None and job.place == "nowhere":
            recall(job)
        pending = job.prompt + job.generated - job.cached
        share = 1 if pending == 1 else share_of(job, limits, room, not jobs)
        if share == 0 or (claim is not None and not claim(job, share)):
            passed_over += 1
            if passed_over > most:
                break
            continue
        jobs.append(job)
        shares.append(share)
        if pending == 1 and job.generated:
            decoders += 1
        room -= share
        if room <= 0 or len(jobs) == most:
            break
    if limits.mixing == "separate" and 0 < decoders < len(jobs):
        return prompts_alone(jobs, shares)
    return counted(Batch(jobs, shares, decoders=decoders))


def prompts_alone(jobs: list[Job], shares: list[int]) -> Batch:
    """The decodes among them are held for one iteration."""
    rows = [(job, share) for job, share in zip(jobs, shares, strict=True) if not is_decode(job)]
    held = [job for job in jobs if is_decode(job)]
    return counted(Batch([job for job, _ in rows], [share for _, share in rows], held=held))


def is_decode(job: Job) -> bool:
    """Whether the job's next iteration passes the token it has made last, and nothing else."""
    return job.generated > 0 and job.pending == 1


def counted(batch: Batch) -> Batch:
    """Fill in what the cost model asks for beside the number of decodes."""
    batch.kv_tokens = sum([job.cached for job in batch.jobs])
    if batch.decoders == len(batch.jobs):
        return batch
    batch.prefill_tokens = sum(batch.tokens) - batch.decoders
    batch.passes = sum([tokens > 1 for tokens in batch.tokens]) + (1 in batch.tokens)
    for job, tokens in zip(batch.jobs, batch.tokens, strict=True):
        if not is_decode(job):
            batch.pairs += tokens * job.cached + tokens * (tokens + 1) // 2
    return batch
