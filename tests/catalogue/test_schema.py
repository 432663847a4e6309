"""What editors and contributors read has not drifted from the model, and judges entries as the model does."""

import json

import jsonschema
import pytest

from scripts.catalogue.dump import SCHEMA_LINE
from scripts.catalogue.model import Paper
from scripts.catalogue.schema import fields_table, schema_text, with_table, write_generated
from scripts.catalogue.yaml_text import read
from tests.builders import CLAIM, PAPER, REPOSITORY

FILES = sorted((REPOSITORY / "entries").glob("*/*.yaml"))
VALIDATOR = jsonschema.Draft202012Validator(json.loads(schema_text()))


def refused(data):
    return not VALIDATOR.is_valid(json.loads(json.dumps(data, default=str)))


def test_the_schema_in_the_repository_is_the_generated_one():
    assert (REPOSITORY / "entries/schema.json").read_text("utf-8") == schema_text(), "run: python -m scripts schema"


def test_the_table_in_the_guide_is_the_generated_one():
    guide = (REPOSITORY / "CONTRIBUTING.md").read_text("utf-8")
    assert with_table(guide) == guide, "run: python -m scripts schema"


def test_the_schema_is_one():
    jsonschema.Draft202012Validator.check_schema(json.loads(schema_text()))


def test_every_entry_names_its_schema_in_the_first_line():
    assert [path for path in FILES if not path.read_text("utf-8").startswith(SCHEMA_LINE)] == []
    assert (FILES[0].parent / SCHEMA_LINE.split("=")[1].strip()).resolve() == REPOSITORY / "entries/schema.json"


def test_the_schema_accepts_the_repository():
    sample = FILES[:: max(1, len(FILES) // 200)] + [
        path for path in FILES if "level: reviewed" in path.read_text("utf-8")
    ]
    assert [path for path in sample if refused(read(path.read_text("utf-8")).data)] == []


@pytest.mark.parametrize(
    "changes",
    [
        {"tecnique": "x"}, {"title": None}, {"title": 3}, {"year": "2024"}, {"year": 1066}, {"techniques": []},
        {"techniques": ["../x"]}, {"level": "read"}, {"url": "javascript:x"}, {"preprint": {"arxiv": "2401.08092v1"}},
        {"published": {"venue": "NeurlPS"}}, {"published": {"doi": "https://doi.org/10.1145/1"}}, {"authors": ["A B"]},
        {"claims": [CLAIM | {"metric": "speed"}]}, {"claims": [CLAIM | {"unit": "s"}]}, {"saves": ["time"]},
    ],
)  # fmt: skip
def test_the_schema_refuses_what_the_model_refuses(changes):
    assert not refused(PAPER | {"claims": [CLAIM]})
    assert refused(PAPER | changes)
    with pytest.raises(ValueError):
        Paper.model_validate(PAPER | changes)


def test_every_field_of_every_part_has_a_row_with_its_meaning():
    rows = fields_table().splitlines()[2:]
    names = [row.split("`")[1] for row in rows]
    assert len(names) == len(set(names)) and {
        "title",
        "authors[].family",
        "claims[].value",
        "corrections[].date",
    } <= set(names)
    assert all(row.rstrip(" |").rsplit("|", 1)[1].strip() not in ("", "None") for row in rows)


def test_generating_twice_changes_nothing(tmp_path):
    (tmp_path / "CONTRIBUTING.md").write_text(
        (REPOSITORY / "CONTRIBUTING.md").read_text("utf-8").replace("| `year` |", "| `yaer` |")
    )
    assert [path.name for path in write_generated(tmp_path)] == ["schema.json", "CONTRIBUTING.md"]
    assert write_generated(tmp_path) == []


def test_a_guide_without_its_marks_is_reported():
    with pytest.raises(ValueError, match="put them back"):
        with_table("# Contributing\n")
