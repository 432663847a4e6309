"""CSV in: every row is read or reported with its line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.bibliography.read_csv import COLUMNS, read_csv
from scripts.catalogue.model import Author


def read(text):
    drafts, problems = read_csv(text, "x.csv")
    return drafts, [str(problem) for problem in problems]


def test_every_column_is_read():
    row = 'k,T,old|older,"A, B and C, D",2023,ICML,2301.00001,10.1145/1,https://e.org,https://c.org,post,a/b|c,'
    row += "list 1|list 2,n"
    (found,), problems = read(f"{','.join(COLUMNS)}\n{row}\n")
    assert not problems
    assert (found.line, found.key, found.title, found.also_titled) == (2, "k", "T", ["old", "older"])
    assert found.authors == [Author(family="A", given="B"), Author(family="C", given="D")]
    assert (found.year, found.venue, found.arxiv, found.doi) == (2023, "ICML", "2301.00001", "10.1145/1")
    assert (found.url, found.code, found.kind, found.note) == ("https://e.org", "https://c.org", "post", "n")
    assert (found.techniques, found.sources) == (["a/b", "c"], ["list 1", "list 2"])


def test_absent_columns_are_left_out():
    (found,), _ = read("title\nT\n")
    assert (found.kind, found.year, found.authors, found.techniques) == ("paper", None, [], [])


@pytest.mark.parametrize("text", ["\ufefftitle,year\r\nT,2023\r\n", "title,year\nT,2023", 'year,title\n2023," T "\n\n'])
def test_line_ends_byte_order_marks_and_the_order_of_columns_do_not_matter(text):
    (found,), problems = read(text)
    assert (found.title, found.year) == ("T", 2023) and not problems


def test_lines_are_those_of_the_file_also_after_a_field_of_two_lines():
    drafts, _ = read('title\nA\n"B\nb"\nC\n')
    assert [(found.line, found.title) for found in drafts] == [(2, "A"), (3, "B b"), (5, "C")]


COLUMN_HINT = f"; columns: {', '.join(COLUMNS)}"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "x.csv:1:1: the column `title` is missing" + COLUMN_HINT),
        ("year\n2023\n", "x.csv:1:1: the column `title` is missing" + COLUMN_HINT),
        ("title,Jahr\nT,2023\n", "x.csv:1:1: unknown column Jahr" + COLUMN_HINT),
        ("title,year,year\nT,1,2\n", "x.csv:1:1: the column year stands twice" + COLUMN_HINT),
    ],
)
def test_a_header_that_is_not_understood_is_reported_with_the_columns(text, problem):
    assert read(text) == ([], [problem])


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("T,2023,x", "row skipped: it has more or fewer fields than the header; quote fields that hold commas"),
        ("T", "row skipped: it has more or fewer fields than the header; quote fields that hold commas"),
        ("T,2O23", 'row skipped: year: expected four digits, got "2O23"; leave it empty if it is not known'),
        ("T,c. 2023", 'row skipped: year: expected four digits, got "c. 2023"; leave it empty if it is not known'),
    ],
)
def test_a_bad_row_is_reported_and_the_others_are_read(row, problem):
    drafts, problems = read(f"title,year\nA,2020\n{row}\nB,2021\n")
    assert [found.title for found in drafts] == ["A", "B"] and problems == [f"x.csv:3:1: {problem}"]


@pytest.mark.parametrize("name", ["A\u202eB", "<script>", "A, B, C, D"])
def test_a_bad_author_is_reported_not_raised(name):
    drafts, (problem,) = read(f'title,authors\nA,"{name}"\nB,"Xu, M."\n')
    assert [found.title for found in drafts] == ["B"] and problem.startswith("x.csv:2:1: row skipped: ")


def test_an_open_quote_is_reported_with_the_line_where_its_row_begins():
    drafts, (problem,) = read('title\nA\n"B\nC\n')
    assert [found.title for found in drafts] == ["A"]
    what = "not valid CSV: unexpected end of data; this row and all after it are skipped"
    assert problem == f"x.csv:3:1: {what}; check the quotes from here on"


@given(st.text(st.sampled_from(list('ab,"\n\r|; é2')), max_size=80))
def test_any_text_is_read_without_a_raise(body):
    drafts, problems = read_csv(f"title,year\n{body}", "x.csv")
    assert all(found.line >= 2 for found in drafts) and all(problem.line >= 1 for problem in problems)
