"""Linear layers one after the other, as a decoder meets them: their weights come from memory, the code is warm.

A step of one layer finds its code as cold as its weights, since others ran before it. For a kernel that takes less than
a millisecond that counts.
"""

from dataclasses import replace

from reference_impls.measurement.case import Case, Implementation, Step, Workload

IN_A_ROW = 8
"""Layers that one step multiplies by."""
SLOW = ("dequantize-int8", "torchao-int8", "torchao-int8-dynamic", "hqq-int4", "bitsandbytes-nf4")
"""Left out: a layer takes them so long that nobody sees whether their code is cold."""


def row_case(single: Case) -> Case:
    """The layers of `single` one after the other, for whoever is quick at one."""
    return replace(
        single,
        id=f"{single.id}-in-a-row",
        title=f"{IN_A_ROW} such layers one after the other: {single.title}",
        workload=dict(single.workload) | {"layers": IN_A_ROW},
        implementations=tuple(_in_a_row(one) for one in single.implementations if one.name not in SLOW),
    )


def _in_a_row(one: Implementation) -> Implementation:
    def prepare_steps(workload: Workload, device: str) -> Step:
        step = one.prepare(workload, device)

        def steps() -> None:
            for _ in range(IN_A_ROW):
                step()

        return steps

    return replace(one, prepare=prepare_steps)
