"""Where the caches of preempted jobs lie: kept, moved to the host and back, or dropped and computed again.

Paper: arXiv 2305.05920 (FastServe), section 4.2, and its released code; 2309.06180 (vLLM), section 4.5, for the two
    reactive ways.
Idea: while an iteration runs, copy out what will not be needed soon and copy in what will, so that nobody waits.
Symbols: nothing.
Simplified: counts of blocks, not their numbers, so a block that several jobs share counts for each of them; one copy a
    direction at a time, both directions at full speed.
Differs: where even the host is full, a cache is dropped and computed again, which neither source describes.
Cost: a sort of the jobs on the device whenever blocks run short.
Checked against: blocks conserved in every tier after any sequence of operations.
"""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from reference_impls.serving import Job
from reference_impls.serving.kv_movement import Copy, Counts, Mover

Key = Callable[[Job], tuple[float, ...]]
"""When a job will run again; the largest gives way first."""


@dataclass(frozen=True)
class Config:
    """Blocks of each tier and what happens when the device's run short.

    reserve_blocks: kept free on the device, where copies run ahead; host_floor: share of the host's blocks below which
    new prompts are refused; bytes_per_block / link_bytes_per_s: what a copy takes, in each direction.
    """

    device_blocks: int
    host_blocks: int = 1 << 30
    tokens_per_block: int = 16
    swap: Literal["proactive", "reactive", "recompute"] = "proactive"
    reserve_blocks: int = 16
    host_floor: float = 0.1
    bytes_per_block: float = 0.0
    link_bytes_per_s: float = 1.0

    def __post_init__(self) -> None:
        if self.device_blocks < 1 or self.host_blocks < 0 or self.tokens_per_block < 1:
            raise ValueError(f"device_blocks and tokens_per_block must be at least 1, got {self}")
        if self.swap not in ("proactive", "reactive", "recompute"):
            raise ValueError(f"swap must be proactive, reactive or recompute, got {self.swap!r}")
        if self.reserve_blocks < 0 or self.bytes_per_block < 0 or self.link_bytes_per_s <= 0:
            raise ValueError(f"reserve and bytes must be 0 or more and link_bytes_per_s must be above 0, got {self}")
        if not 0 <= self.host_floor <= 1:
            raise ValueError(f"host_floor must be a share from 0 to 1, got {self.host_floor}")

    def blocks_for(self, tokens: int) -> int:
        """Blocks that hold so many tokens."""
        return -(-tokens // self.tokens_per_block)


class Space:
    """The blocks of both tiers. `begin` a round, `claim` for each job that shall run, then `look_ahead`."""

    def __init__(self, config: Config, mover: Mover | None = None) -> None:
        self.config, self.mover = config, mover
        self.free, self.host_free = config.device_blocks, config.host_blocks
        self.resident: dict[int, Job] = {}
        self.on_host: dict[int, Job] = {}
        self.leaving: deque[Copy] = deque()
        self.coming: deque[Copy] = deque()
        self.claimed: set[int] = set()
        self.wanted: set[int] = set()
        self.fresh: set[int] = set()  # brought back and not run since: they stay, or two could chase each other out
        self.again: dict[int, int] = {}  # dropped, and no token made since: they stay, or no answer might ever end
        self.forced = False
        """Nothing can run and no copy is on its way: until one can, prompts may enter, and whoever is asked about first
        may send away anybody."""
        self.owed = 0  # blocks on their way to jobs of higher priority in this round
        self.counts = Counts()
        self.debt_s = 0.0
        self.now = 0.0
        self._evicted = False

    def begin(self, now: float) -> None:
        """A new round: finish the copies that are done by now."""
        self.now, self._evicted = now, False
        self.claimed.clear()
        self.wanted.clear()
        self.owed = 0
        while self.leaving and self.leaving[0].done_s <= now:
            self._has_left(self.leaving.popleft())
        while self.coming and self.coming[0].done_s <= now:
            self._has_come(self.coming.popleft())

    def _has_left(self, copy: Copy) -> None:
        self.free += copy.blocks
        if copy.job.place != "leaving":  # ended meanwhile: nobody wants the copy
            self.host_free += copy.blocks
            return
        copy.job.place = "host"
        self.on_host[copy.job.id] = copy.job
        if self.mover:
            self.mover.free_device(copy.job)

    def _has_come(self, copy: Copy) -> None:
        self.host_free += copy.blocks
        if copy.job.place != "coming":
            self.free += copy.blocks
            return
        copy.job.place = "device"
        self.resident[copy.job.id] = copy.job
        self.fresh.add(copy.job.id)

    def claim(self, job: Job, tokens: int, key: Key) -> bool:
        """Whether the job may pass so many tokens now. Takes the blocks, and makes others give way where it must."""
        self.wanted.add(job.id)
        if job.place in ("leaving", "coming"):
            return False
        if job.place == "nowhere" and self._refuses_prompts():
            return False
        needed = self.config.blocks_for(job.cached + tokens)
        if job.place == "host":
            return self._bring_back(job, needed, key)
        if not self._has_room(needed - job.blocks, job, key):
            return False
        if self.mover and job.place == "nowhere":
            self.mover.start(job)
        self._take(job, needed - job.blocks)
        self.claimed.add(job.id)
        self.forced = False
        self.fresh.discard(job.id)
        return True

    def _has_room(self, blocks: int, job: Job, key: Key) -> bool:
        """Whether so many blocks are free now; where copies will free them, nobody lower gets them first."""
        if blocks <= 0 or blocks <= self.free - self.owed:
            return True
        if self.owed or not self._can_make_room(blocks, job, key):
            return False
        if blocks <= self.free:
            return True
        self.owed = blocks
        return False

    def _refuses_prompts(self) -> bool:
        c = self.config
        low = c.swap == "proactive" and c.host_blocks and self.host_free < c.host_floor * c.host_blocks
        return bool(low and not self.forced and (self.resident or self.on_host or self.coming))

    def _take(self, job: Job, more: int) -> None:
        self.free -= max(more, 0)
        job.blocks += max(more, 0)
        job.place = "device"
        self.resident[job.id] = job
        used = self.config.device_blocks - self.free + self.config.host_blocks - self.host_free
        self.counts.peak_blocks = max(self.counts.peak_blocks, used)

    def _can_make_room(self, blocks: int, job: Job, key: Key) -> bool:
        """Let jobs give way that are needed later, if that is enough."""
        own = key(job)
        kept = self.claimed if self.forced else self.claimed | self.fresh | self.again.keys()
        others = [one for one in self.resident.values() if one.id not in kept and one is not job]
        later = others if self.forced else [one for one in others if key(one) > own]
        later.sort(key=key, reverse=True)
        short = blocks - self.free - sum(copy.blocks for copy in self.leaving)
        if short > sum(one.blocks for one in later):
            return False
        for one in later:
            if short <= 0:
                break
            short -= one.blocks
            self._evict(one)
        return True

    def _evict(self, job: Job) -> None:
        del self.resident[job.id]
        self.fresh.discard(job.id)
        self._evicted = True
        if self.config.swap == "recompute" or self.host_free < job.blocks:
            self._drop(job)
            return
        self.host_free -= job.blocks
        self.counts.blocks_out += job.blocks
        job.place = "leaving"
        if self.mover:
            self.mover.save(job)
        copy = self._copy(job, self.leaving)
        if self.config.swap == "reactive":
            self._block(copy.done_s - self.now)
            self._has_left(copy)
        else:
            self.leaving.append(copy)

    def _copy(self, job: Job, line: deque[Copy]) -> Copy:
        """A copy that begins when the one before it in its direction is done."""
        seconds = job.blocks * self.config.bytes_per_block / self.config.link_bytes_per_s
        return Copy(max(self.now, line[-1].done_s if line else 0.0) + seconds, job, job.blocks)

    def _drop(self, job: Job) -> None:
        self.counts.drops += 1
        self.counts.dropped_tokens += job.cached
        self.free += job.blocks
        self.again[job.id] = job.generated
        job.blocks, job.cached, job.place = 0, 0, "nowhere"
        if self.mover:
            self.mover.drop(job)

    def _bring_back(self, job: Job, needed: int, key: Key) -> bool:
        """Begin to copy in; only where copies block can the job run at once."""
        blocks = needed if self.config.swap == "reactive" else job.blocks
        if not self._has_room(blocks, job, key):
            return False
        copy = self._start_back(job)
        if self.config.swap != "reactive":
            self.coming.append(copy)
            return False
        self._block(copy.done_s - self.now)
        self._has_come(copy)
        self._take(job, blocks - job.blocks)
        self.claimed.add(job.id)
        self.forced = False
        self.fresh.discard(job.id)
        return True

    def _start_back(self, job: Job) -> Copy:
        del self.on_host[job.id]
        self.free -= job.blocks
        self.counts.blocks_in += job.blocks
        job.place = "coming"
        if self.mover:
            self.mover.restore(job)
        return self._copy(job, self.coming)

    def _block(self, seconds: float) -> None:
        self.debt_s += seconds
        self.counts.blocked_s += seconds

    def look_ahead(self, key: Key) -> None:
        """After the batch is chosen: keep the reserve free, and where nothing had to leave, fetch what comes next."""
        if self.config.swap != "proactive":
            return
        idle = [job for job in self.resident.values() if job.id not in self.wanted | self.fresh]
        short = self.config.reserve_blocks - self.free - sum(copy.blocks for copy in self.leaving)
        for job in sorted(idle, key=key, reverse=True) if short > 0 else ():
            if short <= 0 or self.host_free < job.blocks:
                break
            short -= job.blocks
            self._evict(job)
        if not self._evicted and self.on_host:
            self._fetch(key)

    def _fetch(self, key: Key) -> None:
        for job in sorted(self.on_host.values(), key=key):
            if self.free - self.owed - job.blocks < self.config.reserve_blocks:
                break
            self.coming.append(self._start_back(job))

    def release(self, job: Job) -> None:
        """The job has ended or was cancelled: all that it held is free, but for what a copy still reads."""
        if job.place == "device":
            self.free += job.blocks
        elif job.place == "host":
            self.host_free += job.blocks
        self.fresh.discard(job.id)
        self.again.pop(job.id, None)
        self.resident.pop(job.id, None)
        self.on_host.pop(job.id, None)
        job.blocks, job.place = 0, "nowhere"
        if self.mover:
            self.mover.drop(job)

    def next_copy_s(self) -> float:
        """When the next copy is done."""
        ends = [line[0].done_s for line in (self.leaving, self.coming) if line]
        return min(ends, default=float("inf"))

    def iterations(self, jobs: Iterable[Job], most: int) -> int:
        """How many iterations the jobs can decode on before blocks or the reserve run short, at least 1."""
        is_pressed = self._evicted or self.on_host or self.coming or len(self.wanted) > len(self.claimed)
        if self.config.swap == "proactive" and is_pressed:  # the next round may move something
            return 1
        jobs = list(jobs)
        spare = self.free - (self.config.reserve_blocks if self.config.swap == "proactive" else 0)

        def needs(k: int) -> int:
            return sum(max(self.config.blocks_for(job.cached + k) - job.blocks, 0) for job in jobs)

        low, high = 1, most
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if needs(middle) <= spare else (low, middle - 1)
        return low

    def grow(self, job: Job) -> None:
        """Take the blocks that tokens made since the claim have filled."""
        if job.generated > self.again.get(job.id, job.generated):
            del self.again[job.id]
        self._take(job, self.config.blocks_for(job.cached) - job.blocks)
