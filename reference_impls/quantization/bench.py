"""The cases of this family: what quantization costs in quality, and what it saves in bytes and time.

Quality and bytes are those of whole models (bench_quality.py, bench_qat.py); time is that of one linear layer
(bench_linear.py) or several in a row (bench_in_a_row.py), of whole decode steps (bench_decode.py, against the programs
in peers.py) and of applying a method.
"""

from functools import partial

import torch

from reference_impls.measurement.case import Case, Implementation, Step, Workload
from reference_impls.quantization.bench_decode import decode_cases
from reference_impls.quantization.bench_in_a_row import row_case
from reference_impls.quantization.bench_linear import linear_cases
from reference_impls.quantization.bench_qat import qat_cases
from reference_impls.quantization.bench_quality import quality_cases
from reference_impls.quantization.bench_recipes import Recipe, grid_recipes
from reference_impls.quantization.calibration import stats_of


def cases() -> list[Case]:
    """Every case of the family."""
    linear = linear_cases()
    one_row = next(case for case in linear if case.workload["batch"] == 1 and "cpu" in case.devices)
    return [*quality_cases(), *qat_cases(), *linear, row_case(one_row), *decode_cases(), _time_case()]


def _time_case() -> Case:
    ways = [
        Implementation(
            recipe.name,
            "baseline" if recipe.name == "rtn" else "method",
            "simulated",
            partial(_apply, recipe),
            module=recipe.module,
        )
        for recipe in grid_recipes(4)
    ]
    return Case(
        id="quantization/apply/layer-768",
        title="Quantizing one 768 x 768 layer to 4 bits",
        metric="quantize_time",
        workload={"in": 768, "out": 768, "bits": 4, "calibration_rows": 1024, "dtype": "float32"},
        implementations=tuple(ways),
        timed=True,
        no_limit="bound by the method's own sequence of steps, not by a resource",
        devices=("cpu",),
    )


def _apply(recipe: Recipe, workload: Workload, device: str) -> Step:
    generator = torch.Generator().manual_seed(2)
    width = int(workload["in"] or 1)
    weight = (torch.randn(width, width, generator=generator) * 0.02).to(device)
    rows = torch.randn(int(workload["calibration_rows"] or 1), width, generator=generator).to(device)
    stats = stats_of(rows)

    def step() -> None:
        recipe.method.quantize(weight, recipe.config, stats)

    return step
