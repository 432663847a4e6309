"""Rouge-L of two token sequences: how much of one stands in the other, in order. For output that may differ.

Paper: C.-Y. Lin, "ROUGE: A Package for Automatic Evaluation of Summaries" (2004), section 3 (sentence level, F with
    equal weights).
Idea: the longest common subsequence over both lengths; 1 for equal sequences, 0 where no token is shared.
Symbols: nothing beyond the axes' names.
Simplified: tokens and not stemmed words; one reference.
Differs: nothing.
Cost: the product of both lengths.
Checked against: all subsequences of short sequences; values by hand.
"""

from collections.abc import Sequence


def longest_common(first: Sequence[int], second: Sequence[int]) -> int:
    """Length of the longest sequence that both contain in order, with gaps."""
    above = [0] * (len(second) + 1)
    for a in first:
        row = [0]
        for at, b in enumerate(second):
            row.append(above[at] + 1 if a == b else max(above[at + 1], row[at]))
        above = row
    return above[-1]


def rouge_l(made: Sequence[int], wanted: Sequence[int]) -> float:
    """2 * LCS / (both lengths together), from 0 to 1; two empty sequences are equal."""
    if not made and not wanted:
        return 1.0
    return 2 * longest_common(made, wanted) / (len(made) + len(wanted))
