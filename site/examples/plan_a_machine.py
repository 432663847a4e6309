"""Ask what fits a machine, and how fast it can be at most.

The formulas are those of the planner's page; no torch is needed.
"""

from reference_impls.cost_model.memory import kv_bytes, weight_bytes
from reference_impls.cost_model.tables import load_tables

tables = load_tables()
shape, machine = tables.shape("llama-3.1-8b"), tables.machine("rtx-4090")

for weights in ("bf16", "int8", "int4-g64"):
    held = weight_bytes(shape, tables.weights[weights]) + kv_bytes(shape, tables.kv["bf16"], context=8192, batch=1)
    fits = "fits" if held <= machine.memory_bytes else "does not fit"
    print(f"{weights}: {held / 1e9:.1f} GB {fits}; at most {machine.read_bytes_per_s / held:.0f} tokens/s at batch 1")
