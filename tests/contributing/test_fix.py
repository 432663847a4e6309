"""`fix` changes how a fact is written, never the fact; comments stay; what it cannot read it leaves."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scripts.catalogue.comments import comments, with_comments
from scripts.catalogue.dump import SCHEMA_LINE, dump
from scripts.catalogue.model import Paper
from scripts.catalogue.yaml_text import read
from scripts.contributing.fix import fix, fix_files
from tests.builders import PAPERS, REPOSITORY, checkout, entry

HEAD = SCHEMA_LINE


def fixed(**fields: str | None) -> str:
    return fix(entry(**fields).encode()).text


@settings(max_examples=60, deadline=None)
@given(PAPERS)
def test_what_the_tools_wrote_stays_as_it_is(paper):
    text = dump(paper)
    assert fix(text.encode()).text == text
    assert fix(text.encode()).changes == []


@settings(max_examples=60, deadline=None)
@given(PAPERS, st.data())
def test_comments_anywhere_survive_and_the_facts_stay(paper, data):
    lines = dump(paper).splitlines()
    spots = {spot.line - 1 for spot in read(dump(paper), with_spots=True).spots.values()}
    for number in range(3):
        at = data.draw(st.sampled_from(sorted(spots)))
        alone = data.draw(st.booleans())
        if alone:
            margin = " " * (len(lines[at]) - len(lines[at].lstrip()))
            lines[at] = f"{margin}# remark {number}\n{lines[at]}"
        else:
            lines[at] += f"  # remark {number}"
    text = "\n".join(lines) + "\n"
    result = fix(text.encode())
    assert Paper.model_validate(read(result.text).data) == paper
    assert sorted(c.text for c in comments(result.text)) == sorted(c.text for c in comments(text))
    assert fix(result.text.encode()).text == result.text


@pytest.mark.parametrize(
    ("written", "wanted"),
    [
        ("2401.10890", '{arxiv: "2401.10890"}'),
        ("2401.10", None),  # too short to be an id: the author must say which
        ("arXiv:2401.10890v3", '{arxiv: "2401.10890"}'),
        ("https://arxiv.org/abs/2401.10890", '{arxiv: "2401.10890"}'),
        ("https://arxiv.org/pdf/2401.10890v2.pdf", '{arxiv: "2401.10890"}'),
        ("2413.10890", None),  # there is no thirteenth month
    ],
)
def test_an_arxiv_id_is_brought_into_form_or_left(written, wanted):
    text = fixed(preprint=f"{{arxiv: {written}}}")
    assert (wanted or f"{{arxiv: {written}}}") in text


def test_a_final_zero_is_not_lost():
    assert 'preprint: {arxiv: "2401.10890"}' in fixed(preprint="{arxiv: 2401.10890}")  # a float would be 2401.1089


def test_dois_venues_and_years_are_brought_into_form():
    text = fixed(year='"2024"', published="{venue: Neurips, year: '2024', doi: 'https://doi.org/10.1145/3624743'}")
    assert "year: 2024\n" in text
    assert "published: {venue: NeurIPS, year: 2024, doi: 10.1145/3624743}" in text


def test_windows_line_ends_tabs_and_a_missing_last_line_end():
    text = entry(note="fine").replace("\n", "\r\n").rstrip() + "  "
    result = fix(text.encode("utf-8-sig"))
    assert result.text == entry(note="fine")
    assert result.changes == ["line ends, tabs and blanks at the ends of lines"]


def test_fields_come_into_the_order_of_the_model_and_comments_with_them():
    text = (
        "# what I found\nlevel: listed  # for now\ntechniques: [systems]\n"
        "# of the first version\nyear: 2024\ntitle: 'A title'\n# the end\n"
    )
    assert fix(text.encode()).text == (
        f"{HEAD}title: A title\n# of the first version\nyear: 2024\ntechniques: [systems]\n"
        "# what I found\nlevel: listed  # for now\n# the end\n"
    )


def test_a_sign_inside_a_text_is_no_comment():
    text = entry(title='"C# and #5: a \\"# title"', note="a#b")
    assert comments(text) == comments(SCHEMA_LINE)
    folded = entry(summary=">-  # kept\n  one # two\n  # three")
    assert [one.text for one in comments(folded)] == [SCHEMA_LINE.strip(), "# kept"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("title: [", "line 2: not valid YAML"),
        ("title: a\ntitle: b\n", "line 2: the key"),
        ("title: &a b\nnote: *a\n", "uses an anchor"),
        (entry(year="soon"), "year: see"),
        (entry(techniques=None), "techniques: see"),
    ],
)
def test_what_cannot_be_read_is_told_and_left(text, told):
    result = fix(text.encode())
    assert told in result.problem
    assert result.text.rstrip("\n") == text.rstrip("\n")


def test_a_comment_without_a_place_keeps_the_file_as_it_is():
    # Between the lines of a list that the tools write on one line there is no place.
    text = entry(techniques="[\n  systems,  # the one\n  ]")
    result = fix(text.encode())
    assert result.problem or "# the one" in result.text


def test_comments_are_never_dropped_silently():
    assert with_comments("a: 1  # one\n", "a: 1\n") == "a: 1  # one\n"
    assert with_comments("a: 1\nb: 2  # gone\n", "a: 1\n") == "a: 1\n# gone\n"


def test_bytes_that_are_no_text_are_told(tmp_path):
    root = checkout(tmp_path, {"entries/2024/work.yaml": b"title: \xff"})
    [(name, result, _)] = fix_files(root, [])
    assert name == "entries/2024/work.yaml"
    assert "is not UTF-8" in result.problem


def test_the_repository_can_be_fixed_without_a_problem():
    files = [
        path.relative_to(REPOSITORY).as_posix() for path in sorted(REPOSITORY.glob("entries/202[0-2]/*.yaml"))[::9]
    ]
    assert [(name, result.problem) for name, result, _ in fix_files(REPOSITORY, files) if result.problem] == []
