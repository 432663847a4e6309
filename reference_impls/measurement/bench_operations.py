"""Operations of this project whose latencies the bench of this family records: the noise of a real machine.

Each does the same work every time, so that whatever varies is the machine.
"""

import time
from collections.abc import Callable, Iterator
from functools import cache, partial

import torch
from torch.nn.functional import softmax

from reference_impls.measurement.superflow import timed
from reference_impls.models import tiny
from reference_impls.models.decoder import Decoder

Work = Callable[[], object]
CACHED = 64
WARM_UP = 20


class Recording:
    """One operation, run again and again after a warm-up; every latency is kept, in order."""

    def __init__(self, work: Work) -> None:
        self.latencies: list[float] = []
        self.source: Iterator[float] = timed(work, time.perf_counter)
        with torch.inference_mode():
            for _ in range(WARM_UP):
                work()

    def extend(self) -> float:
        """-> the next latency in seconds."""
        with torch.inference_mode():
            self.latencies.append(next(self.source))
        return self.latencies[-1]

    def first(self, runs: int) -> list[float]:
        """The first `runs` latencies, measured now where they were not yet."""
        while len(self.latencies) < runs:
            self.extend()
        return self.latencies[:runs]


@cache
def recording(operation: str) -> Recording:
    """The recording of an operation in this process; whoever asks gets the same one."""
    return Recording(OPERATIONS[operation]())


def _decode_step(load: Callable[[], Decoder]) -> Work:
    model, tokens = load(), tiny.heldout_tokens(CACHED + 1)
    cached = model.new_cache(1, CACHED + 8)
    with torch.inference_mode():
        model(tokens[None, :CACHED], cached)

    def step() -> None:
        model(tokens[None, CACHED:], cached)
        cached.crop(CACHED)

    return step


def _prefill(tokens: int) -> Work:
    model, ids = tiny.load_target(), tiny.heldout_tokens(tokens)[None]
    return lambda: model(ids, model.new_cache(1, tokens))


def _matmul(side: int) -> Work:
    matrix = torch.ones(side, side)
    return lambda: matrix @ matrix


def _softmax() -> Work:
    scores = torch.randn(64, 4096, generator=torch.Generator().manual_seed(0))
    return lambda: softmax(scores, -1)


def _sort() -> Work:
    values = torch.randn(65536, generator=torch.Generator().manual_seed(0))
    return lambda: values.sort()


def _tokenise() -> Work:
    tokenizer, text = tiny.load_tokenizer(), tiny.heldout_text()[:2000]
    return lambda: tokenizer.encode(text)


OPERATIONS: dict[str, Callable[[], Work]] = {
    "decode-draft": partial(_decode_step, tiny.load_draft),
    "decode-target": partial(_decode_step, tiny.load_target),
    "matmul-256": partial(_matmul, 256),
    "prefill-128": partial(_prefill, 128),
    "prefill-16": partial(_prefill, 16),
    "softmax-64x4096": _softmax,
    "sort-65536": _sort,
    "tokenise-2000": _tokenise,
}
"""Name -> what readies it."""
