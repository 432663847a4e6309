"""Train the tiny target/draft pair of reference_impls/models/tiny on Jane Austen's six novels.

    apt-get download r-cran-janeaustenr && dpkg -x r-cran-janeaustenr_*.deb austen
    python -m scripts.train_tiny austen/usr/lib/R/site-library/janeaustenr/data/Rdata.rdb

Any UTF-8 text file does instead of the .rdb. The last part of the text is held out. The same seed, steps and torch give
the same weights on the same kind of machine. After Ctrl-C the same command goes on from the last minute's checkpoint.
Until the learning rate begins to fall, a run does not depend on its steps: it may be lengthened or shortened till then.
"""

import argparse
import hashlib
import json
import math
import re
import struct
import sys
import time
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from reference_impls.models import tiny, weights
from reference_impls.models.decoder import Config, Decoder
from reference_impls.models.perplexity import mean_loss
from reference_impls.models.shapes import SHAPES, parameter_count, random_model

END = "<|end|>"
HELDOUT_CHARACTERS = 200_000
ABOUT_AUSTEN = {
    "text": "Jane Austen's six novels, which are in the public domain, from Debian's r-cran-janeaustenr",
    "heldout_text": "Sense and Sensibility from the middle of chapter 38 on; "
    "its earlier chapters are in the training text",
    "licence": "weights, tokenizer and card Apache-2.0; heldout.txt public domain",
}
BATCH, SEQ = 4, 512
MATRIX_RATE, VECTOR_RATE = 0.02, 3e-3
WARMUP_STEPS, DECAY_SHARE = 50, 0.3
CHECKPOINT_S = 60


@dataclass(frozen=True)
class Run:
    """One model to train."""

    name: str
    config: Config
    steps: int
    seed: int
    folder: Path

    @property
    def checkpoint(self) -> Path:
        """Where the state of an unfinished run is kept."""
        return self.folder / f"{self.name}.checkpoint.pt"


def read_corpus(path: Path) -> str:
    """The text, lines of a paragraph joined. From an .rdb: the novels in the order of their first words."""
    if path.suffix != ".rdb":
        return unwrap(path.read_text("utf-8"))
    return f"\n\n{END}\n\n".join(unwrap(novel).strip() for novel in sorted(read_rdb(path.read_bytes())))


def read_rdb(data: bytes) -> Iterator[str]:
    """The character vectors of an R package's data: objects of a 4-byte size and a zlib stream each."""
    while data:
        stream = zlib.decompressobj()
        raw = stream.decompress(data[4:])
        data = stream.unused_data
        if (text := read_character_vector(raw)) is not None:
            yield text


def read_character_vector(raw: bytes) -> str | None:
    """One object of R's XDR serialisation, as lines, or None where it is of another type than STRSXP (16)."""
    at = raw.index(b"X\n") + 2
    (version,) = struct.unpack_from(">i", raw, at)
    at += 12
    if version == 3:  # its native encoding's name follows
        at += 4 + struct.unpack_from(">i", raw, at)[0]
    flags, count = struct.unpack_from(">ii", raw, at)
    if flags & 255 != 16:
        return None
    at += 8
    lines = []
    for _ in range(count):
        size = max(0, struct.unpack_from(">i", raw, at + 4)[0])  # -1 is NA
        lines.append(raw[at + 8 : at + 8 + size].decode("utf-8"))
        at += 8 + size
    return "\n".join(lines)


def unwrap(text: str) -> str:
    """Join hard-wrapped lines; blank lines stay, three or more newlines become two."""
    return re.sub(r"\n{3,}", "\n\n", re.sub(r"(?<!\n)\n(?!\n)", " ", text.replace("\r\n", "\n")))


def split(text: str) -> tuple[str, str]:
    """-> training text, held-out text: cut at the paragraph nearest before the last `HELDOUT_CHARACTERS`."""
    if len(text) <= 2 * HELDOUT_CHARACTERS:
        raise ValueError(f"the corpus needs more than {2 * HELDOUT_CHARACTERS} characters, got {len(text)}")
    cut = text.rindex("\n\n", 0, len(text) - HELDOUT_CHARACTERS) + 2
    return text[:cut], text[cut:]


def train_tokenizer(text: str) -> Any:
    """Byte-level BPE of the tiny vocabulary, from the training text only."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=SHAPES["tiny-target"].vocab,
        special_tokens=[END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(text.split("\n\n"), trainer)
    return tokenizer


def rate(step: int, steps: int) -> float:
    """Share of the full learning rate: rises over `WARMUP_STEPS`, stays, falls to zero over the last `DECAY_SHARE`."""
    falling = (steps - step) / max(1, round(steps * DECAY_SHARE))
    return min(1.0, (step + 1) / WARMUP_STEPS, falling)


def batch_at(tokens: Tensor, step: int, seed: int) -> Tensor:
    """The batch of a step, drawn from nothing but seed and step, so that a run can be resumed. -> (BATCH, SEQ + 1)."""
    generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
    starts = torch.randint(len(tokens) - SEQ, (BATCH, 1), generator=generator)
    batch: Tensor = tokens[starts + torch.arange(SEQ + 1)]
    return batch


class Muon(torch.optim.Optimizer):
    """Momentum whose update is made orthogonal (arXiv 2502.16982, section 2.1), matrices of one shape at once.

    torch.optim.Muon does the same one matrix at a time in bfloat16, which takes 80 % of a step on a CPU.
    """

    def __init__(self, matrices: Sequence[Tensor], lr: float, momentum: float = 0.95) -> None:
        super().__init__(matrices, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]  # nothing here evaluates a closure
        """Update every matrix from its gradient."""
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[Tensor]] = {}
            for matrix in group["params"]:
                by_shape.setdefault(matrix.shape, []).append(matrix)
            for matrices in by_shape.values():
                updates = orthogonal(torch.stack([self._nesterov(each, group["momentum"]) for each in matrices]))
                for matrix, update in zip(matrices, updates, strict=True):
                    matrix.add_(update, alpha=-group["lr"] * max(1.0, matrix.shape[0] / matrix.shape[1]) ** 0.5)

    def _nesterov(self, matrix: Tensor, momentum: float) -> Tensor:
        """matrix: (out, in) -> (out, in)."""
        gradient = matrix.grad
        assert gradient is not None
        kept = self.state[matrix].setdefault("momentum", torch.zeros_like(matrix))
        kept.lerp_(gradient, 1 - momentum)
        return gradient.lerp(kept, momentum)


def orthogonal(matrices: Tensor, iterations: int = 5) -> Tensor:
    """Push every singular value towards 1 by Newton-Schulz iterations. matrices: (count, out, in) -> the same."""
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.mT if tall else matrices
    size: Tensor = x.norm(dim=(-2, -1), keepdim=True)
    x = x / size.clamp(min=1e-7)
    for _ in range(iterations):
        gram = x @ x.mT
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return x.mT if tall else x


def optimizers(model: Decoder) -> list[torch.optim.Optimizer]:
    """Muon for the blocks' matrices, AdamW for embedding and norms."""
    matrices = [p for p in model.blocks.parameters() if p.ndim == 2]
    others = [p for name, p in model.named_parameters() if p.ndim == 1 or not name.startswith("blocks.")]
    muon = Muon(matrices, lr=MATRIX_RATE)
    adam = torch.optim.AdamW(others, lr=VECTOR_RATE, betas=(0.9, 0.95), weight_decay=0.01, fused=True)
    return [muon, adam]


def train(run: Run, tokens: Tensor) -> Decoder:
    """Train, or go on from a checkpoint. tokens: (seq,)."""
    model = random_model(run.config, torch.Generator().manual_seed(run.seed))
    steppers = optimizers(model)
    step = restore(run, model, steppers)
    first, started, saved = step, time.monotonic(), time.monotonic()
    while step < run.steps:
        loss = train_step(model, steppers, batch_at(tokens, step, run.seed), rate(step, run.steps))
        step += 1
        report(run, step, loss, (time.monotonic() - started) / (step - first))
        # between two steps only: what an interruption leaves inside one is not a state of any run
        if step == run.steps or time.monotonic() - saved > CHECKPOINT_S:
            save(run, model, steppers, step)
            saved = time.monotonic()
    return model


def train_step(model: Decoder, steppers: list[torch.optim.Optimizer], batch: Tensor, share: float) -> float:
    """One update at this share of the full learning rates; -> the batch's loss before it. batch: (BATCH, SEQ + 1)."""
    loss = functional.cross_entropy(model(batch[:, :-1]).flatten(0, 1), batch[:, 1:].flatten())
    loss.backward()  # type: ignore[no-untyped-call]
    for stepper, full in zip(steppers, (MATRIX_RATE, VECTOR_RATE), strict=True):
        for group in stepper.param_groups:
            group["lr"] = full * share
        stepper.step()
        stepper.zero_grad()
    return loss.item()


def restore(run: Run, model: Decoder, steppers: list[torch.optim.Optimizer]) -> int:
    """-> the number of steps done so far."""
    if not run.checkpoint.exists():
        return 0
    state = torch.load(run.checkpoint)
    if state["seed"] != run.seed or state["config"] != asdict(run.config):
        raise ValueError(f"{run.checkpoint} is of another seed or shape; delete it to begin again")
    model.load_state_dict(state["model"])
    for stepper, saved in zip(steppers, state["optimizers"], strict=True):
        stepper.load_state_dict(saved)
    return int(state["step"])


def save(run: Run, model: Decoder, steppers: list[torch.optim.Optimizer], step: int) -> None:
    """Write the checkpoint beside its place, then move it there, so that an interruption leaves a whole file."""
    state = {
        "seed": run.seed,
        "config": asdict(run.config),
        "step": step,
        "model": model.state_dict(),
        "optimizers": [stepper.state_dict() for stepper in steppers],
    }
    part = run.checkpoint.with_suffix(".part")
    torch.save(state, part)
    part.replace(run.checkpoint)


def report(run: Run, step: int, loss: float, step_s: float) -> None:
    """One line on stderr every 20 steps."""
    if step % 20 == 0 or step == run.steps:
        left_s = round((run.steps - step) * step_s)
        speed = BATCH * SEQ / step_s
        sys.stderr.write(
            f"{run.name}: step {step}/{run.steps}, loss {loss:.3f}, {speed:.0f} tokens/s, "
            f"{left_s // 60}:{left_s % 60:02d} left\n"
        )


def sha256(data: bytes) -> str:
    """Of the bytes, in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def publish(run: Run, model: Decoder, heldout: Tensor, out: Path) -> dict[str, Any]:
    """Write the weights as bfloat16, read them back, and measure what was written. heldout: (seq,)."""
    path = out / f"{run.name}.safetensors"
    weights.save(model, path, torch.bfloat16)
    written = weights.load(path)
    loss = mean_loss(written, heldout, SEQ)
    return {
        "parameters": parameter_count(run.config),
        "steps": run.steps,
        "trained_tokens": run.steps * BATCH * SEQ,
        "file_sha256": sha256(path.read_bytes()),
        "heldout_loss_nats": round(loss, 4),
        "heldout_token_perplexity": round(math.exp(loss), 3),
        "quick_loss_nats": round(mean_loss(written, heldout[: tiny.QUICK_TOKENS], SEQ), 4),
    }


def make_card(options: argparse.Namespace, training: str, heldout: str, unseen: Tensor) -> dict[str, Any]:
    """What is needed to judge and to repeat the pair; its models are added by `main`. unseen: (seq,)."""
    about = ABOUT_AUSTEN if options.corpus.suffix == ".rdb" else {"text": options.corpus.name}
    return about | {
        "command": f"python -m scripts.train_tiny {options.corpus.name} --seed {options.seed} "
        f"--target-steps {options.target_steps} --draft-steps {options.draft_steps}",
        "seed": options.seed,
        "torch": torch.__version__,
        "corpus_sha256": sha256(options.corpus.read_bytes()),
        "training_text_sha256": sha256(training.encode()),
        "training_text_bytes": len(training.encode()),
        "heldout_text_sha256": sha256(heldout.encode()),
        "heldout_text_bytes": len(heldout.encode()),
        "heldout_tokens": len(unseen),
        "context_length": SEQ,
        "stride": SEQ,
        "batch": BATCH,
    }


def check_apart(training: str, heldout: str) -> None:
    """Refuse a held-out text of which a long paragraph is also in the training text."""
    shared = [part for part in heldout.split("\n\n") if len(part) > 200 and part in training]
    if shared:
        raise ValueError(f"{len(shared)} held-out paragraphs are in the training text, the first: {shared[0][:80]}")


def main(argv: Sequence[str] | None = None) -> int:
    """Train both, write the pair, its tokenizer, the held-out text and the card."""
    options = parse(argv)
    torch.set_num_threads(options.threads)
    options.work.mkdir(parents=True, exist_ok=True)
    training, heldout = split(read_corpus(options.corpus))
    check_apart(training, heldout)
    tokenizer = train_tokenizer(training)
    tokens, unseen = (torch.tensor(tokenizer.encode(text).ids) for text in (training, heldout))
    steps = {"target": options.target_steps, "draft": options.draft_steps}
    names = [options.only] if options.only else list(steps)
    runs = [Run(name, SHAPES[f"tiny-{name}"], steps[name], options.seed, options.work) for name in names]
    models = [train(run, tokens) for run in runs]
    if options.only:
        return 0
    options.out.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(options.out / "tokenizer.json"))
    (options.out / "heldout.txt").write_bytes(heldout.encode())
    card = make_card(options, training, heldout, unseen)
    for run, model in zip(runs, models, strict=True):
        card[run.name] = publish(run, model, unseen, options.out)
    (options.out / "card.json").write_text(json.dumps(card, indent=2) + "\n", "utf-8")
    return 0


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path, help="janeaustenr's Rdata.rdb, or a UTF-8 text file")
    parser.add_argument("--target-steps", type=int, default=700)
    parser.add_argument("--draft-steps", type=int, default=600)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only", choices=["target", "draft"], help="train one of the two and write nothing")
    parser.add_argument("--work", type=Path, default=Path("build/tiny"), help="where checkpoints are kept")
    parser.add_argument("--out", type=Path, default=tiny.FOLDER)
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
