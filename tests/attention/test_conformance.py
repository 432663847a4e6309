"""Every module that is found keeps the family's face and computes the same attention."""

import dataclasses
from importlib import import_module
from inspect import signature
from pkgutil import iter_modules

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from reference_impls import attention
from reference_impls.attention import HEADER_FIELDS, methods
from tests.attention.cases import made, naive

METHODS = methods()
HELPERS = {"parts"}
TECHNIQUES = [
    found.name for found in iter_modules(attention.__path__) if found.name not in HELPERS and "bench" not in found.name
]
every_method = pytest.mark.parametrize("name", METHODS)


def test_all_known_methods_are_found():
    assert set(METHODS) == {"flash", "split_kv"}


@pytest.mark.parametrize("name", TECHNIQUES)
def test_header_has_every_field(name):
    doc = import_module(f"reference_impls.attention.{name}").__doc__
    missing = [field for field in HEADER_FIELDS if f"\n{field}: " not in doc]
    assert not missing, f"{name}: its header lacks {missing}"


@every_method
def test_face(name):
    assert list(signature(METHODS[name].attend).parameters) == ["queries", "keys", "values", "config"]
    config = METHODS[name].Config()
    field = dataclasses.fields(config)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(config, field, 1)
    with pytest.raises(ValueError, match="at least 1, got"):
        dataclasses.replace(config, **{field: 0})


@every_method
@given(q_seq=st.integers(1, 9), more=st.integers(0, 40), part=st.integers(1, 50), seed=st.integers(0, 9))
def test_any_split_equals_softmax_attention_in_float64(name, q_seq, more, part, seed):
    queries, keys, values = made(q_seq, q_seq + more, seed=seed)
    field = dataclasses.fields(METHODS[name].Config())[-1].name
    config = dataclasses.replace(METHODS[name].Config(), **{field: part})
    got = METHODS[name].attend(queries, keys, values, config)
    assert torch.allclose(got, naive(queries, keys, values), atol=1e-13)


@every_method
@pytest.mark.parametrize("size", [1e-3, 8.0, 60.0])
def test_large_scores_do_not_overflow(name, size):
    queries, keys, values = made(5, 33, size=size, dtype=torch.float32)
    got = METHODS[name].attend(queries, keys, values, METHODS[name].Config())
    wide = naive(*(x.double() for x in (queries, keys, values)))
    assert torch.isfinite(got).all()
    assert torch.allclose(got.double(), wide, atol=2e-4 * size)
