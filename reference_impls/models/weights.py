"""Decoders from files and to files: the project's own safetensors, Hugging Face's Llama folders, and GGUF.

Paper: none; the names are those of transformers' LlamaForCausalLM and of llama.cpp's gguf-py constants.
Idea: three vocabularies for the same tensors; one table holds them side by side.
Symbols: nothing beyond the axes' names.
Simplified: Llama without biases and without RoPE scaling; anything else is refused and not guessed.
Differs: llama.cpp stores query and key rows so that RoPE turns neighbours; they are put back in the order used here.
Cost: the file's bytes once; GGUF weights are dequantized to `dtype`, so memory is that of `dtype`.
Checked against: LlamaForCausalLM's logits from the same weights; the `safetensors` library; round trips.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from reference_impls.models import safetensors_file
from reference_impls.models.decoder import Config, Decoder
from reference_impls.models.gguf import GGUFError, GGUFFile
from reference_impls.models.shapes import empty_model

# own name, Hugging Face's, GGUF's; {} is the layer
WHOLE: Final = (
    ("embedding", "model.embed_tokens", "token_embd"),
    ("norm", "model.norm", "output_norm"),
    ("head", "lm_head", "output"),
)
PER_LAYER: Final = (
    ("blocks.{}.attention_norm", "model.layers.{}.input_layernorm", "blk.{}.attn_norm"),
    ("blocks.{}.attention.query", "model.layers.{}.self_attn.q_proj", "blk.{}.attn_q"),
    ("blocks.{}.attention.key", "model.layers.{}.self_attn.k_proj", "blk.{}.attn_k"),
    ("blocks.{}.attention.value", "model.layers.{}.self_attn.v_proj", "blk.{}.attn_v"),
    ("blocks.{}.attention.output", "model.layers.{}.self_attn.o_proj", "blk.{}.attn_output"),
    ("blocks.{}.ffn_norm", "model.layers.{}.post_attention_layernorm", "blk.{}.ffn_norm"),
    ("blocks.{}.ffn.gate", "model.layers.{}.mlp.gate_proj", "blk.{}.ffn_gate"),
    ("blocks.{}.ffn.up", "model.layers.{}.mlp.up_proj", "blk.{}.ffn_up"),
    ("blocks.{}.ffn.down", "model.layers.{}.mlp.down_proj", "blk.{}.ffn_down"),
)
OWN, HUGGING_FACE, GGUF = 0, 1, 2

# own field, Hugging Face's, GGUF's
FIELDS: Final = (
    ("vocab", "vocab_size", "llama.vocab_size"),
    ("hidden", "hidden_size", "llama.embedding_length"),
    ("layers", "num_hidden_layers", "llama.block_count"),
    ("heads", "num_attention_heads", "llama.attention.head_count"),
    ("kv_heads", "num_key_value_heads", "llama.attention.head_count_kv"),
    ("head_dim", "head_dim", "llama.rope.dimension_count"),
    ("ffn", "intermediate_size", "llama.feed_forward_length"),
    ("rope_theta", "rope_theta", "llama.rope.freq_base"),
    ("norm_eps", "rms_norm_eps", "llama.attention.layer_norm_rms_epsilon"),
    ("max_positions", "max_position_embeddings", "llama.context_length"),
)


def names(config: Config, which: int) -> dict[str, str]:
    """Own tensor name -> name in another vocabulary (`HUGGING_FACE` or `GGUF`), without a tied head."""
    found = {row[OWN]: row[which] for row in WHOLE if not (config.tied and row[OWN] == "head")}
    for layer in range(config.layers):
        found |= {row[OWN].format(layer): row[which].format(layer) for row in PER_LAYER}
    return {f"{own}.weight": f"{name}.weight" for own, name in found.items()}


def from_tensors(config: Config, get: Callable[[str], Tensor], dtype: torch.dtype) -> Decoder:
    """A decoder whose tensors are copied one at a time, so that at most one is held twice.

    get: own tensor name -> tensor of the shape that the decoder has there
    """
    model = empty_model(config, dtype)
    parameters = dict(model.named_parameters())
    with torch.no_grad():
        for name, parameter in parameters.items():
            found = get(name)
            if found.shape != parameter.shape:
                raise ValueError(f"{name}: expected {tuple(parameter.shape)}, got {tuple(found.shape)}")
            parameter.copy_(found)
    return model


def _lookup(tensors: Mapping[str, Tensor], path: Path, renamed: Mapping[str, str]) -> Callable[[str], Tensor]:
    missing = sorted(set(renamed.values()) - set(tensors))
    unknown = sorted(set(tensors) - set(renamed.values()))
    if missing or unknown:
        raise ValueError(f"{path}: missing tensors {missing[:5]}, unknown tensors {unknown[:5]}")
    return lambda name: tensors[renamed[name]]


def save(model: Decoder, path: Path | str, dtype: torch.dtype | None = None) -> None:
    """Write a decoder with its config in the file's metadata, in `dtype` or as it is."""
    own = {name: parameter.detach() for name, parameter in model.named_parameters()}
    tensors = {name: tensor.to(dtype or tensor.dtype) for name, tensor in own.items()}
    safetensors_file.write(path, tensors, {"config": json.dumps(asdict(model.config))})


def load(path: Path | str, dtype: torch.dtype = torch.float32) -> Decoder:
    """Read what `save` wrote."""
    path = Path(path)
    tensors, metadata = safetensors_file.read(path)
    if "config" not in metadata:
        raise ValueError(f"{path}: no config in its metadata; for a Hugging Face folder use load_hugging_face")
    config = Config(**json.loads(metadata["config"]))
    return from_tensors(config, _lookup(tensors, path, {name: name for name in names(config, OWN)}), dtype)


def config_from_hugging_face(fields: Mapping[str, Any]) -> Config:
    """From the fields of a config.json; what this decoder does not compute is refused."""
    rope = fields.get("rope_parameters") or fields.get("rope_scaling") or {}
    unsupported = {
        "model_type": fields.get("model_type") != "llama",
        "hidden_act": fields.get("hidden_act", "silu") != "silu",
        "attention_bias": bool(fields.get("attention_bias")),
        "mlp_bias": bool(fields.get("mlp_bias")),
        "rope_type": rope.get("rope_type", rope.get("type", "default")) != "default",
    }
    if any(unsupported.values()):
        raise ValueError(f"config.json: not supported: {', '.join(name for name, bad in unsupported.items() if bad)}")
    found = {own: fields[name] for own, name, _ in FIELDS if fields.get(name) is not None}
    found.setdefault("kv_heads", fields["num_attention_heads"])
    found.setdefault("head_dim", fields["hidden_size"] // fields["num_attention_heads"])
    found.setdefault("rope_theta", rope.get("rope_theta", 10_000.0))
    return Config(**found, tied=bool(fields.get("tie_word_embeddings", False)))


def config_to_hugging_face(config: Config, dtype: torch.dtype) -> dict[str, Any]:
    """The fields of a config.json that transformers 4 and 5 both read."""
    values = asdict(config)
    fields = {name: values[own] for own, name, _ in FIELDS}
    return fields | {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "rope_parameters": {"rope_type": "default", "rope_theta": config.rope_theta},
        "tie_word_embeddings": config.tied,
        "torch_dtype": str(dtype).removeprefix("torch."),
    }


def load_hugging_face(folder: Path | str, dtype: torch.dtype = torch.float32) -> Decoder:
    """Read a folder with config.json and one or several *.safetensors."""
    folder = Path(folder)
    config = config_from_hugging_face(json.loads((folder / "config.json").read_text("utf-8")))
    tensors: dict[str, Tensor] = {}
    for part in sorted(folder.glob("*.safetensors")):
        tensors |= safetensors_file.read(part)[0]
    if config.tied:
        tensors.pop("lm_head.weight", None)  # some writers keep the copy
    return from_tensors(config, _lookup(tensors, folder, names(config, HUGGING_FACE)), dtype)


def save_hugging_face(model: Decoder, folder: Path | str) -> None:
    """Write a folder that transformers' `from_pretrained` reads."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    renamed = names(model.config, HUGGING_FACE)
    tensors = {renamed[name]: parameter.detach() for name, parameter in model.named_parameters()}
    safetensors_file.write(folder / "model.safetensors", tensors, {"format": "pt"})
    fields = config_to_hugging_face(model.config, model.embedding.weight.dtype)
    (folder / "config.json").write_text(json.dumps(fields, indent=2) + "\n", "utf-8")


def config_from_gguf(file: GGUFFile) -> Config:
    """From the metadata; the vocabulary's size and a tied head are read off the tensors."""
    found: dict[str, Any] = {own: file.metadata[key] for own, _, key in FIELDS if key in file.metadata}
    if file.metadata.get("general.architecture") != "llama" or "rope_freqs.weight" in file.tensors:
        raise GGUFError(f"{file.path}: only the llama architecture without RoPE scaling is supported")
    missing = [key for own, _, key in FIELDS if own not in found and own not in ("vocab", "kv_heads", "head_dim")]
    if "token_embd.weight" not in file.tensors or missing:
        raise GGUFError(f"{file.path}: missing metadata {missing} or the tensor token_embd.weight")
    found["vocab"] = file.tensors["token_embd.weight"].shape[0]
    found.setdefault("kv_heads", found["heads"])
    found.setdefault("head_dim", found["hidden"] // found["heads"])
    found["norm_eps"] = float(f"{found['norm_eps']:.6g}")  # a float32 in the file: 9.99999974e-06 is meant as 1e-05
    return Config(**found, tied="output.weight" not in file.tensors)


def load_gguf(path: Path | str, dtype: torch.dtype = torch.float32) -> Decoder:
    """Read a Llama GGUF, dequantized to `dtype`: it shows the stored weights' quality, not their size or speed."""
    file = GGUFFile(path)
    config = config_from_gguf(file)
    renamed = names(config, GGUF)
    heads = {"query": config.heads, "key": config.kv_heads}

    def get(name: str) -> Tensor:
        found = file.tensor(renamed[name])
        role = name.split(".")[-2]
        return unpermute(found, heads[role]) if role in heads else found

    return from_tensors(config, get, dtype)


def unpermute(weight: Tensor, heads: int) -> Tensor:
    """From llama.cpp's row order, where RoPE turns neighbours, to halves. weight: (heads * head_dim, in) -> as it."""
    pairs = weight.view(heads, -1, 2, weight.shape[1])  # (heads, head_dim / 2, 2, in)
    return pairs.transpose(1, 2).reshape(weight.shape)


def permute(weight: Tensor, heads: int) -> Tensor:
    """The inverse of `unpermute`. weight: (heads * head_dim, in) -> as it."""
    halves = weight.view(heads, 2, -1, weight.shape[1])  # (heads, 2, head_dim / 2, in)
    return halves.transpose(1, 2).reshape(weight.shape)
