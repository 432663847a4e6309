"""The closed vocabularies: sorted, unique, and each word meaning one thing."""

from typing import get_args

import pytest

from scripts.catalogue import vocabulary
from scripts.catalogue.venues import VENUES, canonical_venue
from scripts.catalogue.vocabulary import AREAS, METRICS, RESOURCE_MEANING, RESOURCES, SEEN_MEANING
from tests.builders import REPOSITORY

LITERALS = {
    name: get_args(getattr(vocabulary, name))
    for name in ("Resource", "Cost", "Form", "Bound", "Seen", "Better", "Kind", "Level")
}
TABLES = LITERALS | {
    "METRICS": METRICS,
    "AREAS": AREAS,
    "VENUES": VENUES,
    "RESOURCE_MEANING": RESOURCE_MEANING,
    "SEEN_MEANING": SEEN_MEANING,
}
SPELLINGS = [(spelling, short) for short, venue in VENUES.items() for spelling in (short, venue.name, *venue.aliases)]


@pytest.mark.parametrize("words", TABLES.values(), ids=TABLES.keys())
def test_words_are_sorted_and_differ_in_more_than_case(words):
    folded = [word.casefold() for word in words]
    assert folded == sorted(folded) and len(set(folded)) == len(folded)


def test_every_resource_can_be_a_cost_and_has_a_meaning():
    assert set(RESOURCES) <= set(LITERALS["Cost"]) and set(RESOURCE_MEANING) == set(RESOURCES)
    assert set(SEEN_MEANING) == set(LITERALS["Seen"])


def test_areas_are_the_top_of_the_tree_of_techniques():
    places = [path for path in (REPOSITORY / "techniques").iterdir() if path.suffix != ".svg"]  # drawings are no areas
    assert set(AREAS) == {path.name.removesuffix(".md") for path in places}


def test_areas_differ_in_colour():
    assert sorted(area.hue for area in AREAS.values()) == [*range(1, len(AREAS) + 1)]


@pytest.mark.parametrize(("spelling", "short"), SPELLINGS)
def test_every_spelling_of_a_venue_leads_to_it_and_to_no_other(spelling, short):
    assert canonical_venue(spelling) == short


@pytest.mark.parametrize(
    ("text", "short"),
    [
        ("Proceedings of the 40th International Conference on Machine Learning", "ICML"),
        ("{IEEE/CVF} Conference on Computer Vision and Pattern Recognition (2023)", "CVPR"),
        ("Advances in Neural Information Processing Systems 36", "NeurIPS"),
        ("proc. of the ACM SIGCOMM 2024 Conference", "SIGCOMM"),
        ("Advances in Neural Information Processing Systems 36 (NeurIPS 2023)", "NeurIPS"),
        ("Proceedings of the 29th Symposium on Foo, SOSP 2023, Koblenz, Germany, October 23-26, 2023", "SOSP"),
        ("Proceedings of the 29th Conference on Foo, Columbia, SC, USA", None),
        ("ICML 2023 Workshop on Foo", None),
        ("Workshop on Foo (ICML 2023)", None),
        ("International Conference on Machine Learning and Applications", None),
        ("", None),
        ("2024", None),
    ],
)
def test_venues_as_bibliographies_write_them(text, short):
    assert canonical_venue(text) == short


def test_every_metric_has_a_name_and_a_unit():
    assert [name for name, metric in METRICS.items() if not (metric.title.strip() and metric.unit.strip())] == []
