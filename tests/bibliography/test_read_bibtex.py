"""BibTeX in: every work is read or reported with its line, whatever surrounds it."""

import re

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from scripts.bibliography.draft import to_paper
from scripts.bibliography.export import bibtex, title_of, year_of
from scripts.bibliography.read_bibtex import read_bibtex
from tests.builders import PAPERS, PEOPLE


def read(text):
    drafts, problems = read_bibtex(text, "x.bib")
    return drafts, [(problem.line, problem.message) for problem in problems]


def draft(fields, kind="article"):
    (found,), problems = read(f"@{kind}{{key, {fields}}}")
    assert not problems
    return found


@pytest.mark.parametrize(
    ("fields", "name", "value"),
    [
        ("title = {{GPTQ}: {A}ccurate}", "title", "GPTQ: Accurate"),
        ('title = "Quoted"', "title", "Quoted"),
        ("TITLE = {Upper}", "title", "Upper"),
        ("title = {Over\n  two lines}", "title", "Over two lines"),
        ("year = 2023", "year", 2023),
        ("year = {2023}", "year", 2023),
        ("date = {2023-05-01}", "year", 2023),
        ("year = {to appear}", "year", None),
        ("booktitle = {Proc. of {ICML}}", "venue", "Proc. of ICML"),
        ("journal = {TMLR}, booktitle = {}", "venue", "TMLR"),
        ("howpublished = {\\url{https://example.org/a}}", "url", "https://example.org/a"),
        ("howpublished = {\\url{https://example.org/a}}", "venue", ""),
        ("url = {https://example.org/a\\_b\\%20c}", "url", "https://example.org/a_b%20c"),
        ("eprint = {2401.08092}, archivePrefix = {arXiv}", "arxiv", "2401.08092"),
        ("eprint = {2401.08092}, eprinttype = {arxiv}", "arxiv", "2401.08092"),
        ("eprint = {2401.08092}", "arxiv", "2401.08092"),
        ("eprint = {12345}, eprinttype = {pubmed}", "arxiv", ""),
        ("doi = {10.1007/978-3-030\\_13}", "doi", "10.1007/978-3-030_13"),
        ("doi = {10.1145/a--b}", "doi", "10.1145/a--b"),
        ("keywords = {fast, systems/serving; x}", "techniques", ["systems/serving"]),
        ("author = {Xu, M. and others}", "authors_cut", True),
    ],
)
def test_a_field_by_a_worked_table(fields, name, value):
    assert getattr(draft(fields), name) == value


def test_a_string_is_resolved():
    (found,), _ = read("@string{icml = {ICML}}\n@inproceedings{a, title = {T}, booktitle = icml}")
    assert (found.venue, found.line) == ("ICML", 2)


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_lines_are_those_of_the_file(newline):
    text = newline.join(["% comment", "", "@article{a,", "  title = {A}", "}", "@misc{b, title = {B}}"])
    assert [found.line for found in read(text)[0]] == [3, 6]


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        ("@article{a, title = {A}", "block skipped: Unexpected block start"),
        ("@article{a title = {A}}", "block skipped: Expected comma after entry key"),
        ("@article{a, title = {A}, title = {B}}", "block skipped: title stands twice in it"),
        ("@ article{a, title = {A}}", "block skipped: not understood"),
        ("@article\n{a, title = {A}}", "block skipped: not understood"),
        ('@article{a, title = "A" # x}', "entry skipped: title joins strings with #"),
        ("@article{a, author = {A, B, C, D}}", 'entry skipped: the name "A, B, C, D" has too many commas'),
        ("@article{a, author = {A\u202eB}}", "entry skipped: holds the invisible character U+202E"),
        ("@article{a, title = {" + "{" * 3000 + "}" * 3000 + "}}", "entry skipped: its braces nest too deeply"),
    ],
)
def test_a_broken_block_is_reported_and_the_others_are_read(broken, reason):
    drafts, problems = read(f"@misc{{before, title = {{B}}}}\n\n{broken}\n@misc{{after, title = {{Z}}}}\n")
    assert [found.key for found in drafts] == ["before", "after"]
    assert [(line, message[: len(reason)]) for line, message in problems] == [(3, reason)]


def test_the_last_block_may_be_cut_off():
    drafts, problems = read("@misc{a, title = {A}}\n@misc{b, title = {B")
    assert [found.key for found in drafts] == ["a"] and [line for line, _ in problems] == [2]


def test_two_works_of_one_key_are_both_read():
    drafts, problems = read("@misc{a, title = {A}}\n@misc{a, title = {B}}")
    assert [(found.line, found.title) for found in drafts] == [(1, "A"), (2, "B")] and not problems


def test_the_second_work_of_a_key_is_read_as_the_first():
    text = (
        "@string{icml = {ICML}}\n@misc{a, title = {A}}\n@misc{a, title = {B}, author = {Doe, J.}, howpublished = icml}"
    )
    (_, found), _ = read(text)
    assert (found.venue, found.authors[0].family, found.line) == ("ICML", "Doe", 3)


def test_what_is_no_work_is_neither_read_nor_reported():
    assert read('words\n@comment{x}\n@preamble{"\\x"}\n@string{a = {b}}\nme@example.org\n') == ([], [])


PARTS = st.sampled_from(
    ["@article{a,", "@misc{b", "@ book {", "@string{x={y}}", "@comment{", "title", "author", "year", "=", "{", "}", '"',
     ",", "#", "\n", " ", "2020", "A and B", "\\'e", "$x$", "%", "\\", "key", "@", "A, B, C, D", "é"]
)  # fmt: skip
WORK = re.compile(r"^[ \t]*@\s*(\w+)\s*[{(]", re.MULTILINE)


@given(st.lists(PARTS, max_size=40).map("".join) | st.text(max_size=100))
def test_no_text_raises_and_every_work_is_a_draft_or_a_problem(text):
    drafts, problems = read_bibtex(text, "x.bib")
    told = {found.line for found in drafts} | {problem.line for problem in problems}
    for found in WORK.finditer(text):
        line = text.count("\n", 0, found.start()) + 1
        within = any(at < line for at in told)  # a work inside the text of another's field
        assert found.group(1).casefold() in ("comment", "preamble", "string") or line in told or within


@settings(phases=[Phase.generate])  # to shrink a whole paper takes minutes
@given(PAPERS, st.lists(PEOPLE, min_size=1, max_size=5))
def test_what_is_exported_is_read_back(paper, people):
    paper = paper.model_copy(update={"authors": people})
    (found,), problems = read(bibtex("key", paper))
    assert not problems
    assert found.title == title_of(paper)
    assert (found.authors, found.authors_cut) == (people, paper.authors_cut)
    assert found.year == year_of(paper)
    found.techniques = paper.techniques
    again = to_paper(found)
    assert (again.venue, again.doi, again.arxiv) == (paper.venue, paper.doi, paper.arxiv)
