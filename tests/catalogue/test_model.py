"""Laws of the data model that hold for every paper, not for one file."""

from datetime import date

import pytest
from hypothesis import given
from pydantic import ValidationError

from scripts.catalogue.model import FIRST_YEAR, Claim, Paper, Publication, Record, as_number
from scripts.catalogue.text_rules import check_arxiv, check_doi, check_line, check_prose, check_url
from tests.builders import ARXIV, CLAIM, DOIS, LINES, PAPER, PAPERS, PROSE, URLS


def claim(**changes):
    return Claim.model_validate(CLAIM | changes)


def paper(**changes):
    return Paper.model_validate(PAPER | changes)


@given(PAPERS)
def test_a_paper_survives_json(generated):
    assert Paper.model_validate_json(generated.model_dump_json(exclude_defaults=True)) == generated


@pytest.mark.parametrize("model", Record.__subclasses__(), ids=lambda model: model.__name__)
def test_every_record_refuses_unknown_fields_and_changes(model):
    assert model.model_config["extra"] == "forbid" and model.model_config["frozen"] and model.model_config["strict"]


@pytest.mark.parametrize("field", ["arxiv", "doi", "venue"])
def test_identifiers_of_a_bare_paper_are_none(field):
    assert getattr(paper(), field) is None


def test_identifiers_come_from_the_versions():
    whole = paper(
        preprint={"arxiv": "2401.08092"}, published={"venue": "ICML", "doi": "10.1/x".replace("10.1", "10.1145")}
    )
    assert (whole.arxiv, whole.doi, whole.venue) == ("2401.08092", "10.1145/x", "ICML")


@pytest.mark.parametrize("year", [FIRST_YEAR, 2024, date.today().year + 1])
def test_years_from_the_first_to_the_next_are_taken(year):
    assert paper(year=year).year == year


@pytest.mark.parametrize("year", [FIRST_YEAR - 1, date.today().year + 2, 2124, True, "2024", 2024.0])
def test_other_years_are_refused(year):
    with pytest.raises(ValidationError):
        paper(year=year)


@pytest.mark.parametrize(
    ("quantity", "number"), [(3, 3.0), (2.5, 2.5), ("1/4", 0.25), ("1/5.1", 1 / 5.1), ("1/1000", 0.001)]
)
def test_a_quantity_stands_for_one_number(quantity, number):
    assert as_number(claim(value=quantity).value) == pytest.approx(number, rel=1e-15)  # one rounding of a division


@pytest.mark.parametrize(
    "value", ["1/0", "1/-2", "2/3", "1/", "/2", "1/x", "2.5", "", True, None, [1], float("nan"), float("inf")]
)
def test_what_is_no_quantity_is_refused(value):
    with pytest.raises(ValidationError):
        claim(value=value)


@pytest.mark.parametrize("value", ["1/nan", "1/inf", "1/1e400", "1/ 2", "1/1_0", "1/٢", "1/1e-400"])
@pytest.mark.parametrize("field", ["value", "to"])
def test_a_fraction_of_no_finite_plain_number_is_refused(field, value):
    with pytest.raises(ValidationError):
        claim(**{field: value})


@pytest.mark.parametrize("form", ["ratio", "difference"])
def test_a_relative_claim_names_its_baseline(form):
    with pytest.raises(ValidationError, match="needs `against`"):
        claim(form=form, against=None)


def test_only_an_absolute_claim_stands_alone():
    assert claim(form="absolute", against=None).against is None


@pytest.mark.parametrize("value", [0, -1.5])
def test_a_difference_may_be_zero_or_negative_a_ratio_not(value):
    assert claim(form="difference", value=value).value == value
    with pytest.raises(ValidationError, match="above zero"):
        claim(form="ratio", value=value)


def test_claims_may_disagree_with_each_other_but_not_with_strangers_or_themselves():
    both = [CLAIM | {"disagrees_with": ["slower"]}, CLAIM | {"id": "slower"}]
    assert len(paper(claims=both).claims) == 2
    for wrong in ("faster", "unknown"):
        with pytest.raises(ValidationError, match=f"disagrees_with names {wrong}"):
            paper(claims=[CLAIM | {"disagrees_with": [wrong]}])


def test_reviewed_means_a_summary():
    assert paper(level="reviewed", summary="It is fast.").level == "reviewed"
    with pytest.raises(ValidationError, match="needs `summary`"):
        paper(level="reviewed")


def test_a_publication_says_more_than_its_year():
    with pytest.raises(ValidationError, match="neither venue, doi nor url"):
        Publication(year=2024)


@given(LINES)
def test_rules_of_text_give_what_they_accept_back(text):
    assert check_line(text) == text == check_prose(text)


@given(PROSE)
def test_prose_keeps_its_paragraphs(text):
    assert check_prose(text) == text


@given(ARXIV, DOIS, URLS)
def test_rules_of_identifiers_give_what_they_accept_back(arxiv, doi, url):
    assert (check_arxiv(arxiv), check_doi(doi), check_url(url)) == (arxiv, doi, url)


@pytest.mark.parametrize(
    "code",
    [*range(9), *range(0xB, 0x20), *range(0x7F, 0xA0), 0xAD, 0x200B, 0x202E, 0x2066, 0xFEFF, 0xFFFE, 0xD800, 0xE0020],
)
def test_no_hidden_character_passes_any_rule(code):
    for rule, text in [
        (check_line, "a{}b"),
        (check_prose, "a{}b"),
        (check_url, "https://example.org/a{}b"),
        (check_doi, "10.1145/a{}b"),
    ]:
        with pytest.raises(ValueError):
            rule(text.format(chr(code)))


@pytest.mark.parametrize("markup", ["<b", "</b", "<!-", "<?x", "{{", "{%", "{#", "${", "&lt;", "&#60;", "&#x3c;"])
def test_no_markup_passes_a_rule_of_text(markup):
    for rule in (check_line, check_prose):
        with pytest.raises(ValueError, match="holds markup"):
            rule(f"a {markup} b")


@pytest.mark.parametrize("text", ["a < b", "R&D", "x > y && z", "50 % {a} $5", "a <3 b", "AT&T; b".replace(";", "")])
def test_signs_of_prose_pass(text):
    assert check_line(text) == text
