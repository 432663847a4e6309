"""Train the drafters of reference_impls/speculative_decoding/trained for the tiny target, on its training text.

    apt-get download r-cran-janeaustenr && dpkg -x r-cran-janeaustenr_*.deb austen
    python -m scripts.train_drafters austen/usr/lib/R/site-library/janeaustenr/data/Rdata.rdb

For SmolLM2 ($SMOLLM2_GGUF names its file), on a GPU, into a folder that the benchmark then finds:

    python -m scripts.train_drafters Rdata.rdb --target smollm2-135m --device cuda --steps 5000 --out build/smollm2
    SMOLLM2_DRAFTERS=build/smollm2 python -m scripts.bench speculative_decoding/smollm2-135m

Medusa's heads and EAGLE's block learn beside each other: one pass of the frozen target gives both their states. The
held-out text of the tiny pair is used for the card's numbers only.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from reference_impls.models import smollm2, tiny
from reference_impls.models.decoder import Decoder
from reference_impls.speculative_decoding import eagle, medusa, trained
from scripts.train_tiny import ABOUT_AUSTEN, batch_at, rate, read_corpus, sha256, split

RATE = 2e-3
MEASURED, WINDOW = 16_384, 512
"""Training tokens on which acceptance by rank is measured, and those seen at once."""


def states_of(target: Decoder, tokens: Tensor) -> Tensor:
    """The frozen target's states. tokens: (batch, seq) -> (batch, seq, hidden)"""
    with torch.no_grad():
        return target.hidden_states(tokens)


def train_step(
    drafters: nn.ModuleDict, target: Decoder, tokens: Tensor, stepper: torch.optim.Optimizer, noise: torch.Generator
) -> dict[str, float]:
    """One update of both; -> their losses before it. tokens: (batch, seq)."""
    states = states_of(target, tokens)
    heads, block = drafters["medusa"], drafters["eagle"]
    assert isinstance(heads, medusa.Heads)
    assert isinstance(block, eagle.Head)
    losses = {
        "medusa": medusa.loss(heads, target.head, states),
        "eagle": eagle.loss(block, target, tokens, states, noise),
    }
    torch.stack([*losses.values()]).sum().backward()  # type: ignore[no-untyped-call]
    stepper.step()
    stepper.zero_grad()
    return {name: value.item() for name, value in losses.items()}


def new_drafters(target: Decoder, seed: int) -> nn.ModuleDict:
    """Both, untrained."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        heads = medusa.Heads(target.config.hidden, trained.HEADS)
        return nn.ModuleDict({"medusa": heads, "eagle": eagle.Head(target.config)})


def train(target: Decoder, tokens: Tensor, steps: int, seed: int) -> nn.ModuleDict:
    """tokens: (seq,), the training text."""
    target.requires_grad_(False)
    drafters = new_drafters(target, seed)
    device = target.embedding.weight.device
    drafters = drafters.to(device)
    stepper = torch.optim.AdamW(drafters.parameters(), lr=RATE, betas=(0.9, 0.95), weight_decay=0.01)
    noise = torch.Generator(device).manual_seed(seed)
    started = time.monotonic()
    for step in range(steps):
        for group in stepper.param_groups:
            group["lr"] = RATE * rate(step, steps)
        losses = train_step(drafters, target, batch_at(tokens, step, seed)[:, :-1].to(device), stepper, noise)
        if step % 20 == 0 or step == steps - 1:
            shown = ", ".join(f"{name} {value:.3f}" for name, value in losses.items())
            sys.stderr.write(f"step {step + 1}/{steps}, loss: {shown}, {time.monotonic() - started:.0f} s\n")
    return drafters


def measure(drafters: nn.ModuleDict, target: Decoder, training: Tensor, unseen: Tensor) -> dict[str, Any]:
    """The shape of Medusa's tree follows from the training text; the losses are of the unseen one. Both (seq,)."""
    heads, block = drafters["medusa"], drafters["eagle"]
    assert isinstance(heads, medusa.Heads)
    assert isinstance(block, eagle.Head)
    device = target.embedding.weight.device
    seen = states_of(target, training[:MEASURED].view(-1, WINDOW).to(device))
    held = unseen[:MEASURED].view(-1, WINDOW).to(device)
    states = states_of(target, held)
    with torch.no_grad():
        guessed = target.head(block(target.embedding(held[:, 1:]), states[:, :-1])).argmax(-1)
    agreed = (guessed == target.head(states[:, 1:]).argmax(-1)).double().mean().item()
    accuracy = medusa.rank_acceptance(heads, target.head, states)
    rounded = [[round(a, 4) for a in ranks] for ranks in medusa.rank_acceptance(heads, target.head, seen)]
    return {
        "medusa_acceptance_by_rank": rounded,
        "medusa_heldout_agreement": [round(ranks[0], 4) for ranks in accuracy],
        "eagle_heldout_agreement": round(agreed, 4),
        "measured_tokens": MEASURED,
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Train, write both files, read them back, measure what was written, write the card."""
    options = parse(argv)
    torch.set_num_threads(options.threads)
    training, heldout = split(read_corpus(options.corpus))
    tokenizer, target, target_file = load(options.target)
    target = target.to(options.device)
    tokens, unseen = tokenizer.encode(training), tokenizer.encode(heldout)
    drafters = train(target, tokens, options.steps, options.seed)
    options.out.mkdir(parents=True, exist_ok=True)
    for name, drafter in drafters.items():
        trained.save(drafter, options.out / f"{name}.safetensors")
    written: dict[str, nn.Module] = {
        "medusa": trained.load_heads(options.out).to(options.device),
        "eagle": trained.load_block(target, options.out).to(options.device),
    }
    about = ABOUT_AUSTEN if options.corpus.suffix == ".rdb" else {"text": options.corpus.name}
    card = about | {
        "command": f"python -m scripts.train_drafters {options.corpus.name} --seed {options.seed} "
        f"--steps {options.steps}",
        "target_sha256": sha256(target_file.read_bytes()),
        "training_text_sha256": sha256(training.encode()),
        "steps": options.steps,
        "seed": options.seed,
        "torch": torch.__version__,
        "parameters": {name: sum(p.numel() for p in drafter.parameters()) for name, drafter in written.items()},
        "file_sha256": {name: sha256((options.out / f"{name}.safetensors").read_bytes()) for name in written},
        **measure(nn.ModuleDict(written), target, tokens, unseen),
    }
    (options.out / "card.json").write_text(json.dumps(card, indent=2) + "\n", "utf-8")
    return 0


def load(name: str) -> tuple[Any, Decoder, Path]:
    """-> tokenizer, target in float32, the file of its weights. Exits where SmolLM2 is not here."""
    if name == "tiny-target":
        return tiny.load_tokenizer(), tiny.load_target(), tiny.FOLDER / "target.safetensors"
    path = smollm2.smollm2_path()
    if path is None:
        raise SystemExit(smollm2.HOW_TO_GET_IT)
    return smollm2.load_smollm2_tokenizer(), smollm2.load_smollm2(), path


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path, help="janeaustenr's Rdata.rdb, or a UTF-8 text file")
    parser.add_argument("--target", choices=("tiny-target", "smollm2-135m"), default="tiny-target")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=trained.FOLDER)
    options = parser.parse_args(argv)
    if options.target != "tiny-target" and options.out == trained.FOLDER:
        parser.error("--out must name another folder than that of the drafters that ship")
    return options


if __name__ == "__main__":
    sys.exit(main())
