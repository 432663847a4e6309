"""Helpers of these tests: costs whose sums are exact in binary, so that two ways to add them agree exactly."""

import pytest
from hypothesis import strategies as st

from reference_impls.serving import Request
from reference_impls.serving.cost import CostModel
from tests.models.conftest import one_thread  # noqa: F401

EXACT = CostModel(a=1 / 64, b=1 / 4096, c=1 / 1024, d=2.0**-20)
UNIT = CostModel(a=1.0, b=0.0, c=0.0, d=0.0)


@pytest.fixture
def exact() -> CostModel:
    return EXACT


def rounds(server, jobs):
    """Submit each job when it has arrived, and yield every batch, until all is done."""
    waiting = sorted(jobs, key=lambda job: job.arrival_s, reverse=True)
    while waiting or server.live:
        while waiting and waiting[-1].arrival_s <= server.state.now:
            server.submit(waiting.pop())
        if server.live:
            yield server.step(waiting[-1].arrival_s if waiting else float("inf"))
        else:
            server.state.now = waiting[-1].arrival_s


@st.composite
def traces(draw, most=24, longest=40, step=1 / 32):
    """Requests whose arrivals lie on a grid that floats hold exactly."""
    rows = draw(
        st.lists(
            st.tuples(st.integers(0, 80), st.integers(1, longest), st.integers(1, longest)), min_size=1, max_size=most
        )
    )
    rows.sort()
    return [Request(n, at * step, prompt, output) for n, (at, prompt, output) in enumerate(rows)]
