"""Kinds of jobs: measured throughput of four models on 1 to 64 GPUs, and the models fitted to it.

The points are from the artifact released with "ElasticFlow: An Elastic Serverless Training Platform for Distributed
Deep Learning" (pkusys/ElasticFlow): iterations a second on A100 GPUs, eight a node, at a fixed batch over all GPUs.
"""

from dataclasses import replace
from functools import cache

from reference_impls.cluster.throughput import Model, Point, fit

COUNTS = (1, 2, 4, 8, 16, 32, 64)
MEASURED: dict[str, tuple[int, tuple[float, ...]]] = {
    "bert": (64, (6.03, 8.64, 10.36, 11.06, 10.99, 10.61, 9.25)),
    "gpt2": (128, (7.31, 11.95, 16.67, 18.70, 19.87, 18.60, 16.65)),
    "resnet50": (256, (1.84, 3.45, 6.19, 10.38, 15.15, 17.82, 18.85)),
    "vgg16": (256, (1.31, 2.52, 4.64, 8.00, 12.62, 16.37, 20.66)),
}
"""Name -> (batch over all GPUs, iterations/s at COUNTS)."""


def points(name: str) -> list[Point]:
    """The measured points of one kind."""
    batch, rates = MEASURED[name]
    return [Point(gpus, batch, rate) for gpus, rate in zip(COUNTS, rates, strict=True)]


@cache
def _fitted(name: str) -> Model:
    return fit(points(name))


def fitted(k: float = 0.8) -> dict[str, tuple[Model, float]]:
    """Every kind with its model and batch. k: how its time follows the clock, which the points do not say."""
    return {name: (replace(_fitted(name), k=k), float(MEASURED[name][0])) for name in MEASURED}
