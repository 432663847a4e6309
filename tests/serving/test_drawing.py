"""The timeline beside the page is drawn from the recorded run beside it, and the recorder notes what the engine ran."""

from itertools import pairwise

import pytest

from reference_impls.serving import Limits, Request
from reference_impls.serving.cost import CostModel
from scripts.draw_schedule import SOURCE, TARGET, TITLES, draw, load, per_token_s, source_of, spans, written

AGAIN = "run python -m scripts.draw_schedule"


@pytest.fixture(scope="module")
def recorded():
    return load()


def test_the_drawing_is_the_recorded_run(recorded):
    assert TARGET.read_text("utf-8") == draw(recorded), AGAIN
    assert SOURCE.read_text("utf-8") == written(recorded)


def test_another_run_makes_another_drawing(recorded):
    """Negative control: one iteration that ended later."""
    start, end, members = recorded["runs"]["fcfs"][-1]
    other = recorded | {
        "runs": recorded["runs"] | {"fcfs": [*recorded["runs"]["fcfs"][:-1], [start, end + 1, members]]}
    }
    assert draw(other) != draw(recorded)


def test_the_page_says_which_run_it_is(recorded):
    page = TARGET.with_name("scheduling.md").read_text("utf-8")
    caption = next(line for line in page.splitlines() if f"]({TARGET.name})" in line)
    assert source_of(recorded) in caption, "the caption names another run"
    assert {"commit", "dirty"} <= recorded["code"].keys()
    assert not recorded["code"]["dirty"]
    assert {"cpu", "cores", "python", "torch"} <= recorded["machine"].keys()


@pytest.mark.parametrize("policy", TITLES)
def test_the_file_holds_a_whole_run(recorded, policy):
    """Every token passed once, by no more at a time than there are slots, and never before its request has come."""
    iterations = recorded["runs"][policy]
    assert all(start < end for start, end, _ in iterations)
    assert all(one[1] <= other[0] for one, other in pairwise(iterations))
    assert all(1 <= len(members) <= recorded["workload"]["batch"] for _, _, members in iterations)
    for one in recorded["requests"]:
        own = [(start, dict(members)[one["id"]]) for start, _, members in iterations if one["id"] in dict(members)]
        assert sum(tokens for _, tokens in own) == one["prompt"] + one["output"] - 1
        assert own[0][0] >= one["arrival_s"]


def test_the_drawing_shows_what_the_page_says(recorded):
    """Whoever runs is never paused in order of arrival; by the queue long answers are, and short ones end sooner."""
    first, queue = (spans(recorded, policy) for policy in ("fcfs", "fastserve"))
    assert all(one[1] == other[0] for own in first.values() for one, other in pairwise(own))
    assert any(one[1] < other[0] for one, other in pairwise(queue[0]))
    assert per_token_s(recorded, queue) < per_token_s(recorded, first)
    assert all(queue[n][-1][1] > first[n][-1][1] for n in (0, 1))  # A and B
    assert all(queue[n][-1][1] < first[n][-1][1] for n in range(3, 10))
    assert queue[5][0][0] < queue[4][0][0]  # F, which came later, before E, whose prompt is long


def test_spans_by_hand():
    """A prompt in two pieces, then two tokens without a pause, and one after a pause."""
    recorded = {
        "requests": [{"id": 0, "prompt": 5, "output": 4, "arrival_s": 0.0}],
        "runs": {"fcfs": [[0, 1, [[0, 3]]], [1, 2, [[0, 2]]], [2, 3, [[0, 1]]], [3, 5, [[0, 1]]], [6, 7, [[0, 1]]]]},
    }
    ran = spans(recorded, "fcfs")
    assert ran == {0: [(0, 2, True), (2, 5, False), (6, 7, False)]}
    assert per_token_s(recorded, ran) == 7 / 4


@pytest.mark.parametrize("policy", TITLES)
def test_the_recorder_notes_every_iteration_of_the_engine(policy):
    from scripts.record_schedule import SETUP, iterations

    requests = [Request(n, 0.001 * n, 6 + n, 3 + n) for n in range(4)]
    found = iterations(SETUP, requests, policy, CostModel(a=0.005, b=0.0001, c=0.0005))
    assert SETUP.limits == Limits(2)
    for one in requests:
        passed = [tokens for _, _, members in found for number, tokens in members if number == one.id]
        assert passed == [one.prompt] + [1] * (one.output - 1)
    assert all(one[1] <= other[0] for one, other in pairwise(found))
