"""What a model costs on a machine before anything is run: bytes, whether they fit, and bounds on time.

`records` holds the words (Shape, WeightFormat, KvFormat, Machine, Settings, Plan), `parameters`, `memory`, `time` and
`planning` the formulas, `tables` the data: shapes of open models, formats, machines with their sources. No torch.

    from reference_impls.cost_model import plan, load_tables, Settings
    tables = load_tables()
    found = plan(tables.shape("llama-3.1-8b"), tables.machine("rtx-4090"), tables.weights["int4-g128"],
                 tables.kv["bf16"], Settings(context=8192))
    print(found.fits, found.decode_s)

The formulas are written in the small part of Python that `scripts/website/transpile.py` can turn into JavaScript: the
site's planner computes with them, not with a second version.
"""

from reference_impls.cost_model.planning import plan, rank
from reference_impls.cost_model.records import KvFormat, Machine, Option, Plan, Settings, Shape, WeightFormat
from reference_impls.cost_model.tables import TableError, Tables, load_tables

__all__ = [
    "KvFormat",
    "Machine",
    "Option",
    "Plan",
    "Settings",
    "Shape",
    "TableError",
    "Tables",
    "WeightFormat",
    "load_tables",
    "plan",
    "rank",
]
