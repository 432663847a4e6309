"""Find the linear layers of any model and put others in their place: what every compression family does to a model.

`change_linears` is told what to make of one layer and decides in which order, and with which statistics of its
inputs, each is made.
"""

from collections.abc import Callable, Mapping
from copy import deepcopy
from fnmatch import fnmatch

from torch import nn

from reference_impls.quantization import LayerStats
from reference_impls.quantization.calibration import Calibration, Collect, collect, visit_blocks

SKIP = ("lm_head", "head")
Change = Callable[[str, nn.Linear, LayerStats | None], nn.Module]
_ReplaceAll = Callable[[list[str], Mapping[str, LayerStats]], None]


def find_linears(model: nn.Module, skip: tuple[str, ...] = SKIP) -> dict[str, nn.Linear]:
    """The linear layers by name. `skip` holds patterns of names, as `matches` reads them."""
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and not matches(name, skip)
    }


def matches(name: str, patterns: tuple[str, ...]) -> bool:
    """Whether a layer's name, whole or its last part, fits one of the patterns (as in file names)."""
    return any(fnmatch(name, pattern) or fnmatch(name.rpartition(".")[2], pattern) for pattern in patterns)


def change_linears(
    model: nn.Module,
    change: Change,
    needs: tuple[str, ...] = (),
    calibration: Calibration | Mapping[str, LayerStats] | None = None,
    skip: tuple[str, ...] = SKIP,
) -> nn.Module:
    """A copy of the model whose linear layers are what `change` makes of them; the one given stays as it is.

    change: (name, layer, statistics or None) -> module; needs: LayerStats fields it reads; calibration: how to run
    the model, or what `calibration.collect` saw of it before, by the names of the layers. With a sequential one,
    later blocks are seen as earlier changes leave their inputs. A ValueError of `change` is told with the layer's name.
    """
    if needs and calibration is None:
        raise ValueError(f"the method needs {', '.join(needs)} of the inputs: give calibration=Calibration(batches)")
    result = deepcopy(model)
    layers = find_linears(result, skip)
    if not layers:
        raise ValueError(f"{type(model).__name__} has no nn.Linear outside skip={skip}")
    hessian = "hessian" in needs

    def replace_all(names: list[str], stats: Mapping[str, LayerStats]) -> None:
        for name in names:
            try:
                replacement = change(name, layers[name], stats.get(name))
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from error
            result.set_submodule(name, replacement)

    if calibration is None or not needs:
        replace_all(list(layers), {})
    elif not isinstance(calibration, Calibration):
        replace_all(list(layers), calibration)
    elif calibration.sequential:
        _replace_in_order(result, layers, calibration, hessian, replace_all)
    else:
        replace_all(list(layers), collect(result, dict(layers), calibration, hessian))
    return result


def _replace_in_order(
    model: nn.Module,
    layers: dict[str, nn.Linear],
    calibration: Calibration,
    hessian: bool,
    replace_all: _ReplaceAll,
) -> None:
    """Block by block, then what is outside the blocks, with statistics of the model as it is by then."""
    left = dict(layers)

    def visit(block_name: str, collect_block: Collect) -> None:
        inside = [name for name in left if name.startswith(block_name + ".")]
        replace_all(inside, collect_block({name: left[name] for name in inside}, hessian))
        for name in inside:
            del left[name]

    visit_blocks(model, calibration, visit)
    if left:
        replace_all(list(left), collect(model, dict(left), calibration, hessian))
