"""A small serving engine: continuous batching of a real decoder over a paged cache, under any policy of this family.

Paper: "Orca: A Distributed Serving System for Transformer-Based Generative Models", section 3; arXiv 2309.06180 (vLLM),
    section 4.5; 2305.05920 (FastServe), section 4.2.
Idea: an iteration takes decodes, whole prompts and pieces of prompts together, rows differ in length,
    and caches of paused requests move between device and host as the policy's `kv_swap.Space` says.
Symbols: nothing.
Simplified: greedy decoding; within an iteration all decodes are one pass of the model and each prompt another, where
    Orca packs both into one (its selective batching); the clock stands still between requests.
Differs: nothing.
Cost: the weights are read once for the decodes of an iteration and once for each prompt in it; a swap is one copy.
Checked against: each request's tokens are those that it gets alone, whatever was batched, chunked, swapped or dropped.
"""

from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from reference_impls.attention.paged_decode import in_place
from reference_impls.kv_cache import blocks
from reference_impls.kv_cache.paged import PagedPool, Sequence
from reference_impls.kv_cache.prefix import PrefixTree
from reference_impls.kv_cache.shape import shape_of
from reference_impls.models.decoder import Decoder
from reference_impls.serving import Batch, Job, Limits, Request, Scheduler
from reference_impls.serving.cost import CostModel, Iteration
from reference_impls.serving.kv_swap import Config as SpaceConfig
from reference_impls.serving.kv_swap import Space
from reference_impls.serving.serve import Record, Server


@dataclass(frozen=True)
class Config:
    """Memory in blocks, what happens when it runs short, and what an iteration may hold.

    stop_token: ends an answer early; reuse: blocks that requests leave stay known, to others that begin alike, until
    somebody needs the memory; side_stream: on CUDA, copy caches on a stream of their own, so that iterations go on.
    """

    space: SpaceConfig
    limits: Limits = field(default_factory=Limits)
    stop_token: int | None = None
    reuse: bool = False
    side_stream: bool = True


class Engine:
    """The executor over a real model, and who moves its caches. `serve` runs a trace; `answers` holds the tokens.

    prompts: request id -> (seq,) tokens; clock: seconds, such as time.perf_counter; profile: predicts prefill times, as
    a fitted cost model or as a function of the prompt's length such as `cost.profiled` makes
    """

    def __init__(
        self,
        model: Decoder,
        prompts: Mapping[int, Tensor],
        scheduler: Scheduler,
        config: Config,
        clock: Callable[[], float],
        profile: CostModel | Callable[[int], float] = CostModel(),  # noqa: B008 frozen
    ) -> None:
        self.model, self.config, self.clock = model, config, clock
        self.device = model.embedding.weight.device
        space = replace(config.space, host_blocks=min(config.space.host_blocks, 1 << 16))
        on_host = 0 if space.swap == "recompute" else space.host_blocks
        memory = blocks.Config(space.tokens_per_block, space.device_blocks, on_host)
        self.pool = PagedPool(shape_of(model), memory)
        self.tree = PrefixTree(self.pool.manager) if config.reuse else None
        self.tokens = {number: prompt.tolist() for number, prompt in prompts.items()}
        self.prompts = {number: len(prompt) for number, prompt in prompts.items()}
        self.sequences: dict[int, Sequence] = {}
        self.measured: list[Iteration] = []
        self.reused_tokens = 0
        self.prefill_s = profile.prefill_s if isinstance(profile, CostModel) else profile
        self.stream: Any = None
        if config.side_stream and self.device.type == "cuda" and space.swap == "proactive":
            self.stream = torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]
        self.server = Server(scheduler, config.limits, self, Space(space, mover=self))
        self._began_s = 0.0

    @property
    def answers(self) -> dict[int, list[int]]:
        """Tokens made for each request so far."""
        return {number: tokens[self.prompts[number] :] for number, tokens in self.tokens.items()}

    def serve(self, requests: Iterable[Request]) -> Record:
        """Run a trace to its end. `prompt` of a request is the length of its tokens."""
        return self.server.serve(requests)

    # The executor.

    def begin(self) -> None:
        """From here on the clock runs: deciding is part of an iteration."""
        self._began_s = self.clock()

    def refuses(self, job: Job) -> str:
        """What has no prompt, or would grow beyond the model's positions; the last token is never passed through it."""
        there, most = self.prompts.get(job.id), self.model.config.max_positions
        if there != job.prompt:
            return f"has {there or 'no'} tokens of prompt, where its line says {job.prompt}"
        positions = job.prompt + job.output - 1
        return f"needs {positions} positions, the model has {most}" if positions > most else ""

    def recall(self, job: Job) -> None:
        """Look how much of its beginning is known, and hold nothing of it: it may be gone when the job can run."""
        if self.tree is not None:
            found = self.tree.start(self.tokens[job.id])
            job.cached = found.length
            self.pool.free(found)

    def run(self, batch: Batch, most: int, until_s: float) -> tuple[int, float, float]:  # noqa: ARG002 the face has them
        """One pass over the batch."""
        chosen = self._pass(batch)
        for job, tokens, token in zip(batch.jobs, batch.tokens, chosen, strict=True):
            if tokens < job.pending:
                continue  # a piece of a prompt that goes on
            self.tokens[job.id].append(token)
            if token == self.config.stop_token:
                job.output = job.generated + 1
        seconds = self.clock() - self._began_s
        self.measured.append(_measured(batch, seconds))
        return 1, seconds, seconds

    @torch.no_grad()
    def _pass(self, batch: Batch) -> list[int]:
        """-> the most likely next token of each row: all decodes in one pass of the model, each prompt in its own."""
        chosen = [0] * len(batch.jobs)
        short = [row for row, tokens in enumerate(batch.tokens) if tokens == 1]
        alone = [[row] for row, tokens in enumerate(batch.tokens) if tokens > 1]
        for rows in [short, *alone] if short else alone:
            found = self._rows([batch.jobs[row] for row in rows], batch.tokens[rows[0]])
            for row, token in zip(rows, found, strict=True):
                chosen[row] = token
        return chosen

    def _rows(self, jobs: list[Job], new: int) -> list[int]:
        """One pass over jobs that each take `new` tokens."""
        rows = torch.tensor([self.tokens[job.id][job.cached : job.cached + new] for job in jobs], device=self.device)
        cache = self.pool.batch([self.sequences[job.id] for job in jobs])
        with in_place(self.model, cache) if new == 1 else nullcontext():
            states = self.model.hidden_states(rows, cache, *cache.inputs(new))
        found: list[int] = self.model.head(states[:, -1]).argmax(-1).tolist()
        return found

    def finish(self, job: Job) -> None:
        """Keep what others may begin with."""

    # The mover.

    def start(self, job: Job) -> None:
        """Take the known blocks that `recall` has counted; others may have become known since."""
        counted = self.tokens[job.id][: job.cached + 1]
        found = self.pool.new_sequence() if self.tree is None else self.tree.start(counted)
        self.sequences[job.id] = found
        self.reused_tokens += found.length

    def save(self, job: Job) -> None:
        """Copy its cache to the host."""
        self.pool.swap_out(self.sequences[job.id], self.stream)

    def free_device(self, job: Job) -> None:
        """Nothing to do: the pool's next pass waits for copies before it writes."""

    def restore(self, job: Job) -> None:
        """Copy its cache back."""
        self.pool.swap_in(self.sequences[job.id], self.stream)

    def drop(self, job: Job) -> None:
        """Give its blocks back, wherever they lie; those on the device may stay known while nobody needs them."""
        sequence = self.sequences.pop(job.id, None)
        if sequence is None:
            return
        if self.tree is not None and sequence.place == "device":
            self.tree.keep(self.tokens[job.id][: sequence.length], sequence)
        self.pool.free(sequence)


def _measured(batch: Batch, seconds: float) -> Iteration:
    return Iteration(
        batch.prefill_tokens, batch.decoders, batch.kv_tokens, seconds, pairs=batch.pairs, passes=batch.passes
    )
