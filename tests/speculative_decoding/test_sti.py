"""STI's shards: what is read is what rounding in memory gives; plans keep within their bytes and serve importance."""

from itertools import product
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from reference_impls.models.decoder import Config as Shape
from reference_impls.quantization.grid import GridConfig, decode_weight, round_weight
from reference_impls.speculative_decoding import sti
from reference_impls.speculative_decoding.layer_store import nbytes, split
from reference_impls.speculative_decoding.layer_stream import Config, StreamedDecoder
from tests.models.conftest import lively
from tests.speculative_decoding.conftest import some_tokens

SHAPE = Shape(vocab=32, hidden=32, layers=4, heads=4, kv_heads=2, head_dim=8, ffn=64, max_positions=128)


def model():
    return lively(SHAPE, torch.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("shards")
    sti.write_shards(model(), path)
    return path


def streamed(folder: Path, widths: list[int]) -> StreamedDecoder:
    return StreamedDecoder(sti.ShardStore(folder, widths), SHAPE, Config(10**9))


def test_full_width_is_the_target(folder):
    tokens = some_tokens(1, 9, vocab=32)
    own = streamed(folder, [sti.FULL] * 4)
    assert torch.allclose(own.hidden_states(tokens), model().hidden_states(tokens), atol=1e-5)


def test_what_is_read_is_what_rounding_gives(folder):
    widths = [2, 4, 8, sti.FULL]
    rounded = model()
    with torch.no_grad():
        for bits, block in zip(widths, rounded.blocks, strict=True):
            for parameter in block.parameters():
                if bits and parameter.dim() == 2:
                    parameter.copy_(decode_weight(round_weight(parameter, GridConfig(bits, 32))))
    tokens = some_tokens(1, 9, vocab=32)
    assert torch.allclose(streamed(folder, widths).hidden_states(tokens), rounded.hidden_states(tokens), atol=1e-5)


def test_bytes_of_a_pass_are_those_of_the_plan(folder):
    sizes = sti.shard_sizes(folder, 4)
    widths = [2, 8, 2, 4]
    layer = nbytes(split(model())[0][0])
    rest = nbytes(split(model())[1])
    budget = rest + layer + max(size[bits] for size, bits in zip(sizes, widths, strict=True))
    own = StreamedDecoder(sti.ShardStore(folder, widths), SHAPE, Config(budget))
    own.hidden_states(some_tokens(1, 3, vocab=32))
    assert own.log.bytes_read == sum(size[bits] for size, bits in zip(sizes, widths, strict=True))
    assert own.log.peak_bytes <= budget
    assert all(size[2] < size[4] < size[8] < size[sti.FULL] for size in sizes)


@given(
    scale=st.lists(st.integers(1, 5), min_size=2, max_size=4),
    weight=st.permutations([1.0, 2.0, 3.0, 4.0]),
    allowed=st.integers(2, 200),
)
def test_plans_fit_and_no_layer_could_be_wider(scale, weight, allowed):
    sizes = [{bits: one * (bits or 32) for bits in sti.WIDTHS} for one in scale]
    if sum(size[2] for size in sizes) > allowed:
        with pytest.raises(ValueError, match="at least"):
            sti.plan(sizes, weight[: len(sizes)], allowed)
        return
    chosen = sti.plan(sizes, weight[: len(sizes)], allowed)
    spent = sum(size[bits] for size, bits in zip(sizes, chosen, strict=True))
    assert spent <= allowed
    for size, bits in zip(sizes, chosen, strict=True):
        wider = [other for other in sti.WIDTHS if size[other] > size[bits]]
        assert all(spent - size[bits] + size[other] > allowed for other in wider)


def test_importance_decides_who_is_wider():
    sizes = [{bits: bits or 32 for bits in sti.WIDTHS}] * 3
    for order in product([1.0, 2.0, 3.0], repeat=3):
        if len(set(order)) == 3:
            chosen = sti.plan(sizes, order, 3 * 4 + 4)
            assert chosen[order.index(3.0)] == 8
            assert sorted(chosen) == [4, 4, 8]


def test_importance_is_the_harm_of_rounding(folder):
    """A layer whose output is nothing does no harm; the others do, and more bits do less."""
    own = model()
    with torch.no_grad():
        own.blocks[1].attention.output.weight.zero_()
        own.blocks[1].ffn.down.weight.zero_()
    tokens = some_tokens(2, 12, vocab=32)
    harm = sti.importance(own, tokens)
    assert harm[1] == pytest.approx(0, abs=1e-6)
    assert min(harm[0], harm[2], harm[3]) > 1e-3
    assert sum(sti.importance(own, tokens, bits=8)) < sum(harm)
