import json
import struct
from dataclasses import replace

import pytest
import torch

from reference_impls.models import safetensors_file, weights
from reference_impls.models.gguf import GGUFError, GGUFFile
from tests.models import gguf_builder as g
from tests.models.conftest import SMALL, lively, some_tokens


def as_gguf(model) -> bytes:
    """What llama.cpp's converter writes: float32, query and key rows in its order."""
    c = model.config
    metadata = {
        "general.architecture": "llama",
        "llama.embedding_length": c.hidden,
        "llama.block_count": c.layers,
        "llama.attention.head_count": c.heads,
        "llama.attention.head_count_kv": c.kv_heads,
        "llama.rope.dimension_count": c.head_dim,
        "llama.feed_forward_length": c.ffn,
        "llama.rope.freq_base": c.rope_theta,
        "llama.attention.layer_norm_rms_epsilon": c.norm_eps,
        "llama.context_length": c.max_positions,
    }
    tensors = {}
    parameters = dict(model.named_parameters())
    for own, name in weights.names(c, weights.GGUF).items():
        weight = parameters[own].float()
        if ".query." in own or ".key." in own:
            weight = weights.permute(weight, c.heads if ".query." in own else c.kv_heads)
        tensors[name] = tuple(weight.shape), g.F32, weight.contiguous().numpy().tobytes()
    return g.build(metadata, tensors)


def equal(first, second) -> bool:
    pairs = zip(first.named_parameters(), second.named_parameters(), strict=True)
    return all(a == b and torch.equal(x, y) for (a, x), (b, y) in pairs) and first.config == second.config


@pytest.mark.parametrize("tied", [False, True])
def test_own_format_round_trip(tmp_path, tied):
    model = lively(replace(SMALL, tied=tied), torch.float32)
    weights.save(model, tmp_path / "made.safetensors")
    again = weights.load(tmp_path / "made.safetensors")
    assert equal(model, again)
    assert (again.head.weight is again.embedding.weight) == tied


def test_saved_as_bfloat16_is_rounded_once(tmp_path):
    model = lively(dtype=torch.float32)
    weights.save(model, tmp_path / "made.safetensors", torch.bfloat16)
    assert equal(weights.load(tmp_path / "made.safetensors"), model.bfloat16().float())


@pytest.mark.parametrize("tied", [False, True])
def test_hugging_face_round_trip(tmp_path, tied):
    model = lively(replace(SMALL, tied=tied), torch.float32)
    weights.save_hugging_face(model, tmp_path)
    assert equal(model, weights.load_hugging_face(tmp_path))


@pytest.mark.parametrize("tied", [False, True])
def test_gguf_gives_the_same_logits(tmp_path, tied):
    model = lively(replace(SMALL, tied=tied), torch.float32)
    (tmp_path / "made.gguf").write_bytes(as_gguf(model))
    again = weights.load_gguf(tmp_path / "made.gguf")
    tokens = some_tokens(1, 20)
    assert torch.equal(again(tokens), model(tokens))


def test_unpermute_by_hand():
    """Two heads of head_dim 4: llama.cpp's order is 0 2 1 3 of each."""
    rows = torch.tensor([0, 2, 1, 3, 4, 6, 5, 7]).view(8, 1)
    assert weights.unpermute(rows, 2).flatten().tolist() == [0, 1, 2, 3, 4, 5, 6, 7]
    assert torch.equal(weights.permute(weights.unpermute(rows, 2), 2), rows)


def test_a_model_in_half_precision(tmp_path):
    weights.save(lively(), tmp_path / "made.safetensors")
    model = weights.load(tmp_path / "made.safetensors", torch.bfloat16)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}


def test_a_missing_and_an_unknown_tensor_are_named(tmp_path):
    weights.save(lively(), tmp_path / "made")
    tensors, metadata = safetensors_file.read(tmp_path / "made")
    tensors["extra"] = tensors.pop("norm.weight")
    safetensors_file.write(tmp_path / "other", tensors, metadata)
    with pytest.raises(ValueError, match=r"missing tensors \['norm.weight'\], unknown tensors \['extra'\]"):
        weights.load(tmp_path / "other")


def test_a_wrong_shape_is_named(tmp_path):
    weights.save(lively(), tmp_path / "made")
    tensors, metadata = safetensors_file.read(tmp_path / "made")
    safetensors_file.write(tmp_path / "other", tensors | {"norm.weight": torch.ones(3)}, metadata)
    with pytest.raises(ValueError, match=r"norm.weight: expected \(48,\), got \(3,\)"):
        weights.load(tmp_path / "other")


def test_a_file_of_another_program_is_refused(tmp_path):
    safetensors_file.write(tmp_path / "made", {"w": torch.ones(3)})
    with pytest.raises(ValueError, match="no config"):
        weights.load(tmp_path / "made")


@pytest.mark.parametrize(
    "change",
    [
        {"model_type": "gemma"},
        {"attention_bias": True},
        {"hidden_act": "gelu"},
        {"rope_parameters": {"rope_type": "llama3", "rope_theta": 1e4}},
        {"rope_scaling": {"type": "linear", "factor": 2}, "rope_parameters": None},
    ],
)
def test_what_the_decoder_does_not_compute_is_refused(change):
    fields = weights.config_to_hugging_face(SMALL, torch.float32) | change
    with pytest.raises(ValueError, match="not supported"):
        weights.config_from_hugging_face(fields)


def test_older_config_files_are_read():
    """transformers 4: rope_theta at the top, no head_dim, no kv_heads."""
    fields = json.loads(
        '{"model_type": "llama", "vocab_size": 97, "hidden_size": 48, "num_hidden_layers": 3, "num_attention_heads": 6,'
        ' "intermediate_size": 80, "rope_theta": 5e5, "rms_norm_eps": 1e-5, "max_position_embeddings": 128}'
    )
    config = weights.config_from_hugging_face(fields)
    assert (config.kv_heads, config.head_dim, config.rope_theta, config.tied) == (6, 8, 5e5, False)


def test_another_architecture_is_refused(tmp_path):
    (tmp_path / "made.gguf").write_bytes(g.build({"general.architecture": "gemma3"}, {}))
    with pytest.raises(GGUFError, match="llama"):
        weights.load_gguf(tmp_path / "made.gguf")
    floats = ((2,), g.F32, struct.pack("<2f", 1, 2))
    (tmp_path / "bare.gguf").write_bytes(g.build({"general.architecture": "llama"}, {"token_embd.weight": floats}))
    with pytest.raises(GGUFError, match="missing metadata"):
        weights.config_from_gguf(GGUFFile(tmp_path / "bare.gguf"))
