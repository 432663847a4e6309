"""The case of the throughput model: how well it tells numbers of GPUs that it was not fitted to."""

from functools import partial
from itertools import count

import numpy as np

from reference_impls.cluster import profiles, throughput
from reference_impls.cluster.throughput import Point
from reference_impls.measurement.case import Case, Implementation, Step, Workload

KINDS = tuple(profiles.MEASURED)


def cases() -> list[Case]:
    """A sample for each kind of job."""

    def prepare(name: str, _workload: Workload, _device: str) -> Step:
        kinds = count()
        return lambda: 100 * float(np.mean(list(ERRORS[name](profiles.points(KINDS[next(kinds)])).values())))

    return [
        Case(
            id="cluster/throughput-model/held-out/prediction_error",
            title="Iteration times on a number of GPUs that was left out of the fit",
            metric="prediction_error",
            workload={
                "kinds": ", ".join(KINDS),
                "points": "1 to 64 GPUs, published; each but the first and the last left out in turn",
            },
            implementations=(
                Implementation("amdahl", "baseline", "simulated", partial(prepare, "amdahl")),
                Implementation(
                    "throughput-model", "method", "simulated", partial(prepare, "throughput-model"), module="throughput"
                ),
            ),
            timed=False,
            no_limit="a model may be exact",
            devices=("cpu",),
            trials=len(KINDS),
        )
    ]


def amdahl_errors(points: list[Point]) -> dict[int, float]:
    """Of 1 / rate = a + b / GPUs, fitted by least squares of the relative error; as `throughput.left_out_errors`."""
    errors = {}
    for left_out in points[1:-1]:
        rest = [point for point in points if point is not left_out]
        rates = np.array([point.iterations_per_s for point in rest])
        design = np.array([[1.0, 1 / point.gpus] for point in rest]) * rates[:, None]
        a, b = np.linalg.lstsq(design, np.ones(len(rest)), rcond=None)[0]
        told = 1 / float(a + b / left_out.gpus)
        errors[left_out.gpus] = abs(told / left_out.iterations_per_s - 1)
    return errors


ERRORS = {"amdahl": amdahl_errors, "throughput-model": throughput.left_out_errors}
