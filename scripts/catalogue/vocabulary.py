"""The closed vocabularies: every word a data file may use where the choice is not free, each in one place.

Each table is sorted by its words; tests hold that, and that no two words differ in case alone.
"""

from dataclasses import dataclass
from typing import Literal, get_args

Level = Literal["listed", "reviewed"]
Kind = Literal["paper", "post", "software"]

Resource = Literal["bandwidth", "communication", "compute", "data", "energy", "latency", "memory", "money", "storage"]
"""What a technique can save."""

Cost = Literal[
    "bandwidth",
    "calibration",
    "communication",
    "complexity",
    "compute",
    "data",
    "energy",
    "latency",
    "memory",
    "money",
    "quality",
    "storage",
    "training",
]
"""What a technique can cost: the resources, and four things that are no resource."""

RESOURCE_MEANING: dict[str, str] = {
    "bandwidth": "bytes moved between memory and processor",
    "communication": "bytes moved between machines or devices",
    "compute": "arithmetic operations",
    "data": "training examples or tokens needed",
    "energy": "joules",
    "latency": "time a user or a step waits",
    "memory": "bytes resident while running",
    "money": "what a provider charges",
    "storage": "bytes at rest",
}

Form = Literal["absolute", "difference", "ratio"]
"""How a claim's value relates to its metric: the metric itself, method minus baseline, method divided by baseline."""

Bound = Literal["about", "at_least", "at_most", "exact", "up_to"]
"""How the source hedges the value."""

Seen = Literal["artifact", "memory", "recomputed", "secondary", "source"]
SEEN_MEANING: dict[str, str] = {
    "artifact": "read in the authors' released code or data",
    "memory": "recalled; not yet looked up",
    "recomputed": "recomputed by us from released data",
    "secondary": "read in somebody else's notes or code, not in the source",
    "source": "read in the source's own text",
}

Better = Literal["higher", "lower", "neither"]


@dataclass(frozen=True)
class Metric:
    """A measurable quantity: what it is called, its unit, and which way is better."""

    title: str
    unit: str
    better: Better


METRICS: dict[str, Metric] = {
    "acceptance_rate": Metric("drafted tokens that are accepted", "1", "higher"),
    "accepted_per_round": Metric("drafted tokens accepted per verification", "tokens", "higher"),
    "accuracy": Metric("accuracy", "%", "higher"),
    "ageing_threshold": Metric("wait after which a job is promoted", "s", "neither"),
    "bits_per_weight": Metric("stored bits per weight", "bit", "lower"),
    "bugs_confirmed": Metric("bugs confirmed by developers", "bugs", "higher"),
    "bugs_fixed": Metric("bugs fixed by developers", "bugs", "higher"),
    "bugs_found": Metric("bugs found", "bugs", "higher"),
    "bugs_studied": Metric("bugs studied", "bugs", "neither"),
    "bytes_moved": Metric("bytes moved", "B", "lower"),
    "categories": Metric("categories in a taxonomy", "categories", "neither"),
    "coefficient_of_variation": Metric("coefficient of variation of repeated runs", "%", "lower"),
    "cold_start_latency": Metric("cold-start latency", "s", "lower"),
    "cold_start_rate": Metric("invocations that start cold", "%", "lower"),
    "concurrent_requests": Metric("requests that run at once", "requests", "higher"),
    "decode_throughput": Metric("decode throughput", "tokens/s", "higher"),
    "demographic_gap": Metric("gap in detection between groups", "percentage points", "lower"),
    "detections": Metric("labelled people detected", "people", "higher"),
    "deviations_found": Metric("deviations from the specification, alike ones counted once", "deviations", "lower"),
    "draft_share": Metric("share of decoding time spent drafting", "%", "neither"),
    "energy_per_job": Metric("energy per job, idle power included", "kWh", "lower"),
    "energy_per_token": Metric("energy per output token", "J", "lower"),
    "equal_results": Metric("results that are equal to the last bit", "%", "higher"),
    "faults_found": Metric("faults put in on purpose that are found by the intended test", "%", "higher"),
    "goodput": Metric("requests finished within the target a token", "requests/s", "higher"),
    "gpu_memory_used": Metric("GPU memory in use", "%", "higher"),
    "gpu_utilisation": Metric("GPU utilisation (any kernel resident)", "%", "higher"),
    "gpus_managed": Metric("GPUs managed", "GPUs", "higher"),
    "group_gap_change": Metric("change of the gap between groups", "percentage points", "neither"),
    "group_gap_margin": Metric("half the 95 % interval of that change", "percentage points", "lower"),
    "idle_memory": Metric("memory held by idle instances", "GiB·s", "lower"),
    "independent_accuracy": Metric("accuracy of the sample at the stop against runs it did not see", "%", "higher"),
    "interval_coverage": Metric("stated 95 % intervals that hold the true percentile at the stop", "%", "higher"),
    "invocation_cost": Metric("price of a million invocations", "USD", "lower"),
    "jct": Metric("mean job completion time", "s", "lower"),
    "jct_far_tail": Metric("99th percentile of job completion time", "s", "lower"),
    "jct_max": Metric("longest job completion time", "s", "lower"),
    "jct_median": Metric("median job completion time", "s", "lower"),
    "jct_tail": Metric("tail job completion time", "s", "lower"),
    "kv_bytes": Metric("key-value cache size", "B", "lower"),
    "kv_waste": Metric("reserved key-value slots that hold no token", "%", "lower"),
    "latency": Metric("latency", "s", "lower"),
    "latency_per_token": Metric("completion time divided by output tokens, waiting included", "s", "lower"),
    "latency_per_token_far_tail": Metric("99th percentile of completion time by output tokens", "s", "lower"),
    "latency_per_token_max": Metric("longest completion time by output tokens", "s", "lower"),
    "latency_per_token_median": Metric("median of completion time by output tokens", "s", "lower"),
    "latency_per_token_tail": Metric("tail of completion time divided by output tokens", "s", "lower"),
    "layer_error": Metric("relative output error of a layer", "1", "lower"),
    "leaks_found": Metric("canaries found after their request", "%", "lower"),
    "load_share": Metric("share of a step spent loading weights", "%", "neither"),
    "memory_size": Metric("memory configured", "MiB", "neither"),
    "miss_rate": Metric("miss rate", "%", "lower"),
    "offline_throughput": Metric("best-effort throughput over that alone", "1", "higher"),
    "online_slowdown": Metric("slowdown of a service", "1", "lower"),
    "outcomes_compared": Metric("outcomes compared with the specification's", "outcomes", "higher"),
    "overhead": Metric("overhead", "%", "lower"),
    "papers_studied": Metric("papers studied", "papers", "neither"),
    "peak_memory": Metric("peak memory", "B", "lower"),
    "perplexity": Metric("token perplexity", "1", "lower"),
    "phase_time": Metric("time of one phase of a cold start", "s", "lower"),
    "prediction_error": Metric("mean error of predicted iteration times", "%", "lower"),
    "preemptions": Metric("preemptions per request", "preemptions", "lower"),
    "prefill_throughput": Metric("prefill throughput", "tokens/s", "higher"),
    "probes": Metric("memory sizes measured", "sizes", "lower"),
    "quantize_time": Metric("time to apply the method", "s", "lower"),
    "queueing_share": Metric("share of latency spent waiting", "%", "lower"),
    "range_ratio": Metric("spread of repeated runs, (max - min) / min", "%", "lower"),
    "rank_correlation": Metric("rank correlation of completion times with the simulation", "1", "higher"),
    "recall": Metric("recall", "1", "higher"),
    "repetitions": Metric("repetitions needed", "runs", "lower"),
    "rouge_l": Metric("Rouge-L against the target's own output", "1", "higher"),
    "scheduling_rate": Metric("sequences scheduled per second", "sequences/s", "higher"),
    "share_looking_normal": Metric("share of series that pass a normality test", "%", "neither"),
    "share_with_repetitions": Metric("share of studies that repeat their runs", "%", "higher"),
    "simulated_throughput": Metric("simulated output tokens per second of computing", "tokens/s", "higher"),
    "sm_activity": Metric("share of streaming multiprocessors active", "%", "higher"),
    "stall_share": Metric("share of a step spent waiting for transfers", "%", "lower"),
    "step_time": Metric("time of one step", "s", "lower"),
    "stop_accuracy": Metric("accuracy of the sample at the stop against the ground truth", "%", "higher"),
    "stop_coverage": Metric("trials whose quartiles at the stop are all within the error bound", "%", "higher"),
    "subjects_studied": Metric("systems or items under study", "items", "neither"),
    "tbt_tail": Metric("99th percentile of the time between tokens", "s", "lower"),
    "throughput": Metric("throughput", "requests/s", "higher"),
    "throughput_at_slo": Metric("throughput at equal latency", "requests/s", "higher"),
    "tokens_per_target_step": Metric("tokens per target step", "tokens", "higher"),
    "tpot": Metric("time per output token", "s", "lower"),
    "trained_parameters": Metric("trained parameters", "parameters", "lower"),
    "training_compute": Metric("training compute", "FLOP", "lower"),
    "training_state_bytes": Metric("gradients and optimiser state held at once", "B", "lower"),
    "training_tokens": Metric("training tokens", "tokens", "lower"),
    "ttft": Metric("time to first token", "s", "lower"),
    "unreliable_share": Metric("share of functions with an unreliable result", "%", "lower"),
    "weight_bytes": Metric("weight size", "B", "lower"),
    "witness_left": Metric("calls and instructions of a witness that are left after its reduction", "%", "lower"),
    "worst_error": Metric("largest error of a quartile at the stop", "%", "lower"),
}


@dataclass(frozen=True)
class Area:
    """A top-level branch of the taxonomy; `hue` numbers its colour on every page and figure (site/assets/theme.css)."""

    title: str
    hue: int


AREAS: dict[str, Area] = {
    "algorithms": Area("Algorithms", 1),
    "architectures": Area("Architectures", 2),
    "foundation-models": Area("Foundation models", 3),
    "measurement": Area("Measurement", 4),
    "surveys": Area("Surveys", 5),
    "systems": Area("Systems", 6),
}

RESOURCES: tuple[str, ...] = get_args(Resource)
