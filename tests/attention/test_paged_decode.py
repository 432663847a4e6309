"""Reading through a table against gathering, for numbers and codes; the kernel on a GPU or under the interpreter."""

from contextlib import nullcontext

import pytest
import torch

from reference_impls import cpp
from reference_impls.attention import paged_decode, paged_decode_cpu
from reference_impls.attention.paged_decode import (
    Blocks,
    CodeBlocks,
    Rows,
    choose_path,
    decode,
    decode_part,
    in_place,
    obstacle,
    open_codes,
)
from reference_impls.kv_cache import kivi, paged
from reference_impls.kv_cache.compose import compose
from reference_impls.kv_cache.shape import CacheShape, shape_of
from reference_impls.models.attend import attend
from tests.attention.cases import made, naive
from tests.models.conftest import lively, seeded, some_tokens
from tests.triton_here import MISSING, needs_triton

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
needs_compiler = pytest.mark.skipif(cpp.compiler() is None, reason="needs a C++ compiler")
on_a_cpu = pytest.mark.skipif(DEVICE == "cuda", reason="loops for CPUs")
TOLERANCE = {torch.float32: 2e-6, torch.float16: 2e-3, torch.bfloat16: 1e-2}  # the inputs' own rounding
LENGTHS = [70, 1, 129]


def scattered(lengths, tokens_per_block, kv_heads=2, head_dim=16, dtype=torch.float64):
    """Sequences whose blocks lie in random order among others. -> blocks, rows, keys and values of each sequence"""
    generator = seeded(4)
    counts = [-(-length // tokens_per_block) for length in lengths]
    total = sum(counts) + 5
    shape = (total, 3, 2, kv_heads, tokens_per_block, head_dim)  # as in the pool: of three layers, the second is used
    storage = torch.randn(shape, generator=generator, dtype=torch.float64).to(DEVICE, dtype)
    free = torch.randperm(total, generator=generator).tolist()
    table = torch.zeros(len(lengths), max(counts), dtype=torch.long)
    for row, count in enumerate(counts):
        table[row, :count] = torch.tensor([free.pop() for _ in range(count)])
    blocks = Blocks(storage[:, 1, 0].transpose(1, 2), storage[:, 1, 1].transpose(1, 2))
    plain = [
        [part[table[row, :count]].flatten(0, 1)[:length].transpose(0, 1) for part in (blocks.keys, blocks.values)]
        for row, (count, length) in enumerate(zip(counts, lengths, strict=True))
    ]
    return blocks, Rows(table.to(DEVICE), torch.tensor(lengths).to(DEVICE)), plain


def queries_of(batch, heads=6, head_dim=16, dtype=torch.float64):
    return torch.randn(batch, heads, 1, head_dim, generator=seeded(6), dtype=torch.float64).to(DEVICE, dtype)


def relative(got, expected):
    return float((got.double() - expected.double()).norm() / expected.double().norm())


@pytest.mark.parametrize("tokens_per_block", [1, 7, 16])
def test_the_table_gives_what_each_sequence_alone_would(tokens_per_block):
    blocks, rows, plain = scattered(LENGTHS, tokens_per_block)
    queries = queries_of(3)
    got = decode(queries, blocks, rows, path="gather")
    for row, (keys, values) in enumerate(plain):
        alone = naive(queries[row : row + 1].cpu(), keys[None].cpu(), values[None].cpu())
        assert torch.allclose(got[row : row + 1].cpu(), alone, atol=1e-12)


@needs_triton
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("heads, kv_heads, head_dim", [(6, 2, 16), (9, 3, 64), (4, 4, 20), (8, 1, 32)])
def test_the_kernel_over_numbers_equals_the_oracle(heads, kv_heads, head_dim, dtype, mended):
    blocks, rows, _ = scattered(LENGTHS, 16, kv_heads, head_dim, dtype)
    queries = queries_of(3, heads, head_dim, dtype)
    assert obstacle(blocks, "triton") is None
    wide = Blocks(blocks.keys.double(), blocks.values.double())
    expected = paged_decode.reference(queries.double(), wide, rows)
    got = decode_part(queries, blocks, rows, path="triton")
    assert relative(got.mixed, expected.mixed) < TOLERANCE[dtype]
    assert torch.allclose(got.log_total.double(), expected.log_total, atol=5 * TOLERANCE[dtype])


def coded(bits, group=16, head_dim=32, tokens=70):
    """What a layer of a paged cache of codes holds. -> blocks, rows, the newest tokens, all keys and values as read"""
    shape = CacheShape(1, 2, 2, head_dim, 128)
    cache = compose(shape, ("kivi", kivi.Config(bits, group, 5)), ("paged", paged.Config(group, 32)))
    _, keys, values = made(1, tokens, kv_heads=2, head_dim=head_dim, dtype=torch.float32)
    for start in range(0, tokens, 23):
        whole = cache.append(0, keys[:, :, start : start + 23], values[:, :, start : start + 23])
    none = keys[:, :, :0]
    whole = cache.append(0, none, none)
    table = torch.tensor([row.blocks for row in cache.place.tables[0]])
    lengths = torch.tensor([row.length for row in cache.place.tables[0]])
    blocks = CodeBlocks(*(part.to(DEVICE) for part in cache.place.storage), bits)
    newest = tuple(part.to(DEVICE) for part in cache._tails[0])
    return blocks, Rows(table.to(DEVICE), lengths.to(DEVICE)), newest, whole


@pytest.mark.parametrize("path", ["gather", pytest.param("triton", marks=needs_triton)])
@pytest.mark.parametrize("bits", [2, 4, 8])
def test_codes_and_newest_tokens_equal_the_cache_that_reads_them_out(bits, path):
    blocks, rows, newest, (keys, values) = coded(bits)
    queries = queries_of(2, 6, 32, torch.float32)
    expected = naive(queries.double().cpu(), keys.double(), values.double())
    got = decode(queries, blocks, rows, newest, path)
    assert newest[0].shape[2] in range(5, 21)
    assert relative(got.cpu(), expected) < 5e-6


@needs_triton
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float16, 5e-3), (torch.bfloat16, 2e-2)], ids=str)
def test_half_precision_queries_over_codes(dtype, tolerance, mended):
    blocks, rows, newest, (keys, values) = coded(4)
    queries = queries_of(2, 6, 32, dtype)
    halves = tuple(part.to(dtype) for part in newest)
    got = decode(queries, blocks, rows, halves, path="triton")
    assert got.dtype == dtype
    assert relative(got.cpu(), naive(queries.double().cpu(), keys.double(), values.double())) < tolerance


def test_opened_codes_are_numbers_in_the_order_of_blocks():
    blocks, rows, _, (keys, _) = coded(8)
    plain = open_codes(blocks)
    assert plain.keys.shape == plain.values.shape == (32, 16, 2, 32)
    first = plain.keys[rows.table[1, 0]].transpose(0, 1)
    assert torch.allclose(first.cpu(), keys[1, :, :16], atol=1e-6)


def test_blocks_a_path_cannot_serve_are_refused_with_the_reason(monkeypatch):
    blocks, rows, _ = scattered([5], 4)
    turned = Blocks(blocks.keys.transpose(2, 3), blocks.values.transpose(2, 3))
    codes, *_ = coded(8, group=12, head_dim=24)
    if MISSING:
        assert "pip install triton" in obstacle(blocks, "triton")
    else:
        assert "lie together" in obstacle(Blocks(turned.keys.float(), turned.values.float()), "triton")
        assert "sums in float32, the blocks are torch.float64" in obstacle(blocks, "triton")
        assert "16, 32, ... tokens, got 12" in obstacle(codes, "triton")
        if DEVICE == "cpu":
            monkeypatch.delenv("TRITON_INTERPRET")
            assert "needs a CUDA GPU" in obstacle(blocks, "triton")
    if DEVICE == "cpu":
        assert "numbers only" in obstacle(codes, "cpu")
        assert "float32 or bfloat16, got torch.float64" in obstacle(blocks, "cpu")
        assert "lie together" in obstacle(Blocks(turned.keys.float(), turned.values.float()), "cpu")
    else:
        assert "they are on cuda" in obstacle(blocks, "cpu")
    with pytest.raises(ValueError, match=r"path triton (needs|sums)"):
        decode_part(queries_of(1), turned, rows, path="triton")
    with pytest.raises(ValueError, match="one of cpu, triton, gather, got 'kernel'"):
        decode_part(queries_of(1), blocks, rows, path="kernel")


@needs_compiler
@on_a_cpu
@pytest.mark.parametrize("tokens_per_block", [1, 7, 16, 100])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize(
    "heads, kv_heads, head_dim", [(6, 2, 16), (9, 3, 64), (4, 4, 20), (8, 1, 130), (2, 1, 3), (4, 2, 108)]
)
def test_the_loops_in_cpp_equal_the_oracle(heads, kv_heads, head_dim, dtype, tokens_per_block):
    blocks, rows, _ = scattered([70, 1, 129, 64], tokens_per_block, kv_heads, head_dim, dtype)
    queries = queries_of(4, heads, head_dim, dtype)
    wide = Blocks(blocks.keys.double(), blocks.values.double())
    expected = paged_decode.reference(queries.double(), wide, rows)
    got = decode_part(queries, blocks, rows, path="cpu")
    assert relative(got.mixed, expected.mixed) < 2e-7  # bfloat16 is widened exactly, sums are in float32
    assert torch.allclose(got.log_total.double(), expected.log_total, atol=2e-6)
    assert decode(queries, blocks, rows).dtype == dtype


@pytest.mark.parametrize("path", [None, "gather"])
def test_a_path_is_asked_once_whether_it_can_serve(monkeypatch, path):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    blocks, rows, _ = scattered(LENGTHS, 16, dtype=torch.float64)
    asked, answer = [], paged_decode.obstacle
    monkeypatch.setattr(paged_decode, "obstacle", lambda held, one: asked.append(one) or answer(held, one))
    decode_part(queries_of(3, dtype=torch.float64), blocks, rows, path)
    assert asked.count("gather") == 1


@needs_compiler
@on_a_cpu
@pytest.mark.parametrize("size", [1e-3, 30.0, 1e4])
def test_scores_of_any_size_and_any_number_of_threads(size):
    blocks, rows, _ = scattered(LENGTHS, 16, dtype=torch.float32)
    queries = size * queries_of(3, dtype=torch.float32)
    expected = paged_decode.reference(queries.double(), Blocks(blocks.keys.double(), blocks.values.double()), rows)
    before = torch.get_num_threads()
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            # rounding of scores of `size` moves shares by as much of it
            assert relative(decode_part(queries, blocks, rows, "cpu").mixed, expected.mixed) < 1e-6 * max(1, size)
    finally:
        torch.set_num_threads(before)


@needs_compiler
@on_a_cpu
@pytest.mark.parametrize("where", ["keys", "values", "queries"])
def test_what_is_no_number_reaches_its_row_alone(where):
    blocks, rows, _ = scattered(LENGTHS, 16, dtype=torch.float32)
    queries = queries_of(3, dtype=torch.float32)
    if where == "queries":
        queries[0, :, 0, 3] = float("nan")
    else:
        getattr(blocks, where)[rows.table[0, 2], 1, :, 3] = float("nan")
    mixed = decode_part(queries, blocks, rows, "cpu").mixed
    assert mixed[0].isnan().any(-1).all()
    assert mixed[1:].isfinite().all()


def sixteen_steps(model, cache, texts, reads_in_place):
    """Logits of steps after a prefill, rows of different lengths."""
    with in_place(model, cache) if reads_in_place else nullcontext():
        found = [model(texts[:, step : step + 1], cache, *cache.inputs(1)) for step in range(16)]
        several = model(texts[:, 16:19], cache, *cache.inputs(3))
    return torch.cat([*found, several], 1)


@pytest.mark.parametrize(
    ("path", "dtype", "tolerance"),
    [
        pytest.param("cpu", torch.float32, 1e-5, marks=[needs_compiler, on_a_cpu]),
        pytest.param("triton", torch.float32, 1e-5, marks=[needs_triton, on_a_cpu]),
        pytest.param("gather", torch.float64, 1e-12),
    ],
    ids=str,
)
def test_a_decoder_that_reads_in_place_says_what_one_that_gathers_says(path, dtype, tolerance, monkeypatch):
    monkeypatch.setattr(paged_decode, "choose_path", lambda _: path)
    model = lively().to(dtype)
    texts = some_tokens(2, 19)
    found = []
    for reads_in_place in (False, True):
        pool = paged.PagedPool(shape_of(model), paged.Config(4, 40))
        rows = [pool.new_sequence() for _ in texts]
        for row, length in zip(rows, (9, 2), strict=True):
            model(some_tokens(1, length), pool.batch([row]))
        found.append(sixteen_steps(model, pool.batch(rows), texts, reads_in_place))
    assert torch.allclose(found[0], found[1], atol=tolerance)


@on_a_cpu
def test_where_the_loops_do_not_compile_a_decoder_gathers(monkeypatch, tmp_path):
    wrong = tmp_path / "wrong.cpp"
    wrong.write_text("int main( {")
    monkeypatch.setattr(paged_decode_cpu, "SOURCE", wrong)
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    model = lively().float()
    pool = paged.PagedPool(shape_of(model), paged.Config(4, 40))
    cache = pool.batch([pool.new_sequence()])
    with in_place(model, cache) as path:
        assert path == "gather"
        assert model(some_tokens(1, 1), cache).isfinite().all()


@needs_compiler
def test_in_place_gives_the_model_back_and_refuses_what_it_would_pass_over():
    model = lively().float()
    pool = paged.PagedPool(shape_of(model), paged.Config(4, 40))
    cache = pool.batch([pool.new_sequence()])
    model(some_tokens(1, 5), cache)
    layers = [block.attention for block in model.blocks]
    with in_place(model, cache) as path:
        assert path == choose_path(Blocks(*pool.layers[0])) == "cpu"
        with pytest.raises(ValueError, match="no mask but the one"):
            model(some_tokens(1, 1), cache, None, torch.ones(1, 1, 1, 6, dtype=torch.bool))
        cache.crop(5)
        model(some_tokens(1, 1), cache)
        with pytest.raises(ValueError, match="a way of its own"), in_place(model, cache):
            pass
    assert all(layer.attend is attend for layer in layers)
    assert cache.gathers
    layers[0].attend = lambda queries, keys, values, mask: queries
    with pytest.raises(ValueError, match="a way of its own"), in_place(model, cache):
        pass
