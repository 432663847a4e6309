"""How many samples settle a comparison: the one rule of verdicts, figures, pages and the interface.

What repeats exactly needs one sample; what was timed or drawn needs `MIN_SAMPLES` on either side. With fewer, pages
say what was measured and that it settles nothing, and draw it with a mark of its own (`plots.draw`).
"""

from collections.abc import Iterable

from scripts.catalogue.model import Measurement

MIN_SAMPLES = 6
"""With fewer, not even the whole range of the samples is a 95 % interval of the median."""
TOO_FEW = "too few to say"


def is_enough(one: Measurement) -> bool:
    """Whether its samples settle anything: one of an exact value, else `MIN_SAMPLES`."""
    return one.stop_reason == "deterministic" or len(one.samples) >= MIN_SAMPLES


def settles(*sides: Measurement) -> bool:
    """Whether a comparison of all of these may have an outcome."""
    return all(map(is_enough, sides))


def too_few(sides: Iterable[Measurement]) -> str:
    """How few samples those of these have that have too few: "2 runs each: too few to say"; empty where none has."""
    short = [one for one in sides if not is_enough(one)]
    if not short:
        return ""
    counts = sorted({len(one.samples) for one in short})
    span = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    names = {one.implementation for one in short}
    whose = " each" if len(names) > 1 else f" of {short[0].implementation}"
    return f"{span} run{'s' if counts[-1] > 1 else ''}{whose}: {TOO_FEW}"
