"""Every module of the family that has a `Config` is a technique, and says what a technique must."""

import ast
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import pytest

import reference_impls.cluster as family
from tests.measurement.test_headers import HEADER_FIELDS

MODULES = sorted(module.name for module in iter_modules(family.__path__))
TECHNIQUES = [name for name in MODULES if "\nPaper: " in (import_module(f"{family.__name__}.{name}").__doc__ or "")]


def test_the_policies_are_found():
    found = {"elastic", "fifo", "gandiva", "powerflow", "srtf", "tiresias", "zeus"}
    assert set(family.policies()) == found
    assert found | {"muxflow", "buddy", "matching", "monitor", "guard", "share_control"} <= set(TECHNIQUES)


@pytest.mark.parametrize("name", TECHNIQUES)
def test_header_has_every_field_in_order(name):
    text = import_module(f"{family.__name__}.{name}").__doc__
    places = [text.find(f"\n{field}: ") for field in HEADER_FIELDS]
    assert -1 not in places, f"{name}: its header lacks {HEADER_FIELDS[places.index(-1)]}"
    assert places == sorted(places)


@pytest.mark.parametrize("name", [name for name in TECHNIQUES if name != "trace_files"])
def test_a_config_is_frozen_and_has_defaults(name):
    config = import_module(f"{family.__name__}.{name}").Config
    assert config.__dataclass_params__.frozen
    assert config() == config()


@pytest.mark.parametrize("name", [name for name in MODULES if not name.startswith(("bench", "pair_worker"))])
def test_nothing_but_numpy_and_the_standard_library_is_imported(name):
    tree = ast.parse((Path(family.__path__[0]) / f"{name}.py").read_text())
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not {module for module in imported if module.partition(".")[0] in {"scipy", "pandas", "torch"}}
