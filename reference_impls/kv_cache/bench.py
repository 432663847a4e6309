"""The cases of the key-value cache: quality against bytes, bytes moved, time of paging, reuse and offloading."""

from reference_impls.kv_cache import (
    bench_decode,
    bench_flexgen,
    bench_gpu,
    bench_offload,
    bench_paged,
    bench_peers,
    bench_published,
    bench_quality,
    bench_stream,
    bench_tiers,
)
from reference_impls.measurement.case import Case


def cases() -> list[Case]:
    """All of them: values first, then times."""
    parts = (
        bench_quality,
        bench_stream,
        bench_published,
        bench_offload,
        bench_flexgen,
        bench_tiers,
        bench_paged,
        bench_decode,
        bench_peers,
        bench_gpu,
    )
    return [case for part in parts for case in part.cases()]
