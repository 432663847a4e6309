"""The cases of attention: time and memory by length, shared heads and latents by quality, GPU kernels."""

from reference_impls.attention import bench_heads, bench_prefill, bench_sharing, bench_time
from reference_impls.measurement.case import Case


def cases() -> list[Case]:
    """All of them: values first, then most of the times."""
    return [*bench_heads.cases(), *bench_sharing.cases(), *bench_prefill.cases(), *bench_time.cases()]
