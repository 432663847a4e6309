"""Run a method over the linear layers of any model. Factors are really smaller and multiplied as they are."""

from typing import Any

from torch import Tensor, nn
from torch.nn.functional import linear

from reference_impls.low_rank import Factors, LayerStats, Method, methods
from reference_impls.quantization.calibration import Calibration
from reference_impls.quantization.linears import SKIP, change_linears


class LowRankLinear(nn.Module):
    """A linear layer as two thin ones."""

    effect = "kernel"
    bias: nn.Parameter | None

    def __init__(self, factors: Factors, bias: Tensor | None = None) -> None:
        super().__init__()
        self.left = nn.Parameter(factors.left, requires_grad=False)
        self.right = nn.Parameter(factors.right, requires_grad=False)
        self.register_parameter("bias", None if bias is None else nn.Parameter(bias.detach().clone()))
        self.out_features, self.in_features = factors.left.shape[0], factors.right.shape[1]

    def forward(self, inputs: Tensor) -> Tensor:
        """inputs: (batch.., in) -> (batch.., out)"""
        return linear(linear(inputs, self.right), self.left, self.bias)


def factorize_model(
    model: nn.Module,
    method: Method | str,
    config: Any,
    calibration: Calibration | None = None,
    skip: tuple[str, ...] = SKIP,
) -> nn.Module:
    """A copy of the model with factors in the place of its linear layers. method: a module of this package or its name;
    layers that would not get smaller (rank too high) stay dense.
    """
    found = _find_method(method)

    def change(_name: str, layer: nn.Linear, stats: LayerStats | None) -> nn.Module:
        factors = found.factorize(layer.weight.detach(), config, stats)
        return LowRankLinear(factors, layer.bias) if factors.parameters < layer.weight.numel() else layer

    return change_linears(model, change, getattr(found, "NEEDS", ()), calibration, skip)


def _find_method(method: Method | str) -> Method:
    if not isinstance(method, str):
        return method
    known = methods()
    if method not in known:
        raise ValueError(f"method: expected one of {', '.join(sorted(known))}, got {method!r}")
    return known[method]
