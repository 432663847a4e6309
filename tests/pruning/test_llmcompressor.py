"""The same masks as llm-compressor's on the same weights and calibration rows, where another Python has it.

$LLMCOMPRESSOR_PYTHON names that Python: the package wants a transformers of its own.
"""

import os
import subprocess

import pytest
import torch

from reference_impls.pruning import sparsegpt, wanda
from reference_impls.pruning.apply import prune_weight
from reference_impls.quantization.calibration import Calibration, stats_of
from reference_impls.quantization.linears import find_linears

pytestmark = pytest.mark.slow
LAYERS = ("blocks.0.attention.query", "blocks.2.ffn.gate", "blocks.5.ffn.down")
CONFIGS = {"half": {"sparsity": 0.5}, "most": {"sparsity": 0.7}, "2-of-4": {"n_of_m": (2, 4)}}
CHILD = """
import sys, torch
from llmcompressor.modifiers.pruning.wanda import wanda_sparsify as wanda
from llmcompressor.modifiers.pruning.sparsegpt import sgpt_sparsify as sparsegpt

torch.set_num_threads(1)
given, found = torch.load(sys.argv[1]), {}
for name, (weight, rows) in given["layers"].items():
    layer = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    layer.weight.data = weight
    for config, (share, n, m) in given["configs"].items():
        scalars, _ = wanda.accumulate_row_scalars(rows, layer, wanda.make_empty_row_scalars(layer), 0)
        found[name, config, "wanda"] = wanda.sparsify_weight(layer, {layer: scalars}, share, n, m)
        hessian, _ = sparsegpt.accumulate_hessian(rows, layer, sparsegpt.make_empty_hessian(layer), 0)
        with torch.no_grad():
            _, pruned = sparsegpt.sparsify_weight(layer, {layer: hessian}, share, n, m, 128, 0.01, False)
        found[name, config, "sparsegpt"] = pruned
torch.save(found, sys.argv[2])
"""


def real_layers():
    """Weights of the tiny target, each with the rows it is given on held-out text."""
    tiny = pytest.importorskip("reference_impls.models.tiny")
    pytest.importorskip("tokenizers", reason="tokenizers is not installed")
    model = tiny.load_target().eval().requires_grad_(False)
    layers, rows = find_linears(model), {}
    handles = [
        layers[name].register_forward_pre_hook(lambda _layer, given, name=name: rows.update({name: given[0][0]}))
        for name in LAYERS
    ]
    [batch] = Calibration([tiny.heldout_tokens(1000)[None]]).batches
    with torch.no_grad():
        model(batch)
    for handle in handles:
        handle.remove()
    return {name: (layers[name].weight.detach(), rows[name].clone()) for name in LAYERS}


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """Ours and theirs: (layer, config, method) -> weight."""
    python = os.environ.get("LLMCOMPRESSOR_PYTHON")
    if not python:
        pytest.skip("$LLMCOMPRESSOR_PYTHON names no Python with llm-compressor")
    layers, folder = real_layers(), tmp_path_factory.mktemp("peer")
    removed = {
        name: (config.get("sparsity", 0.5), *((2, 4) if "n_of_m" in config else (0, 0)))
        for name, config in CONFIGS.items()
    }
    torch.save({"layers": layers, "configs": removed}, folder / "given.pt")
    subprocess.run([python, "-c", CHILD, folder / "given.pt", folder / "found.pt"], check=True, capture_output=True)
    ours = {
        (name, config, method.__name__.rpartition(".")[2]): prune_weight(
            weight, method, method.Config(**options), stats_of(rows)
        )
        for name, (weight, rows) in layers.items()
        for config, options in CONFIGS.items()
        for method in (wanda, sparsegpt)
    }
    return ours, torch.load(folder / "found.pt")


@pytest.mark.parametrize("method", ["wanda", "sparsegpt"])
@pytest.mark.parametrize("config", CONFIGS)
@pytest.mark.parametrize("layer", LAYERS)
def test_masks_are_the_same(both, layer, config, method):
    ours, theirs = (found[layer, config, method] for found in both)
    assert ((ours != 0) == (theirs != 0)).float().mean() >= 0.999
    other = both[1][layer, config, "sparsegpt" if method == "wanda" else "wanda"]
    assert ((ours != 0) == (other != 0)).float().mean() < 0.99  # so that the test can fail


@pytest.mark.parametrize("layer", LAYERS)
def test_what_sparsegpt_moves_the_kept_weights_to_is_the_same(both, layer):
    ours, theirs = (found[layer, "half", "sparsegpt"] for found in both)
    agree = (ours != 0) & (theirs != 0)
    assert ((ours - theirs)[agree].norm() / theirs[agree].norm()) < 0.02
