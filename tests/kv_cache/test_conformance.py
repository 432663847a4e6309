"""Every module that is found keeps its face, and loses nothing at its identity."""

import ast
import dataclasses
from importlib import import_module
from inspect import getsource, signature
from pkgutil import iter_modules

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from reference_impls import kv_cache
from reference_impls.kv_cache import HEADER_FIELDS, CacheView, caches, evict, evictions
from tests.kv_cache.models import MODEL, PROMPT, expected, run, shape
from tests.models.conftest import seeded

CACHES, EVICTIONS = caches(), evictions()
HELPERS = {"evict", "sealed", "shape", "tiers", "links", "evaluate"}
TECHNIQUES = [
    found.name for found in iter_modules(kv_cache.__path__) if found.name not in HELPERS and "bench" not in found.name
]
every_eviction = pytest.mark.parametrize("name", EVICTIONS)


def view_of(kv_seq, seed=0, kv_heads=3, window=4):
    generator = seeded(seed)
    keys, values = (torch.randn(2, kv_heads, kv_seq, 8, generator=generator) for _ in range(2))
    shares = torch.rand(2, kv_heads, window, kv_seq, generator=generator).softmax(-1)
    return CacheView(keys, values, shares, shares.sum(2))


def test_all_known_methods_are_found():
    assert set(CACHES) == {"kivi", "offload", "paged"}
    assert set(EVICTIONS) == {"h2o", "random_eviction", "snapkv", "streaming_llm"}


@pytest.mark.parametrize("name", TECHNIQUES)
def test_header_has_every_field(name):
    doc = import_module(f"reference_impls.kv_cache.{name}").__doc__
    missing = [field for field in HEADER_FIELDS if f"\n{field}: " not in doc]
    assert not missing, f"{name}: its header lacks {missing}"


@pytest.mark.parametrize("name", TECHNIQUES)
def test_functions_on_tensors_tell_their_shapes(name):
    source = getsource(import_module(f"reference_impls.kv_cache.{name}"))
    functions = [node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef)]
    public = [node for node in functions if not node.name.startswith("_") and "Tensor" in ast.unparse(node.args)]
    silent = [node.name for node in public if "(" not in (ast.get_docstring(node) or "")]
    assert not silent, f"{name}: no shapes in {silent}"


@pytest.mark.parametrize("name", [*CACHES, *EVICTIONS])
def test_config_is_frozen_and_has_defaults(name):
    config = {**CACHES, **EVICTIONS}[name].Config()
    field = dataclasses.fields(config)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(config, field, getattr(config, field))


@pytest.mark.parametrize("name", CACHES)
def test_a_cache_at_its_identity_loses_nothing(name):
    cache = CACHES[name].new_cache(shape(), CACHES[name].IDENTITY)
    assert torch.allclose(run(cache), expected(), atol=1e-10)
    assert cache.length == 70


@every_eviction
def test_a_method_at_its_identity_loses_nothing(name):
    method = EVICTIONS[name]
    cache = evict.new_cache(shape(), method, method.IDENTITY)
    with evict.observing(MODEL, cache):
        assert torch.allclose(run(cache), expected(), atol=1e-10)
    assert (cache.length, cache.held) == (70, 70)


@every_eviction
def test_a_budget_of_the_whole_text_is_exact(name):
    method = EVICTIONS[name]
    cache = evict.new_cache(shape(), method, dataclasses.replace(method.Config(), budget=70))
    with evict.observing(MODEL, cache):
        assert torch.allclose(run(cache), expected(), atol=1e-10)


@every_eviction
def test_the_signature_is_the_familys(name):
    assert list(signature(EVICTIONS[name].keep_indices).parameters) == ["view", "config"]


@every_eviction
@given(kv_seq=st.integers(1, 60), budget=st.integers(16, 50))
def test_what_is_kept_is_ascending_within_the_budget_and_a_head_each(name, kv_seq, budget):
    method, view = EVICTIONS[name], view_of(kv_seq)
    keep = method.keep_indices(view, dataclasses.replace(method.Config(), budget=budget))
    assert keep.shape == (2, 3, min(kv_seq, budget))
    assert (keep.diff(dim=-1) > 0).all()
    assert 0 <= int(keep.min()) <= int(keep.max()) == kv_seq - 1  # the newest token always stays
    if kv_seq <= budget:
        assert torch.equal(keep, torch.arange(kv_seq).expand(2, 3, -1))


@pytest.mark.parametrize("name", ["h2o", "random_eviction", "streaming_llm"])
def test_no_budget_is_ever_exceeded_between_passes(name):
    method = EVICTIONS[name]
    cache = evict.new_cache(shape(), method, dataclasses.replace(method.Config(), budget=20))
    numbers = 2 * 2 * 2 * 3 * 16 * 8  # keys and values, rows, heads, layers, head_dim, bytes
    with evict.observing(MODEL, cache):
        for tokens in (PROMPT, PROMPT[:, :5], PROMPT[:, :1], PROMPT[:, :1]):
            MODEL(tokens, cache)
            assert cache.held == 20
            assert cache.nbytes == 20 * numbers
