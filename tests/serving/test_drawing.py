"""The timeline beside the page is what the simulation gives."""

from itertools import pairwise

from scripts.draw_schedule import TARGET, draw, policies, spans


def test_the_drawing_is_the_simulation():
    assert TARGET.read_text("utf-8") == draw(), "run python -m scripts.draw_schedule"


def test_the_drawing_shows_what_the_page_says():
    """Short requests get ahead, a long one ends later,"""
    (first, first_ends), (queue, queue_ends) = (spans(scheduler) for scheduler in policies().values())
    assert all(queue_ends[n] < first_ends[n] for n in (2, 3, 5))
    assert queue_ends[0] > first_ends[0]
    assert all(one[1] == other[0] for one, other in pairwise(first[0]))  # never paused
    assert any(one[1] < other[0] for one, other in pairwise(queue[0]))
