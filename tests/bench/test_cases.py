"""Every case that a family declares can be recorded: its words are known, its parts complete, its steps run."""

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("tokenizers")

from reference_impls.measurement.case import Ceilings  # noqa: E402
from scripts.bench.__main__ import main  # noqa: E402
from scripts.bench.cases import all_cases  # noqa: E402
from scripts.bench.runner import Budget, run_case  # noqa: E402
from scripts.catalogue.model import Measurement, Unavailable  # noqa: E402
from scripts.catalogue.vocabulary import METRICS  # noqa: E402

torch.set_num_threads(1)  # on a busy machine, two take many times as long as one
CASES = {case.id: case for case in all_cases()}
QUICK = Budget(max_rounds=10, max_seconds=0.5)


@pytest.mark.parametrize("name", CASES)
def test_a_case_uses_the_vocabulary_and_names_its_family(name):
    case = CASES[name]
    assert case.metric in METRICS
    assert name.count("/") >= 2
    assert case.devices
    assert (case.amount is not None) == (METRICS[case.metric].unit in {"sequences/s", "tokens/s"})


def test_case_names_differ():
    assert len(CASES) == len(all_cases())


@pytest.mark.parametrize(
    "name",
    ["quantization/tiny-target/ternary/perplexity", "quantization/tiny-target/ternary/bits_per_weight"],
)
def test_a_recorded_value_fits_the_data_model(name):
    result = run_case(CASES[name], "cpu", Ceilings(), QUICK)
    assert result.unavailable == []
    for item in result.measurements:
        Measurement.model_validate(item)


def test_a_recorded_time_fits_the_data_model_and_shows_limit_and_quality():
    result = run_case(CASES["quantization/decode/tiny-target"], "cpu", Ceilings(read_bytes_per_s=1e10), QUICK)
    found = {item["implementation"]: Measurement.model_validate(item) for item in result.measurements}
    for item in result.unavailable:
        Unavailable.model_validate(item)
    assert {"bf16", "fp32"} <= set(found)
    methods = [one for one in found.values() if one.role == "method"]
    assert methods
    assert all(one.limit and one.module for one in methods)
    lossy = [one for one in methods if one.module == "matmul"]  # the others multiply by the weights as they are
    assert lossy
    assert all(one.quality and one.quality.value > 1 for one in lossy)


def test_unknown_names_leave_with_a_message(capsys):
    assert main(["no-such-suite", "--device", "cpu"]) == 2
    assert 'no case or suite "no-such-suite" for cpu' in capsys.readouterr().err


def test_list_names_every_case_of_the_device(capsys):
    assert main(["--list", "--device", "cpu"]) == 0
    listed = capsys.readouterr().out
    assert all((f"{name}: " in listed) == ("cpu" in case.devices) for name, case in CASES.items())
