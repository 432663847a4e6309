"""Every claim that names a test names a case that is declared, and implementations that are in it."""

import pytest

pytest.importorskip("tokenizers", reason="tokenizers is not installed: some cases cannot be made")

from scripts.bench.__main__ import ROOT
from scripts.bench.cases import all_cases
from scripts.catalogue.load import load_catalogue

CATALOGUE = load_catalogue(ROOT)
KNOWN = {case.id: case for case in all_cases()}
TRIALS = [
    (f"{entry.key}/{claim.id}", claim)
    for entry in CATALOGUE.entries.values()
    for claim in entry.paper.claims
    if claim.test
]


def test_there_are_such_claims():
    assert len(TRIALS) >= 30


@pytest.mark.parametrize(("name", "claim"), TRIALS, ids=[name for name, _ in TRIALS])
def test_a_claims_test_names_what_is_declared(name, claim):
    trial = claim.test
    assert trial.case in KNOWN, f"{name}: no case {trial.case}"
    case = KNOWN[trial.case]
    implementations = {one.name: one for one in case.implementations}
    assert trial.implementation in implementations, f"{name}: {trial.case} has {sorted(implementations)}"
    assert trial.against is None or trial.against in implementations, f"{name}: no {trial.against}"
    if trial.metric is None:
        assert claim.metric == case.metric, f"{name}: claims {claim.metric}, the case measures {case.metric}"
    else:
        assert trial.metric == claim.metric
        assert implementations[trial.implementation].quality, f"{name}: {trial.implementation} has no quality"
