"""The cases of this family: scheduling at equal energy, sharing with and without a guard, pairs of real processes."""

from reference_impls.cluster import bench_energy, bench_pairs, bench_sharing, bench_streams
from reference_impls.measurement.case import Case


def cases() -> list[Case]:
    """Every case of the family."""
    return [*bench_energy.cases(), *bench_sharing.cases(), *bench_pairs.cases(), *bench_streams.cases()]
