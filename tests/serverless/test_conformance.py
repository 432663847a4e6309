"""Every module carries the header's fields, and starting an instance imports no torch before its handler asks."""

import subprocess
import sys
from importlib import import_module

import pytest

from reference_impls.serverless import HEADER_FIELDS, load_handler, modules
from reference_impls.serverless.runner import ROOT


def test_the_parts_are_found():
    assert {"runner", "cost", "memory_tuning", "keep_alive", "config_check", "replay", "adapters"} <= modules().keys()


@pytest.mark.parametrize("name", modules())
def test_header_has_every_field(name):
    doc = import_module(f"reference_impls.serverless.{name}").__doc__
    missing = [field for field in HEADER_FIELDS if f"\n{field}: " not in doc]
    assert not missing, f"{name}: its header lacks {missing}"


@pytest.mark.parametrize("name", ["Generate", "GeneratePacked", "EagerGenerate"])
def test_handlers_keep_the_face(name):
    handler = load_handler(f"reference_impls.serverless.handlers:{name}")
    handler.imports()
    assert all(callable(getattr(handler, verb)) for verb in ("imports", "load", "invoke"))


def test_an_instance_starts_without_torch():
    code = "import sys, reference_impls.serverless.worker; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
