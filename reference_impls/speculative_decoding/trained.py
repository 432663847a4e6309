"""Medusa's heads and EAGLE's block, made by scripts/train_drafters.py; those for the tiny target ship."""

import json
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn

from reference_impls.models import safetensors_file
from reference_impls.models.decoder import Decoder
from reference_impls.speculative_decoding import eagle, medusa

FOLDER: Final = Path(__file__).with_name("trained")
HEADS: Final = 3
NODES: Final = 12
"""Guesses in the shipped Medusa tree."""
CHAIN: Final = eagle.tree((1, 1, 1, 1))


def card(folder: Path = FOLDER) -> dict[str, Any]:
    """How they were made and what was measured of them."""
    found: dict[str, Any] = json.loads((folder / "card.json").read_text("utf-8"))
    return found


def medusa_drafter(target: Decoder, nodes: int = NODES, folder: Path = FOLDER) -> medusa.Drafter:
    """Heads for the folder's target, and the best tree for the acceptance that the card records."""
    shape = medusa.best_shape(card(folder)["medusa_acceptance_by_rank"], nodes)
    return medusa.Drafter(target, load_heads(folder), shape)


def eagle_drafter(target: Decoder, config: eagle.Config = CHAIN, folder: Path = FOLDER) -> eagle.Drafter:
    """A block for the folder's target; a chain of four guesses unless told."""
    return eagle.Drafter(target, load_block(target, folder), config)


def load_heads(folder: Path = FOLDER) -> medusa.Heads:
    """In float32, frozen."""
    tensors, _ = safetensors_file.read(folder / "medusa.safetensors")
    heads = medusa.Heads(tensors["layers.0.bias"].shape[0], len(tensors) // 2)
    heads.load_state_dict(tensors)
    return heads.requires_grad_(False)


def load_block(target: Decoder, folder: Path = FOLDER) -> eagle.Head:
    """In float32, frozen."""
    tensors, _ = safetensors_file.read(folder / "eagle.safetensors")
    head = eagle.Head(target.config)
    head.load_state_dict(tensors)
    return head.requires_grad_(False)


def save(drafter: nn.Module, path: Path) -> None:
    """As bfloat16."""
    tensors = {name: parameter.detach().to(torch.bfloat16) for name, parameter in drafter.named_parameters()}
    safetensors_file.write(path, tensors, {"format": "pt"})
