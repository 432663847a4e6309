"""Bytes against what this package's decoder, packed weights and caches really take, and against published files."""

import os
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from reference_impls.cost_model import KvFormat, Settings, Shape, Tables, WeightFormat
from reference_impls.cost_model.memory import (
    heavier_layers,
    kv_bytes,
    kv_bytes_per_token,
    linear_bytes,
    matrix_bytes,
    touched_linear_bytes,
    vector_bytes,
    weight_bytes,
    work_bytes,
)
from reference_impls.cost_model.parameters import linears, total_parameters
from reference_impls.cost_model.records import Linear
from reference_impls.models.decoder import Config, Decoder
from reference_impls.models.gguf import GGUFFile
from reference_impls.models.shapes import SHAPES, random_model
from reference_impls.quantization import fp8, nf4, rtn
from reference_impls.quantization.apply import quantize_model
from reference_impls.quantization.apply import weight_bytes as allocated
from reference_impls.quantization.packed import PackedLinear, pack
from tests.cost_model.conftest import shape_of

SMALL = Config(vocab=320, hidden=128, layers=2, heads=4, kv_heads=2, head_dim=32, ffn=256, tied=False)
LAYOUT = 12  # bytes a packed layer keeps to describe itself
GRIDS = {
    "int8": rtn.Config(bits=8, group_size=None, symmetric=True),
    "int4-g128": rtn.Config(bits=4, group_size=128),
    "int4-g64": rtn.Config(bits=4, group_size=64),
    "int4-g32": rtn.Config(bits=4, group_size=32),
    "int2-g64": rtn.Config(bits=2, group_size=64),
}
"""Formats of the table that this package packs."""


def small_model(config: Config = SMALL, dtype: torch.dtype = torch.bfloat16) -> Decoder:
    return random_model(config, torch.Generator().manual_seed(0), dtype)


@pytest.mark.parametrize("name", ["tiny-target", "tiny-draft", "smollm2-135m"])
@pytest.mark.parametrize(("form", "dtype"), [("float32", torch.float32), ("bf16", torch.bfloat16)])
def test_unrounded_weights_take_what_the_decoder_takes(
    tables: Tables, name: str, form: str, dtype: torch.dtype
) -> None:
    with torch.device("meta"):
        model = Decoder(SHAPES[name]).to(dtype)
    model.tie()  # .to() on the meta device parts them
    assert weight_bytes(tables.shape(name), tables.weights[form]) == allocated(model)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("form", sorted(GRIDS))
def test_packed_models_take_what_is_predicted(tables: Tables, form: str, tied: bool) -> None:
    config = replace(SMALL, tied=tied)
    packed = quantize_model(small_model(config), rtn, GRIDS[form], effect="packed")
    layers = [module for module in packed.modules() if isinstance(module, PackedLinear)]
    assert sum(layer.nbytes for layer in layers) == linear_bytes(shape_of(config), tables.weights[form])
    assert allocated(packed) - LAYOUT * len(layers) == weight_bytes(shape_of(config), tables.weights[form])


@pytest.mark.parametrize("form", ["int8", "int4-g64", "int4-g32", "int2-g64"])
def test_packed_matrices_of_smollm2_take_what_is_predicted(tables: Tables, form: str) -> None:
    generator = torch.Generator().manual_seed(0)
    for one in linears(tables.shape("smollm2-135m")):
        if one.copies:
            weight = torch.randn(one.rows, one.columns, generator=generator).to(torch.bfloat16)
            packed = pack(rtn.quantize(weight, GRIDS[form]))
            assert packed.nbytes == matrix_bytes(one, 30, tables.weights[form])


@pytest.mark.parametrize("rows", [1, 96, 260])
def test_formats_that_count_their_own_bits_agree(tables: Tables, rows: int) -> None:
    weight = torch.randn(rows, 256, generator=torch.Generator().manual_seed(0))
    one = Linear(rows=rows, columns=256, copies=1, share=1, heavy=False)
    records: list[tuple[str, Any]] = [
        ("nf4", nf4.quantize(weight, nf4.Config())),
        ("fp8", fp8.quantize(weight, fp8.Config(per_channel=True))),
    ]
    for form, record in records:
        assert matrix_bytes(one, 1, tables.weights[form]) * 8 == pytest.approx(record.bits_per_weight * rows * 256)


@pytest.mark.parametrize("name", ["tiny-target", "tiny-draft", "smollm2-135m"])
@pytest.mark.parametrize(("form", "dtype"), [("float32", torch.float32), ("bf16", torch.bfloat16)])
def test_the_cache_takes_what_is_predicted(tables: Tables, name: str, form: str, dtype: torch.dtype) -> None:
    with torch.device("meta"):
        cache = Decoder(SHAPES[name]).to(dtype).new_cache(batch=3, capacity=77)
    assert cache.storage.nbytes == kv_bytes(tables.shape(name), tables.kv[form], 77, 3)


def test_tensors_of_a_gguf_file_take_what_is_predicted(tables: Tables) -> None:
    path = os.environ.get("SMOLLM2_GGUF")
    if not path:
        pytest.skip("SMOLLM2_GGUF names no file")
    held = sum(tensor.size_bytes for tensor in GGUFFile(path).tensors.values())
    # its table of tokens is a head in Q8_0: 576 columns have no K format
    form = replace(tables.weights["gguf-q4_1"], head_bits=8.5)
    assert weight_bytes(tables.shape("smollm2-135m"), form) == held


@pytest.mark.parametrize(
    ("model", "form", "gigabytes"),
    [
        ("llama-2-7b", "gguf-q4_0", 3.83),
        ("llama-2-7b", "gguf-q4_k_m", 4.08),
        ("llama-2-7b", "gguf-q8_0", 7.16),
        ("llama-3-8b", "gguf-q4_k_m", 4.92),
        ("llama-3-8b", "gguf-q8_0", 8.54),
    ],
)
def test_gguf_files_have_their_published_size(tables: Tables, model: str, form: str, gigabytes: float) -> None:
    """Sizes as model pages list them, tokenizer included: at most 10 MB of it, and a rounding of 5 MB."""
    predicted = weight_bytes(tables.shape(model), tables.weights[form]) / 1e9
    assert gigabytes - 0.015 < predicted <= gigabytes + 0.005


def test_heavier_layers_as_llama_cpp_chooses_them() -> None:
    """32 layers: 4 at each end, and of the 24 between those whose distance from the first is 2, 5, 8, …"""
    chosen = [at for at in range(32) if at < 4 or at >= 28 or (at - 4) % 3 == 2]
    assert heavier_layers(32) == len(chosen) == 16


@pytest.mark.parametrize(
    ("model", "per_token"),
    [
        ("llama-2-7b", 2 * 32 * 32 * 128 * 2),  # multi-head: half a mebibyte
        ("llama-3-8b", 2 * 32 * 8 * 128 * 2),  # grouped: a quarter of that
        ("falcon-7b", 2 * 32 * 1 * 64 * 2),  # one key-value head
        ("deepseek-v3", 61 * 576 * 2),  # one latent of 512 + 64 a layer
        ("jamba-v0.1", 2 * 4 * 8 * 128 * 2),  # 4 of 32 layers attend
        ("mamba-2.8b", 0),
    ],
)
def test_bytes_a_token_by_hand(tables: Tables, model: str, per_token: int) -> None:
    shape, form = tables.shape(model), tables.kv["bf16"]
    assert kv_bytes(shape, form, 1001, 1) - kv_bytes(shape, form, 1000, 1) == per_token


def test_a_window_stops_growing_and_global_layers_do_not(tables: Tables) -> None:
    shape, form = tables.shape("gemma-3-1b"), tables.kv["bf16"]
    each = kv_bytes_per_token(shape, form)
    assert kv_bytes(shape, form, 512, 1) == 26 * 512 * each
    assert kv_bytes(shape, form, 513, 1) - kv_bytes(shape, form, 512, 1) == shape.global_layers * each
    only_windows = tables.shape("mistral-7b-v0.1")
    assert kv_bytes(only_windows, form, 4096, 1) == kv_bytes(only_windows, form, 32768, 1)


@pytest.mark.parametrize(("form", "times"), [("int4-g32", 3.2), ("int2-g32", 16 / 3), ("fp8", 2.0)])
def test_cache_formats_save_their_ratio(tables: Tables, form: str, times: float) -> None:
    assert vector_bytes(128, tables.kv["bf16"]) / vector_bytes(128, tables.kv[form]) == pytest.approx(times)


@pytest.mark.parametrize(("form", "ratio"), [("int4-g128", 16 / 4.25), ("int4-g64", 16 / 4.5), ("int4-g32", 3.2)])
def test_weight_formats_save_their_ratio(tables: Tables, form: str, ratio: float) -> None:
    shape = tables.shape("llama-3-8b")
    assert linear_bytes(shape, tables.weights["bf16"]) / linear_bytes(shape, tables.weights[form]) == pytest.approx(
        ratio
    )


def test_experts_touched_by_enumeration() -> None:
    """Two of four experts, three tokens: the mean number touched over all 6^3 choices."""
    from itertools import combinations, product

    choices = list(combinations(range(4), 2))
    touched = [len(set().union(*chosen)) for chosen in product(choices, repeat=3)]
    shape = Shape(hidden=8, vocab=8, global_layers=1, heads=1, kv_heads=1, head_dim=8, moe_layers=1)
    moe = replace(shape, experts=4, active_experts=2, expert_ffn=8)
    form = WeightFormat(bits=16)
    dense = touched_linear_bytes(shape, form, 3)
    assert touched_linear_bytes(moe, form, 3) - dense == pytest.approx(sum(touched) / len(touched) * 3 * 64 * 2)


FORMS = st.builds(WeightFormat, bits=st.sampled_from([2, 4, 8, 16]), group_size=st.sampled_from([0, 32, 64, 128]),
                  scale_bits=st.sampled_from([0, 16, 32]))  # fmt: skip
NAMES = st.sampled_from(
    ["llama-3-8b", "deepseek-v2-lite", "mixtral-8x7b", "jamba-v0.1", "gemma-2-9b", "gpt2", "mamba-130m"]
)


@given(name=NAMES, form=FORMS)
def test_fewer_bits_never_take_more(name: str, form: WeightFormat) -> None:
    from reference_impls.cost_model import load_tables

    shape = load_tables().shape(name)
    assert weight_bytes(shape, replace(form, bits=form.bits / 2)) < weight_bytes(shape, form)
    assert weight_bytes(shape, replace(form, scale_bits=0)) <= weight_bytes(shape, form)
    assert weight_bytes(shape, WeightFormat(bits=16)) == 2 * total_parameters(shape)


@given(context=st.integers(1, 10**6), batch=st.integers(1, 64), bits=st.sampled_from([2, 4, 8, 16]))
def test_the_cache_grows_with_context_and_in_proportion_to_batch(context: int, batch: int, bits: int) -> None:
    shape = Shape(hidden=8, vocab=8, global_layers=2, window_layers=3, window=100, heads=2, kv_heads=1, head_dim=16)
    form = KvFormat(bits=bits)
    assert kv_bytes(shape, form, context + 1, batch) > kv_bytes(shape, form, context, batch)
    assert kv_bytes(shape, form, context, batch) == batch * kv_bytes(shape, form, context, 1)


def test_working_memory_of_a_step_is_small_beside_that_of_a_prompt(tables: Tables) -> None:
    shape = tables.shape("llama-3-8b")
    step, prompt = work_bytes(shape, Settings(context=1)), work_bytes(shape, Settings(context=4096))
    assert step < prompt == work_bytes(shape, Settings(context=10**6))
