"""LLMCad's cases: equal budgets, limits that hold, parts that are really removed, paces that are kept."""

from time import perf_counter

import pytest
import torch

pytest.importorskip("tokenizers")

from reference_impls.measurement.case import Ceilings
from reference_impls.models import generate as plain
from reference_impls.models import tiny
from reference_impls.speculative_decoding import bench_contenders, bench_streamed, bench_sweep, llmcad, sti
from reference_impls.speculative_decoding.bench_contenders import Patient, budget, contenders, sizes, streamed
from reference_impls.speculative_decoding.bench_setups import Setup, draft, prompts, run, target

if not (tiny.FOLDER / "target.safetensors").exists():
    pytest.skip("the tiny trained model is not there: see scripts/train_tiny.py", allow_module_level=True)

EVERY = {one.name: one for one in contenders()}
CASES = {case.id: case for case in bench_streamed.cases()}
SPEED = "speculative_decoding/llmcad/200-mb-per-s/decode_throughput"
SMALL = Setup("tiny-target", "free", tokens=6)


def test_all_have_one_budget():
    layer, rest, small = sizes()
    workload = CASES[SPEED].workload
    for name in ("std", "std-pl", "sti"):
        assert budget(EVERY[name]) == workload["weight_budget_bytes"] == rest + 2 * layer + small
    assert budget(EVERY["llmcad"]) + small == workload["weight_budget_bytes"]
    assert rest + layer * 6 == sum(p.nbytes for p in target("tiny-target").parameters())
    assert [len(streamed(EVERY[name], None).resident) for name in ("std", "std-pl", "llmcad")] == [1, 0, 0]


def test_limits_are_never_passed():
    """Not a matter of speed: the rate is enforced, so no contender may make more tokens than it allows."""
    case = CASES[SPEED]
    for one in case.implementations:
        if one.name in ("std", "sp-tree", "sti"):
            step = one.prepare(case.workload, "cpu")
            start = perf_counter()
            step()
            assert case.amount / (perf_counter() - start) <= one.limit(case.workload, Ceilings()).value


def test_limits_follow_from_bytes_and_tokens_a_pass():
    layer, _, _ = sizes()
    limits = {name: bench_streamed._limit(EVERY[name], {"bytes_per_s": 1e8}, Ceilings()).value for name in EVERY}
    assert limits["std"] == pytest.approx(1e8 / (5 * layer))  # one layer stays, since nothing is read ahead
    assert limits["std-pl"] == pytest.approx(1e8 / (6 * layer))
    shards = sti.ShardStore(
        bench_contenders.Path(bench_contenders._folder().name) / "shards", bench_contenders.widths()
    )
    assert sum(shards.held) <= 6 * layer / bench_contenders.STI_SHARE


def test_parts_removed_are_really_removed():
    whole = llmcad.Config()
    differing = {
        name: {field for field in vars(whole) if getattr(one.make().config, field) != getattr(whole, field)}
        for name, one in EVERY.items()
        if name.startswith("llmcad")
    }
    assert differing["llmcad"] == set()
    assert differing["llmcad-linear"] == {"alpha_rule"}
    assert differing["llmcad-no-tree"] == {"branch_threshold"}
    assert differing["llmcad-no-fallback"] == {"adaptive"}
    assert differing["llmcad-no-provisional"] == {"provisional"}


@pytest.mark.parametrize("name", [name for name, one in EVERY.items() if one.make])
def test_only_the_tolerant_rule_changes_the_text(name):
    drafter = EVERY[name].make()
    made = run(Patient(target("tiny-target"), drafter), drafter, SMALL)[0].tokens[0]
    assert made == plain.generate(target("tiny-target"), prompts(SMALL)[0][None], 6)[0].tolist()
    assert (EVERY[name].rule is not None) == (name == "bild")


def test_what_lossy_baselines_lose_is_shown():
    case = CASES[SPEED]
    shown = {one.name for one in case.implementations if one.quality}
    assert shown == {"bild", "sti"}
    assert bench_contenders.likeness("sp-4", SMALL) == 1
    assert 0 < bench_contenders.likeness("sti", Setup("tiny-target", "free", tokens=24, count=3)) < 1


def test_a_run_within_its_budget_reads_what_a_pass_needs():
    log = bench_streamed._log(EVERY["std-pl"])
    assert log.bytes_read == log.passes * bench_streamed.bytes_a_pass(EVERY["std-pl"])
    assert log.passes == bench_contenders.SETUP.tokens
    assert log.peak_bytes <= budget(EVERY["std-pl"])


@pytest.mark.parametrize("ratio", [2, 100])
def test_the_paces_have_the_ratio(ratio, monkeypatch):
    monkeypatch.setattr(bench_sweep, "own_seconds", lambda: (1e-3, 4e-3))
    slow, quick = bench_sweep.paces(ratio)
    assert slow / quick == pytest.approx(ratio)
    assert slow >= 4e-3
    assert quick >= 1e-3


def test_a_paced_pass_lasts_and_leaves_time_to_guess():
    calls: list[int] = []
    model = bench_sweep.Paced(draft(), 0.03)
    model.idle = lambda: bool(calls.append(1)) or len(calls) < 3
    tokens = torch.zeros(1, 4, dtype=torch.long)
    start = perf_counter()
    states = model.hidden_states(tokens)
    assert perf_counter() - start >= 0.03
    assert len(calls) == 3
    assert torch.equal(states, draft().hidden_states(tokens))


@pytest.mark.parametrize("name", ["std", *bench_sweep.MAKERS])
def test_every_arm_of_the_sweep_runs(name, monkeypatch):
    monkeypatch.setattr(bench_sweep, "own_seconds", lambda: (1e-4, 2e-4))
    monkeypatch.setattr(bench_sweep, "SETUP", SMALL)
    assert bench_sweep._prepare(name, {"pass_ratio": 3}, "cpu")() is None
