"""Contextual sparsity: guess from its input which neurons a token will use, and compute only those.

Paper: arXiv 2310.17157, section 4.1 (Deja Vu: neurons and their predictor); 2312.12456 (PowerInfer: predictors);
    2404.08763 (CATS: the gate's own output chooses).
Idea: few neurons of a feed-forward layer matter for any one token, and a small network can tell beforehand which.
Symbols: activity of a neuron = |silu(gate x) * up x|; kept = share of the neurons that is computed; recall = share of
    the truly most active ones that the predictor names.
Simplified: neurons only, no heads; the prediction is not made a layer ahead, so nothing hides its time; no placement
    of rarely used neurons on a slower device.
Differs: the papers' models have ReLU, whose inactive neurons are exactly 0; here the least active of SiLU are dropped,
    so what is lost is small and not nothing; a predictor's mistakes count by how active the neuron is.
Cost: a learned predictor is rank * (hidden + ffn) weights a layer, and their product for each token; a single token
    then reads `kept` of the feed-forward weights, but plain indexing copies two thirds of them before use, which eats
    the gain at small widths; several tokens at once are masked and save nothing.
Checked against: the dense layer where all are kept; the masked product; recall counted by hand.
"""

from copy import deepcopy
from dataclasses import dataclass
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from reference_impls.models.decoder import Decoder, FeedForward
from reference_impls.pruning import Calibration
from reference_impls.pruning.masks import keep_largest
from reference_impls.pruning.surgery import as_decoder, decoder_blocks
from reference_impls.quantization.calibration import collect


@dataclass(frozen=True)
class Config:
    """How many neurons a token gets, who chooses them, and the predictor's training."""

    kept: float = 0.5
    choice: Literal["learned", "gate", "oracle"] = "learned"  # gate: by |silu(gate x)|; oracle: by their true activity
    rank: int = 128
    steps: int = 600
    learning_rate: float = 5e-3
    rows: int = 256  # tokens in a training step
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.kept <= 1:
            raise ValueError(f"kept must be above 0 and at most 1, got {self.kept}")
        if self.choice not in ("learned", "gate", "oracle"):
            raise ValueError(f"choice must be learned, gate or oracle, got {self.choice!r}")
        if self.rank < 1 or self.steps < 0 or self.rows < 1:
            raise ValueError(f"rank and rows must be at least 1, steps not negative, got {self}")


class Predictor(nn.Module):
    """Two thin layers from a token's state to a score for each neuron."""

    def __init__(self, hidden: int, neurons: int, rank: int, generator: torch.Generator) -> None:
        super().__init__()
        self.down = nn.Parameter(torch.randn(rank, hidden, generator=generator) / hidden**0.5)
        self.up = nn.Parameter(torch.randn(neurons, rank, generator=generator) / rank**0.5)
        self.bias = nn.Parameter(torch.zeros(neurons))

    def forward(self, x: Tensor) -> Tensor:
        """x: (.., hidden) -> (.., ffn)"""
        return functional.linear(functional.linear(x, self.down).relu(), self.up, self.bias)


class OraclePredictor(nn.Module):
    """The layer's true activity as the score: saves nothing, shows what a perfect predictor would leave."""

    def __init__(self, ffn: FeedForward) -> None:
        super().__init__()
        self.ffn = ffn

    def forward(self, x: Tensor) -> Tensor:
        """x: (.., hidden) -> (.., ffn)"""
        return activity(self.ffn, x)


class GatePredictor(nn.Module):
    """The gate's own output as the score: no training, but all of the gate is read."""

    def __init__(self, ffn: FeedForward) -> None:
        super().__init__()
        self.gate = ffn.gate

    def forward(self, x: Tensor) -> Tensor:
        """x: (.., hidden) -> (.., ffn)"""
        return functional.silu(self.gate(x)).abs()


class ContextualFeedForward(nn.Module):
    """A feed-forward layer that computes the named neurons only: really so for one token, by a mask for several."""

    effect = "simulated"

    def __init__(self, ffn: FeedForward, predictor: nn.Module, kept: float) -> None:
        super().__init__()
        self.gate, self.up = ffn.gate, ffn.up
        self.down_rows = nn.Parameter(ffn.down.weight.detach().T.contiguous(), requires_grad=False)  # (ffn, hidden)
        self.predictor = predictor
        self.count = max(1, round(kept * ffn.gate.out_features))

    def choose(self, x: Tensor) -> Tensor:
        """x: (.., hidden) -> (.., count): the neurons that each token gets."""
        return cast(Tensor, self.predictor(x)).topk(self.count, -1).indices

    def forward(self, x: Tensor) -> Tensor:
        """x: (.., hidden) -> as x"""
        if x.numel() == x.shape[-1]:
            return self.of_one_token(x.reshape(1, -1)).reshape(x.shape)
        inner = functional.silu(self.gate(x)) * self.up(x)
        mask = torch.zeros_like(inner).scatter_(-1, self.choose(x), 1.0)
        out: Tensor = (inner * mask) @ self.down_rows
        return out

    def of_one_token(self, x: Tensor) -> Tensor:
        """Read the rows of the chosen neurons, and no others; all of a gate that chooses. x: (1, hidden) -> as x"""
        if isinstance(self.predictor, GatePredictor):
            gate = functional.silu(self.gate(x))
            chosen = gate.abs().topk(self.count, -1).indices[0]
            gate = gate[:, chosen]
        else:
            chosen = self.choose(x)[0]
            gate = functional.silu(functional.linear(x, self.gate.weight[chosen]))
        inner = gate * functional.linear(x, self.up.weight[chosen])
        # A weighted sum of rows in place, where indexing would first copy them.
        return functional.embedding_bag(chosen[None], self.down_rows, per_sample_weights=inner, mode="sum")


def activity(ffn: FeedForward, x: Tensor) -> Tensor:
    """x: (.., hidden) -> (.., ffn)"""
    inner: Tensor = functional.silu(ffn.gate(x)) * ffn.up(x)
    return inner.abs()


def most_active(scores: Tensor, kept: float) -> Tensor:
    """The same number for each token. scores: (.., ffn) -> bool (.., ffn)"""
    return keep_largest(scores, scores.shape[-1] - max(1, round(kept * scores.shape[-1])))


@torch.no_grad()
def recall(ffn: FeedForward, predictor: nn.Module, x: Tensor, kept: float) -> float:
    """Share of the truly most active neurons that the predictor names. x: (rows, hidden)"""
    true, named = most_active(activity(ffn, x), kept), most_active(predictor(x), kept)
    return float((true & named).sum() / true.sum())


def fit_predictor(ffn: FeedForward, x: Tensor, config: Config) -> Predictor:
    """Train a predictor to name the most active neurons of this layer. x: (rows, hidden), inputs of the layer."""
    generator = torch.Generator().manual_seed(config.seed)
    neurons, hidden = ffn.gate.weight.shape
    predictor = Predictor(hidden, neurons, config.rank, generator).to(x)
    with torch.no_grad():
        size = activity(ffn, x)
        labels = most_active(size, config.kept).to(x.dtype)
        weights = 1 + size / size.mean(-1, keepdim=True).clamp(min=1e-12)
    optimizer = torch.optim.Adam(predictor.parameters(), lr=config.learning_rate)
    for _ in range(config.steps):
        rows = torch.randint(len(x), (min(config.rows, len(x)),), generator=generator)
        optimizer.zero_grad()
        scores = predictor(x[rows])
        torch.autograd.backward(functional.binary_cross_entropy_with_logits(scores, labels[rows], weights[rows]))
        optimizer.step()
    return predictor.requires_grad_(False)


def shrink(model: nn.Module, config: Config, calibration: Calibration | None = None) -> Decoder:
    """A decoder that computes `kept` of its neurons; `calibration.sample_rows` is what the predictors learn from."""
    result = deepcopy(as_decoder(model)).requires_grad_(False)
    blocks = decoder_blocks(result)
    inputs: dict[str, Tensor] = {}
    if config.choice == "learned":
        if calibration is None:
            raise ValueError("contextual needs text to train its predictors on: give calibration=Calibration(batches)")
        gates = {str(index): block.ffn.gate for index, block in enumerate(blocks)}
        inputs = {name: found.sample for name, found in collect(result, dict(gates), calibration, False).items()}
    for index, block in enumerate(blocks):
        predictor = _predictor(block.ffn, inputs.get(str(index)), config)
        block.ffn = cast(FeedForward, ContextualFeedForward(block.ffn, predictor, config.kept))
    return result


def _predictor(ffn: FeedForward, x: Tensor | None, config: Config) -> nn.Module:
    if config.choice == "oracle":
        return OraclePredictor(ffn)
    return GatePredictor(ffn) if x is None else fit_predictor(ffn, x, config)
