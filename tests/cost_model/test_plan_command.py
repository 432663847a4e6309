"""`python -m scripts plan`: the numbers of the cost model, in words and as JSON."""

import json
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from reference_impls.cost_model import Settings, Tables, plan
from scripts.commands import app
from scripts.plan import gigabytes, seconds

ROOT = str(Path(__file__).parents[2])


def run(*words: str) -> Result:
    return CliRunner().invoke(app, ["plan", *words, "--root", ROOT], env={"COLUMNS": "160"})


def test_json_holds_the_plan(tables: Tables) -> None:
    done = run("mixtral-8x7b", "rtx-4090", "--weights", "int4-g64", "--kv", "int8", "--context", "2000", "--batch", "3",
               "--offload", "--gamma", "2", "--acceptance", "0.6", "--draft-cost", "0.2", "--json")  # fmt: skip
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    shape, machine = tables.shape("mixtral-8x7b"), tables.machine("rtx-4090")
    expected = plan(shape, machine, tables.weights["int4-g64"], tables.kv["int8"], Settings(2000, 3, True, 2, 0.6, 0.2))
    assert found["plan"]["total_bytes"] == expected.total_bytes
    assert found["plan"]["decode_s"] == expected.decode_s
    assert found["plan"]["decode"]["limit"] == expected.decode.limit == "link"
    assert found["asked"]["settings"]["draft_length"] == 2
    assert all(one["tokens_per_s"] > 0 for one in found["options"])


def test_an_unbounded_context_is_null_in_json() -> None:
    found = json.loads(run("mamba-130m", "t4", "--json").stdout)
    assert found["plan"]["longest_context"] is None


def test_words_say_whether_it_fits_and_what_limits() -> None:
    text = run("llama-3.1-8b", "rtx-4090", "--context", "200000").stdout
    assert "Does not fit: 19.3 GB more than the 23.2 GB usable." in " ".join(text.split())
    assert "made for up to 131,072 tokens" in text
    text = run("llama-3.1-8b", "rtx-4090", "--gamma", "4").stdout
    assert "Fits:" in text
    assert "gain by speculation" in text
    assert "recorded rows" in text


def test_without_names_everything_is_listed(tables: Tables) -> None:
    text = run().stdout
    for name in (*tables.models, *tables.machines, *tables.weights):
        assert name in text


@pytest.mark.parametrize(
    ("words", "near"),
    [
        (("lama-3.1-8", "rtx-4090"), "llama-3.1-8b"),
        (("llama-3.1-8b", "4090"), "rtx-4090"),
        (("llama-3.1-8b", "rtx-4090", "--weights", "int4"), "int4-g"),
        (("llama-3.1-8b", "rtx-4090", "--kv", "fp9"), "fp8"),
    ],
)
def test_a_wrong_name_leaves_with_2_and_the_nearest(words: tuple[str, ...], near: str) -> None:
    done = run(*words)
    assert done.exit_code == 2
    assert near in done.output


@pytest.mark.parametrize(
    ("size", "text"), [(16_060_522_496, "16.1 GB"), (671e9 * 2, "1.34 TB"), (2.5e6, "0.0025 GB"), (0, "0 GB")]
)
def test_sizes_have_their_unit(size: float, text: str) -> None:
    assert gigabytes(size) == text


@pytest.mark.parametrize(
    ("time", "text"), [(1234.5, "1,234 s"), (12.34, "12.3 s"), (0.01234, "12.3 ms"), (2.5e-5, "25 µs")]
)
def test_times_have_their_unit(time: float, text: str) -> None:
    assert seconds(time) == text
