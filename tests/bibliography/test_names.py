"""Names of people: out of BibTeX's lists, and into running text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.bibliography.names import parse_names, printed, short
from scripts.catalogue.model import Author

TABLE = [
    ("Frantar, Elias", [("Frantar", "Elias")], False),
    ("Elias Frantar", [("Frantar", "Elias")], False),
    ("Frantar, Elias and Alistarh, Dan", [("Frantar", "Elias"), ("Alistarh", "Dan")], False),
    ("Frantar, Elias\n  and Alistarh, Dan", [("Frantar", "Elias"), ("Alistarh", "Dan")], False),
    ("Ludwig van Beethoven", [("van Beethoven", "Ludwig")], False),
    ("van Beethoven, Ludwig", [("van Beethoven", "Ludwig")], False),
    ("King, Jr., Martin Luther", [("King Jr.", "Martin Luther")], False),
    ("{DeepSeek-AI}", [("DeepSeek-AI", None)], False),
    ("{Barnes and Noble}", [("Barnes and Noble", None)], False),
    ("{Meta, Inc.} and Touvron, Hugo", [("Meta, Inc.", None), ("Touvron", "Hugo")], False),
    ("Xu, Mengwei and others", [("Xu", "Mengwei")], True),
    ("Xu, Mengwei and et al.", [("Xu", "Mengwei")], True),
    ("G{\\'o}mez, Jos{\\'e}", [("Gómez", "José")], False),
    ("Madonna", [("Madonna", None)], False),
    ("Xu, Mengwei and and Yin, Wangsong", [("Xu", "Mengwei"), ("Yin", "Wangsong")], False),
    ("徐梦炜", [("徐梦炜", None)], False),
    ("", [], False),
]


@pytest.mark.parametrize(("text", "names", "cut"), TABLE)
def test_a_list_of_names_by_a_worked_table(text, names, cut):
    authors, more = parse_names(text)
    assert [(author.family, author.given) for author in authors] == names and more == cut


@pytest.mark.parametrize("text", ["Xu, Yin, Cai, Jin", "A, B, C, D and E, F"])
def test_a_list_by_commas_is_refused_rather_than_mangled(text):
    with pytest.raises(ValueError, match='put " and " between authors'):
        parse_names(text)


WORDS = st.from_regex(r"[A-ZÉŁ][a-zöéł]{2,8}", fullmatch=True).filter(
    lambda word: word.casefold() not in ("and", "others")
)
PEOPLE = st.lists(st.builds(Author, family=WORDS, given=WORDS), min_size=1, max_size=5)


@given(PEOPLE)
def test_both_orders_of_a_plain_name_mean_the_same_person(people):
    by_comma = " and ".join(f"{person.family}, {person.given}" for person in people)
    in_order = " and ".join(f"{person.given} {person.family}" for person in people)
    assert parse_names(by_comma) == parse_names(in_order) == (people, False)


def test_printed_puts_the_given_name_first():
    assert printed(Author(family="van Beethoven", given="Ludwig")) == "Ludwig van Beethoven"
    assert printed(Author(family="DeepSeek-AI")) == "DeepSeek-AI"


@pytest.mark.parametrize(
    ("count", "cut", "text"),
    [
        (0, False, ""),
        (1, False, "A"),
        (2, False, "A and B"),
        (3, False, "A et al."),
        (1, True, "A et al."),
        (2, True, "A et al."),
    ],
)
def test_running_text_names_one_or_two(count, cut, text):
    assert short([Author(family=name) for name in "ABC"[:count]], cut) == text
