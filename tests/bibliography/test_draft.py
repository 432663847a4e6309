"""From what a bibliography says to an entry, and to a key for it."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.bibliography.draft import Draft, make_key, to_paper
from scripts.catalogue.model import Author, Paper
from scripts.catalogue.text_rules import SLUG
from tests.builders import PAPER, PAPERS


def paper_of(**facts):
    return to_paper(Draft(line=1, **{"title": "T", "year": 2023, "techniques": ["systems"]} | facts))


@pytest.mark.parametrize(
    ("facts", "year", "printed"),
    [
        ({}, 2023, None),
        ({"venue": "ICML"}, 2023, 2023),
        ({"arxiv": "2210.17323", "venue": "ICLR"}, 2022, 2023),
        ({"arxiv": "2210.17323"}, 2022, None),
        ({"arxiv": "2210.17323", "year": None}, 2022, None),
        ({"arxiv": "2210.17323", "year": None, "venue": "ICLR"}, 2022, None),
        ({"arxiv": "2401.00001", "venue": "ICLR"}, 2023, 2023),
        ({"doi": "10.1145/1"}, 2023, 2023),
    ],
)
def test_the_year_is_the_first_and_the_publication_keeps_its_own(facts, year, printed):
    paper = paper_of(**facts)
    assert (paper.year, paper.published and paper.published.year) == (year, printed)


@pytest.mark.parametrize(
    ("facts", "arxiv", "doi"),
    [
        ({"arxiv": "arXiv:2210.17323v2"}, "2210.17323", None),
        ({"url": "https://arxiv.org/abs/2210.17323v1"}, "2210.17323", None),
        ({"url": "http://arxiv.org/pdf/2210.17323.pdf"}, "2210.17323", None),
        ({"venue": "arXiv preprint arXiv:2210.17323"}, "2210.17323", None),
        ({"doi": "10.48550/arXiv.2210.17323"}, "2210.17323", None),
        ({"doi": "https://doi.org/10.1145/3624743"}, None, "10.1145/3624743"),
        ({"doi": "doi: 10.1145/3624743"}, None, "10.1145/3624743"),
    ],
)
def test_identifiers_are_found_where_bibliographies_hide_them(facts, arxiv, doi):
    paper = paper_of(**facts)
    assert (paper.arxiv, paper.doi) == (arxiv, doi)


@pytest.mark.parametrize("fact", [{"arxiv": "cs/0112017"}, {"doi": "1145/3624743"}])
def test_a_malformed_identifier_is_kept_in_the_note_and_warned_of(fact):
    draft = Draft(line=1, title="T", year=2023, techniques=["systems"], **fact)
    assert next(iter(fact.values())) in to_paper(draft).note and len(draft.warnings) == 1


def test_an_unknown_venue_is_kept_in_the_note_and_warned_of():
    draft = Draft(line=1, title="T", year=2023, techniques=["systems"], venue="Journal of Foo", note="n")
    paper = to_paper(draft)
    assert (paper.published, paper.note) == (None, "n; published in Journal of Foo") and "venues.py" in draft.warnings[
        0
    ]


def test_a_work_without_any_year_is_refused():
    with pytest.raises(ValueError, match="has no year"):
        paper_of(year=None)


@pytest.mark.parametrize(
    ("title", "family", "wanted", "taken", "key"),
    [
        ("GPTQ: Accurate Quantization", "Frantar", "", (), "gptq"),
        ("GPTQ: Accurate Quantization", "Frantar", "", ("gptq",), "frantar2024gptq"),
        ("GPTQ: Accurate Quantization", "Frantar", "", ("gptq", "frantar2024gptq"), "frantar2024gptq-2"),
        ("GPTQ: Accurate Quantization", "Frantar", "My Key!", (), "my-key"),
        ("On the Quantization of Models", "Gómez Peña", "", (), "pena2024quantization"),
        ("A new idea: with a colon", "Xu", "", (), "xu2024new"),
        ("X: one letter", "Xu", "", (), "xu2024x"),
        ("大型语言模型", "徐", "", (), "work2024"),
        ("Untitled", "", "", (), "work2024untitled"),
        ("T" * 90 + ": long", "Xu", "", (), "t" * 60),
        ("LLM.int8(): 8-bit", "Dettmers", "DBLP:conf/nips/Dettmers", (), "dblp-conf-nips-dettmers"),
    ],
)
def test_a_key_is_the_method_else_who_when_what(title, family, wanted, taken, key):
    authors = [Author(family=family, given="A.")] if family else []
    assert make_key(Paper.model_validate(PAPER | {"title": title, "authors": authors}), taken, wanted) == key


@given(PAPERS, st.text(max_size=80))
def test_every_key_is_valid_and_free(paper, wanted):
    taken = set()
    for _ in range(4):
        key = make_key(paper, taken, wanted)
        assert key not in taken and re.fullmatch(rf"(?=.{{2,60}}$){SLUG}", key)
        taken.add(key)
