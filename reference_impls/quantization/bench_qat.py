"""What training through the rounding brings at 2 and 3 bits, beside the best rounding without training.

The trained model sees the pool of text that the others are calibrated on, more than once; none of it is evaluated.
"""

from functools import cache, partial

from reference_impls.measurement.case import Case, Implementation, Step, Workload
from reference_impls.models.perplexity import token_perplexity
from reference_impls.quantization import qat
from reference_impls.quantization.bench_quality import (
    CONTEXT,
    EVALUATED,
    POOL,
    model_of,
    quality_implementation,
    tokens_of,
    workload_of,
)
from reference_impls.quantization.bench_recipes import grid_recipes
from reference_impls.quantization.grid import GridConfig

MODEL, STEPS = "tiny-target", 200


def qat_cases() -> list[Case]:
    """The tiny target at 2 and 3 bits in groups of 64, all on the same grid."""
    return [_case(bits) for bits in (3, 2)]


def _case(bits: int) -> Case:
    others = [one for one in grid_recipes(bits) if one.name in ("rtn", "hqq", "gptq")]
    trained = Implementation(f"qat-{STEPS}-steps", "method", "simulated", partial(_trained, bits), module="qat")
    return Case(
        id=f"quantization/{MODEL}/{bits}-bit-trained/perplexity",
        title=f"Perplexity of {MODEL}, {bits}-bit, trained through the rounding",
        metric="perplexity",
        workload=dict(workload_of(MODEL)) | {"training_tokens": POOL, "training_steps": STEPS, "training_batch": 1},
        implementations=(*(quality_implementation(one) for one in [None, *others]), trained),
        timed=False,
        deterministic=True,
        no_limit="a property of the model and the text, not of the machine",
        devices=("cpu",),
    )


def _trained(bits: int, workload: Workload, device: str) -> Step:  # noqa: ARG001 values do not depend on the device
    return partial(trained_perplexity, bits, STEPS)


@cache
def trained_perplexity(bits: int, steps: int) -> float:
    """Train for so many steps of one window; -> perplexity on the text held out from it."""
    teacher, tokens = model_of(MODEL), tokens_of(MODEL)
    pool = tokens[EVALUATED[MODEL] :]
    batches = [pool[None, start : start + CONTEXT] for start in range(0, len(pool) - CONTEXT, CONTEXT // 2)]
    student = qat.prepare(teacher, GridConfig(bits, 64))
    qat.train(student, teacher, batches, qat.Training(steps))
    return token_perplexity(student, tokens[: EVALUATED[MODEL]], CONTEXT)
