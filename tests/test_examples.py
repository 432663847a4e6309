"""Every example of the site runs as it stands and says something."""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("safetensors")

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted((ROOT / "site" / "examples").glob("*.py"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_an_example_runs(file, capsys):
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        runpy.run_path(str(file))
    finally:
        torch.set_num_threads(threads)
    assert capsys.readouterr().out.strip()


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_an_example_is_short_and_says_what_it_shows(file):
    lines = file.read_text("utf-8").splitlines()
    assert len(lines) <= 40
    assert lines[0].startswith('"""')
    assert lines[1] == ""  # a title, then a paragraph


def test_the_package_imports_nothing_but_torch_and_numpy_and_does_no_work():
    code = (
        "import sys, threading; before = threading.active_count(); import reference_impls, pkgutil, importlib\n"
        "assert 'torch' not in sys.modules and 'numpy' not in sys.modules, 'the package itself loads them'\n"
        "import torch, numpy; rng, threads = torch.get_rng_state(), torch.get_num_threads()\n"
        "for found in pkgutil.iter_modules(reference_impls.__path__):\n"
        "    importlib.import_module('reference_impls.' + found.name)\n"
        "assert torch.equal(rng, torch.get_rng_state()) and threads == torch.get_num_threads()\n"
        "assert threading.active_count() == before\n"
        "heavy = {'transformers', 'scipy', 'safetensors', 'tokenizers', 'ray', 'pydantic'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
