"""A model read layer by layer computes what it computes in memory, within its budget, and counts its bytes."""

from pathlib import Path
from time import perf_counter

import pytest
import torch

from reference_impls.models import generate as plain
from reference_impls.models.decoder import Config as Shape
from reference_impls.speculative_decoding import draft_model
from reference_impls.speculative_decoding.generate import generate
from reference_impls.speculative_decoding.layer_store import HostStore, write_layers
from reference_impls.speculative_decoding.layer_stream import Config, StreamedDecoder
from tests.models.conftest import lively
from tests.speculative_decoding.conftest import near, prompts, some_tokens

SHAPE = Shape(vocab=32, hidden=24, layers=5, heads=4, kv_heads=2, head_dim=6, ffn=40, max_positions=256)
LAYER = 8 * (24 * 24 * 2 + 24 * 12 * 2 + 3 * 24 * 40 + 2 * 24)
REST = 8 * (32 * 24 + 24)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("layers")
    write_layers(lively(SHAPE), path)
    return path


@pytest.mark.parametrize("ahead", [True, False])
@pytest.mark.parametrize("resident", [0, 2, 5])
def test_states_bytes_and_budget(folder, ahead, resident):
    budget = REST + (resident + (2 if ahead else 1)) * LAYER
    streamed = StreamedDecoder(folder, SHAPE, Config(budget, ahead))
    tokens = some_tokens(2, 9, vocab=32)
    for passes in (1, 2):
        assert torch.allclose(streamed.hidden_states(tokens), lively(SHAPE).hidden_states(tokens), atol=1e-12)
        assert streamed.log.bytes_read == passes * (5 - min(resident, 5)) * LAYER
    assert streamed.log.peak_bytes <= budget
    assert streamed.log.passes == 2


def test_it_is_a_target_like_any_other(folder):
    streamed, model = StreamedDecoder(folder, SHAPE, Config(REST + 3 * LAYER)), lively(SHAPE)
    for prompt in prompts(5):
        made = generate(streamed, draft_model.Drafter(near(model, 0.1)), [prompt], 12).tokens[0]
        assert made == plain.generate(model, prompt[None], 12)[0].tolist()


def test_a_rate_slows_the_reading_down(folder):
    """Not a matter of speed but of the clock: 3 layers at 1 MB/s cannot take less than their bytes ask for."""
    streamed = StreamedDecoder(folder, SHAPE, Config(REST + 4 * LAYER, bytes_per_s=1e6))
    start = perf_counter()  # and not its wait alone: layers are read beside computing, however long that takes
    streamed.hidden_states(some_tokens(1, 3, vocab=32))
    assert perf_counter() - start >= 3 * LAYER / 1e6
    assert streamed.log.wait_s > 0


def test_too_small_a_budget_says_what_is_needed(folder):
    with pytest.raises(ValueError, match=f"at least {REST + 2 * LAYER:,}"):
        StreamedDecoder(folder, SHAPE, Config(1000))
    with pytest.raises(ValueError, match="bytes_per_s"):
        Config(1000, bytes_per_s=0)


def test_idle_is_called_only_while_waiting(folder):
    calls = []
    streamed = StreamedDecoder(folder, SHAPE, Config(REST + 7 * LAYER))
    streamed.idle = lambda: bool(calls.append(1)) or len(calls) < 3
    streamed.hidden_states(some_tokens(1, 3, vocab=32))
    assert not calls  # everything stays in memory
    streamed = StreamedDecoder(folder, SHAPE, Config(REST + 2 * LAYER, bytes_per_s=2e6))
    streamed.idle = lambda: bool(calls.append(1)) or len(calls) < 3
    streamed.hidden_states(some_tokens(1, 3, vocab=32))
    assert len(calls) >= 3


@pytest.mark.parametrize("ahead", [True, False])
@pytest.mark.parametrize("resident", [0, 1, 2, 5])
def test_layers_from_the_hosts_memory(ahead, resident):
    """The store of a GPU, on the CPU: two buffers used in turn never mix layers up."""
    model = lively(SHAPE)
    budget = REST + (resident + (2 if ahead else 1)) * LAYER
    streamed = StreamedDecoder(HostStore(model, "cpu"), SHAPE, Config(budget, ahead))
    tokens = some_tokens(2, 9, vocab=32)
    for _ in range(3):
        assert torch.allclose(streamed.hidden_states(tokens), model.hidden_states(tokens), atol=1e-12)
    assert streamed.log.bytes_read == 3 * (5 - resident) * LAYER
    assert streamed.log.peak_bytes <= budget


def test_a_pass_that_would_exceed_the_budget_ends(folder):
    streamed = StreamedDecoder(folder, SHAPE, Config(REST + 3 * LAYER))
    streamed.resident[1] = streamed.resident[0]  # somebody keeps more than was agreed
    with pytest.raises(MemoryError, match="budget"):
        streamed.hidden_states(some_tokens(1, 3, vocab=32))
