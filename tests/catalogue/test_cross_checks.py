"""What only the whole catalogue can tell."""

import json
from itertools import combinations

import pytest

from scripts.catalogue.cross_checks import (
    SIMILAR,
    _alike,
    _titles,
    _triples,
    cross_check,
    fold_title,
    nearest_slug,
)
from scripts.catalogue.drawing import without_code
from scripts.catalogue.load import Catalogue, Entry, load_catalogue
from scripts.catalogue.model import Paper
from tests.builders import CLAIM, PAPER, REPOSITORY, WORK, checkout, complaints, entry, page


def catalogue_of(*papers, root=REPOSITORY):
    entries = {
        f"work-{n}": Entry(f"work-{n}", f"entries/2024/work-{n}.yaml", record) for n, record in enumerate(papers)
    }
    return Catalogue(root, entries)


def paper(title, **changes):
    return Paper.model_validate(PAPER | {"title": title} | changes)


def pairs(catalogue):
    """The pairs of entries that are taken for one work."""
    found = [problem for problem in cross_check(catalogue) if "is nearly that of" in problem.message]
    return {(problem.message.split(",")[0].split("/")[-1], problem.file.split("/")[-1]) for problem in found}


def all_pairs(catalogue):
    """The same by comparing every title with every other: slow, and plain to see."""
    triples = {e.key: [_triples(fold_title(title)) for title in _titles(e)] for e in catalogue.entries.values()}
    found = set()
    for one, other in combinations(catalogue.entries.values(), 2):
        told = one.key in other.paper.distinct_from or other.key in one.paper.distinct_from
        if not told and any(_alike(a, b) for a in triples[one.key] for b in triples[other.key]):
            found.add((one.file.split("/")[-1], other.file.split("/")[-1]))
    return found


TYPOS = [
    ("GPTQ: Accurate Post-Training Quantization", "GPTQ: Accurate Post Training Quantisation"),
    ("Efficient Memory Management for Large Models", "Efficient Memory Managment for Large Models"),
    (
        "Fast Inference from Transformers via Speculative Decoding",
        "Fast Inference From Transformers Via Speculative Decoding.",
    ),
    ("Über-schnelle Modelle für alle", "Uber-schnelle Modelle fur alle"),
    ("LoRA: Low-Rank Adaptation of Large Language Models", "Low-Rank Adaptation of Large Language Models (LoRA)"),
    ("大型语言模型的高效推理系统研究综述", "大型语言模型的高效推理系统研究综述。"),
]
DIFFERENT = [
    ("Efficient Attention: A Survey", "Efficient Training: A Survey"),
    ("GPTQ: Accurate Post-Training Quantization", "AWQ: Activation-aware Weight Quantization"),
    ("Longformer", "Linformer"),
    ("Sparse GPT", "Sparse BERT"),
]


@pytest.mark.parametrize(("title", "other"), TYPOS)
def test_a_title_with_a_typo_is_the_same_work(title, other):
    assert pairs(catalogue_of(paper(title), paper(other))) == {("work-0.yaml", "work-1.yaml")}


@pytest.mark.parametrize(("title", "other"), DIFFERENT)
def test_different_titles_are_different_works(title, other):
    assert not pairs(catalogue_of(paper(title), paper(other)))


def test_similarity_is_the_share_of_common_triples_and_its_bound_counts_in():
    one, other = set(map(str, range(90))), set(map(str, range(10, 100)))
    assert _alike(one, other) and len(one & other) == SIMILAR * len(one | other)
    assert not _alike(one, other | {"x"})
    assert not _alike({"a"}, one)


def test_a_former_title_and_a_published_title_count_too():
    former = paper("Quite another thing", also_titled=["Paging weights to flash"])
    printed = paper("Yet another thing", published={"venue": "ICML", "title": "Paging weights to flash"})
    assert len(pairs(catalogue_of(former, printed, paper("Paging Weights to Flash")))) == 3


@pytest.mark.parametrize("side", [0, 1])
def test_distinct_from_on_either_side_settles_it(side):
    works = [paper("Paging weights", **({"distinct_from": [f"work-{1 - side}"]} if n == side else {})) for n in (0, 1)]
    assert not pairs(catalogue_of(*works))


def test_a_duplicate_made_of_common_words_alone_is_found():
    crowd = [paper(f"Large language models in field{n} number{n}") for n in range(40)]
    assert len(pairs(catalogue_of(*crowd, paper("Large Language Models"), paper("large language models!")))) == 1


@pytest.fixture(scope="module")
def real():
    return load_catalogue(REPOSITORY, use_cache=False)


@pytest.mark.parametrize("start", [0, 800, 1600])
def test_the_shortcut_finds_the_pairs_that_comparing_all_finds(real, start):
    chosen = [record.paper.model_copy(update={"distinct_from": []}) for record in real.entries.values()][
        start : start + 150
    ]
    planted = [record.model_copy(update={"title": record.title[:-3] + "x" + record.title[-3:]}) for record in chosen]
    catalogue = catalogue_of(*chosen, *planted)
    assert pairs(catalogue) == all_pairs(catalogue)
    assert len(pairs(catalogue)) >= 140  # the title of a few words is another one with a letter more


@pytest.mark.parametrize(
    ("published", "arxiv", "year", "fault"),
    [
        (None, "2401.00001", 2024, None),
        (2025, "2401.00001", 2024, None),
        (2025, "2401.00001", 2025, "is 2025, but arXiv:2401.00001 is of 2024"),
        (2024, "2401.00001", 2023, "is 2023, but arXiv:2401.00001 is of 2024"),
        (2024, None, 2023, None),  # online before its issue
        (2024, None, 2022, "is 2022, but it was published in 2024"),
        (2024, None, 2025, "is 2025, but it was published in 2024"),
        (2023, "2401.00001", 2023, None),
    ],
)
def test_the_year_is_that_of_the_first_public_version(published, arxiv, year, fault):
    changes = {"published": {"venue": "ICML", "year": published}} if published else {}
    changes |= {"preprint": {"arxiv": arxiv}} if arxiv else {}
    found = [
        problem.message
        for problem in cross_check(catalogue_of(paper("Paging", year=year, **changes)))
        if problem.field == "year"
    ]
    assert [message for message in found if "stands in" not in message] == ([fault] if fault else [])


@pytest.mark.parametrize(("published", "plausible"), [(2021, False), (2022, True), (2030, True), (2031, False)])
def test_preprint_and_publication_lie_within_a_few_years(published, plausible):
    record = paper("Paging", preprint={"arxiv": "2401.00001"}).model_copy()
    printed = record.model_copy(
        update={"published": paper("x", published={"venue": "ICML"}).published.model_copy(update={"year": published})}
    )
    fields = [problem.field for problem in cross_check(catalogue_of(printed))]
    assert ("preprint.arxiv" in fields) != plausible


@pytest.mark.parametrize(
    ("text", "outside"),
    [
        ("a `b` c", "a ``` c"),
        ("`a` <b> `c`", "``` <b> ```"),
        ("a ` b", "a ` b"),
        ("a ``b`` c", "a ``b`` c"),
        (r"a \`b\` c", r"a \`b\` c"),
        ("`a\n` b `\nc`", "`a\n` b `\nc`"),  # two spans over two lines each, and b is outside
        ("`a\n \n`b` c", "`a\n \n``` c"),
    ],
)
def test_only_what_is_code_beyond_doubt_is_left_out(text, outside):
    assert "\n".join(without_code(text.split("\n"))) == outside


@pytest.mark.parametrize(
    "body",
    [
        "See [x](paper:work), [y](index.md), [z](index.md#part), [a](#part), [b](https://example.org/a).",
        "A token `<pad>` and n < 5 and {x}.",
        "A formula $\\frac{a}{b}$.",
    ],
)
def test_links_and_signs_of_honest_pages_pass(tmp_path, body):
    assert complaints(checkout(tmp_path, {WORK: entry(), "techniques/systems/a.md": page(body)})) == []


def test_the_nearest_technique_shares_the_last_word(real):
    assert nearest_slug("compression/quantization", real) == "algorithms/model-compression/quantization"
    assert nearest_slug("anything", Catalogue(REPOSITORY)) == "the name of a page"


def test_a_page_names_only_a_family_that_exists_and_is_told_the_line(tmp_path):
    files = {
        "techniques/systems/index.md": page(family="no_such"),
        "reference_impls/quantization/__init__.py": "",
    }
    assert complaints(checkout(tmp_path, files)) == [
        "techniques/systems/index.md:9:1: family: there is no package reference_impls/no_such/; "
        "leave it out until there is one"
    ]


RUN = {
    "schema_version": 1,
    "suite": "family",
    "command": "bench",
    "started": "2026-11-22T10:00:00+00:00",
    "finished": "2026-11-22T10:01:00+00:00",
    "code": {"commit": "0" * 40, "dirty": False},
    "machine": {
        "name": "desk", "cpu": "a", "cores": 1, "memory_bytes": 1, "os": "a", "python": "3", "torch": "2", "threads": 1
    },
    "ceilings": {},
    "measurements": [
        {
            "case": "family/case", "implementation": name, "role": role, "effect": "kernel", "workload": {},
            "metric": "latency", "unit": "s", "better": "lower", "samples": [1.0], "first": 1.0, "warmup": 0,
            "rounds": 1, "converged": True, "stop_reason": "converged", "seed": 0, "limit": None,
            "quality": {"metric": "perplexity", "value": 5.0}, "throttled": False,
        }
        for name, role in (("old", "baseline"), ("new", "method"))
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("test", "metric", "message"),
    [
        ({}, "latency", None),
        ({"against": "old"}, "latency", None),
        ({"metric": "perplexity"}, "perplexity", None),
        ({"case": "family/never-run", "implementation": "anything"}, "latency", None),
        ({"implementation": "nwe"}, "latency", '"nwe" is not in family/case; it has new, old'),
        ({"against": "odl"}, "latency", '"odl" is not in family/case'),
        ({}, "perplexity", "does not measure perplexity; it measures latency; see test.metric"),
        ({"metric": "latency"}, "latency", "does not measure latency; it measures perplexity"),
        ({"metric": "perplexity"}, "latency", "is perplexity, the claim's is latency"),
    ],
)
def test_what_tests_a_claim_must_be_in_its_case(tmp_path, test, metric, message):
    base = {"case": "family/case", "implementation": "new", "comparable": False, "differs": "in much"}
    claim = CLAIM | {"metric": metric, "test": base | test}
    files = {
        "results/desk/family.json": json.dumps(RUN),
        WORK: entry(level="reviewed", summary="Short.", claims=json.dumps([claim])),
    }
    found = complaints(checkout(tmp_path, files))
    assert (message is None and not found) or any(message in line for line in found)
    assert all(line.startswith(WORK) for line in found)
