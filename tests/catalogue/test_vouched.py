"""Runs of machines that nobody vouches for are checked like all others, but stand apart."""

import json

from scripts.catalogue.load import load_catalogue
from scripts.website.derive import derive
from scripts.website.family import Families
from scripts.website.settings import read_settings
from tests.builders import REPOSITORY, checkout, complaints, page
from tests.catalogue.test_result_checks import FILE, run

VOUCHED = "results/vouched.yaml"


def other() -> dict:
    return run() | {"machine": run()["machine"] | {"name": "stranger"}}


def files(vouched: str | None) -> dict[str, str]:
    found = {FILE: json.dumps(run()), "results/stranger/quantization.json": json.dumps(other())}
    return found | ({VOUCHED: vouched} if vouched is not None else {})


def test_only_the_machines_named_count(tmp_path):
    catalogue = load_catalogue(checkout(tmp_path, files("machines: [box]\n")))
    assert [*catalogue.runs] == [FILE]
    assert [*catalogue.submissions] == ["results/stranger/quantization.json"]
    assert complaints(tmp_path) == []


def test_where_nothing_is_said_all_count(tmp_path):
    catalogue = load_catalogue(checkout(tmp_path, files(None)))
    assert len(catalogue.runs) == 2
    assert not catalogue.submissions


def test_what_stands_apart_is_checked_too(tmp_path):
    broken = other() | {"finished": "2020-01-01T00:00:00+00:00"}
    root = checkout(tmp_path, files("machines: [box]\n") | {"results/stranger/quantization.json": json.dumps(broken)})
    assert complaints(root) == ["results/stranger/quantization.json:1:1: finished: lies before started; " + HINT]


HINT = "the bench writes results, nobody by hand: run the suite again"


def test_a_list_that_cannot_be_read_is_told(tmp_path):
    assert any(f"{VOUCHED}:1:" in line for line in complaints(checkout(tmp_path / "a", files("machines: box\n"))))
    assert any(f"{VOUCHED}:1:" in line for line in complaints(checkout(tmp_path / "b", files("machines: [../x]\n"))))


def test_a_page_names_what_was_submitted_and_draws_none_of_it(tmp_path):
    front = page(family="quantization")
    root = checkout(tmp_path, files("machines: []\n") | {"techniques/systems/index.md": front})
    (root / "mkdocs.yml").write_text("site_url: https://example.org/\nrepo_url: https://example.org/repo\n")
    (root / "reference_impls/quantization").mkdir(parents=True)
    (root / "reference_impls/quantization/__init__.py").write_text('"""A family."""\n')
    view = Families(derive(load_catalogue(root)), read_settings(root)).view("systems")
    assert [(machine, file) for machine, _, file in view.submitted] == [
        ("box", FILE),
        ("stranger", "results/stranger/quantization.json"),
    ]
    assert not view.machines
    assert not view.runs


def test_every_machine_that_is_vouched_for_has_runs():
    catalogue = load_catalogue(REPOSITORY)
    assert {run.machine.name for run in catalogue.runs.values()} >= {"amd-epyc-2-cores"}
