"""Calibration: run a model over some tokens and record what each linear layer is given.

Hooks observe the model; it runs to its end and nothing is raised to stop it. Blocks can be visited one at a time, so
that later blocks see what earlier, already quantized ones put out.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from reference_impls.quantization import LayerStats


def _call(model: nn.Module, batch: Any) -> Any:
    keeps_cache = hasattr(getattr(model, "config", None), "use_cache")  # Hugging Face: a cache would grow at replay
    return model(batch, use_cache=False) if keeps_cache else model(batch)


@dataclass(frozen=True)
class Calibration:
    """The inputs of a calibration run and how to run them."""

    batches: Sequence[Any]  # each is given to `forward`; usually tokens: (batch, seq)
    forward: Callable[[nn.Module, Any], Any] = _call
    sequential: bool = False  # block by block, later blocks seeing the outputs of quantized earlier ones
    sample_rows: int = 256  # input rows kept per layer, spread over the run

    def __post_init__(self) -> None:
        if not self.batches:
            raise ValueError("calibration needs at least one batch, got none")


class _Recorder:
    """Running sums over the inputs of one layer."""

    def __init__(self, hessian: bool, rows_per_batch: int) -> None:
        self.hessian, self.rows_per_batch = hessian, rows_per_batch
        self.tokens = 0
        self.sum_abs: Tensor | None = None
        self.max_abs = self.sum_squares = self.outer = torch.zeros(())
        self.rows: list[Tensor] = []

    def add(self, inputs: Tensor) -> None:
        """inputs: (batch.., in)"""
        rows = inputs.detach().reshape(-1, inputs.shape[-1]).to(torch.promote_types(inputs.dtype, torch.float32))
        step = max(1, len(rows) // self.rows_per_batch)
        self.rows.append(rows[::step][: self.rows_per_batch].clone())
        if self.sum_abs is None:
            self.sum_abs = torch.zeros_like(rows[0])
            self.max_abs, self.sum_squares = torch.zeros_like(rows[0]), torch.zeros_like(rows[0])
            self.outer = self.outer.to(rows)
        self.tokens += len(rows)
        self.sum_abs = self.sum_abs + rows.abs().sum(0)
        self.max_abs = torch.maximum(self.max_abs, rows.abs().amax(0))
        self.sum_squares = self.sum_squares + rows.square().sum(0)
        if self.hessian:
            self.outer = self.outer + rows.T @ rows

    def stats(self, name: str) -> LayerStats:
        """What was seen; a layer that never ran is an error of the caller's, told with its name."""
        if self.sum_abs is None:
            raise ValueError(f"{name}: calibration never ran this layer; leave it out with skip, or change the batches")
        return LayerStats(
            tokens=self.tokens,
            mean_abs=self.sum_abs / self.tokens,
            max_abs=self.max_abs,
            mean_square=self.sum_squares / self.tokens,
            sample=torch.cat(self.rows),
            hessian=2 * self.outer / self.tokens if self.hessian else None,
        )


def stats_of(inputs: Tensor, hessian: bool = True, sample_rows: int = 256) -> LayerStats:
    """Statistics of inputs at hand. inputs: (batch.., in)"""
    recorder = _Recorder(hessian, sample_rows)
    recorder.add(inputs)
    return recorder.stats("inputs")


@contextmanager
def _recording(layers: dict[str, nn.Module], hessian: bool, rows_per_batch: int) -> Iterator[dict[str, _Recorder]]:
    recorders = {name: _Recorder(hessian, rows_per_batch) for name in layers}

    def observe(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        return lambda _module, inputs: recorders[name].add(inputs[0])

    handles = [layer.register_forward_pre_hook(observe(name)) for name, layer in layers.items()]
    try:
        yield recorders
    finally:
        for handle in handles:
            handle.remove()


@torch.no_grad()
def collect(
    model: nn.Module, layers: dict[str, nn.Module], calibration: Calibration, hessian: bool = True
) -> dict[str, LayerStats]:
    """Statistics of the layers over one run of every batch, in evaluation mode."""
    was_training = model.training
    model.eval()
    rows_per_batch = max(1, calibration.sample_rows // len(calibration.batches))
    with _recording(layers, hessian, rows_per_batch) as recorders:
        for batch in calibration.batches:
            calibration.forward(model, batch)
    model.train(was_training)
    return {name: recorder.stats(name) for name, recorder in recorders.items()}


def find_blocks(model: nn.Module) -> dict[str, nn.Module]:
    """The decoder blocks by name: the children of the longest nn.ModuleList."""
    lists = [(name, module) for name, module in model.named_modules() if isinstance(module, nn.ModuleList)]
    if not lists:
        raise ValueError(f"{type(model).__name__} has no nn.ModuleList of blocks: use Calibration(sequential=False)")
    name, longest = max(lists, key=lambda item: len(item[1]))
    return {f"{name}.{index}" if name else str(index): block for index, block in enumerate(longest)}


Collect = Callable[[dict[str, nn.Module], bool], dict[str, LayerStats]]
_Calls = list[tuple[tuple[Any, ...], dict[str, Any]]]  # per batch: what a block got beside its hidden states


@torch.no_grad()
def visit_blocks(model: nn.Module, calibration: Calibration, visit: Callable[[str, Collect], None]) -> None:
    """Call visit(block name, collect) for each block in order; collect(layers, hessian) gives their statistics.

    What `visit` changes in a block is what the next block's inputs are computed with. A block must take its hidden
    states first and return them alone or first, which decoders of this package and of Hugging Face do.
    """
    was_training = model.training
    model.eval()
    blocks = find_blocks(model)
    calls, hidden = _record_calls(model, blocks, calibration)
    rows_per_batch = max(1, calibration.sample_rows // len(calibration.batches))
    for name, block in blocks.items():
        visit(name, partial(_collect_block, block, hidden, calls[name], rows_per_batch))
        hidden = _run_block(block, hidden, calls[name])
    model.train(was_training)


def _run_block(block: nn.Module, hidden: list[Tensor], calls: _Calls) -> list[Tensor]:
    """hidden: per batch (batch, seq, hidden) -> the same, behind the block."""
    outputs = [block(x, *args, **kwargs) for x, (args, kwargs) in zip(hidden, calls, strict=True)]
    return [out if isinstance(out, Tensor) else out[0] for out in outputs]


def _collect_block(
    block: nn.Module,
    hidden: list[Tensor],
    calls: _Calls,
    rows_per_batch: int,
    layers: dict[str, nn.Module],
    hessian: bool,
) -> dict[str, LayerStats]:
    with _recording(layers, hessian, rows_per_batch) as recorders:
        _run_block(block, hidden, calls)
    return {name: recorder.stats(name) for name, recorder in recorders.items()}


def _record_calls(
    model: nn.Module, blocks: dict[str, nn.Module], calibration: Calibration
) -> tuple[dict[str, _Calls], list[Tensor]]:
    """One run of every batch -> what each block was called with, and the first block's hidden states."""
    calls: dict[str, _Calls] = {name: [] for name in blocks}
    first: list[Tensor] = []

    def observe(name: str) -> Callable[[nn.Module, tuple[Any, ...], dict[str, Any]], None]:
        def hook(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            if not args:
                raise ValueError(f"{name}: called without positional hidden states: use Calibration(sequential=False)")
            calls[name].append((args[1:], kwargs))
            if name == next(iter(blocks)):
                first.append(args[0])

        return hook

    handles = [block.register_forward_pre_hook(observe(name), with_kwargs=True) for name, block in blocks.items()]
    try:
        for batch in calibration.batches:
            calibration.forward(model, batch)
    finally:
        for handle in handles:
            handle.remove()
    return calls, first
