"""The cases of this family: scheduling at equal energy, sharing with and without a guard, pairs of real processes."""

from reference_impls.cluster import bench_energy, bench_fit, bench_pairs, bench_sharing, bench_streams
from reference_impls.measurement.case import Case


def cases() -> list[Case]:
    """Every case of the family."""
    parts = (bench_energy, bench_fit, bench_sharing, bench_pairs, bench_streams)
    return [case for part in parts for case in part.cases()]
