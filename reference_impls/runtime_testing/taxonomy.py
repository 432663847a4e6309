"""The taxonomy of WebAssembly runtime bugs as data: 31 leaves under three areas, with the issues labelled in each.

Paper: arXiv 2301.12102; numbers of its released artifact, which labels more issues than the abstract counts.
Idea: where bugs were, tests should look; each leaf has cases here, or a reason why it has none.
Symbols: A backend compilation, B system interface, C runtime environment; issues = labelled reports of runtimes.
Simplified: titles are ours; what "counterpart" (B7) means was not described where we read it, and our cases for it are
    a guess: what guest and host must say alike of arguments and environment.
Differs: nothing in the numbers.
Cost: none.
Checked against: the artifact's sums by area (146, 70, 146), and the cases that the patterns generate.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Config:
    """Which leaves are looked at."""

    areas: str = "ABC"

    def __post_init__(self) -> None:
        if not self.areas or set(self.areas) - set("ABC"):
            raise ValueError(f"areas must be some of A, B and C, got {self.areas!r}")


@dataclass(frozen=True)
class Leaf:
    """A kind of bug, how many were labelled, and why no case looks for it, where none does."""

    title: str
    issues: int
    no_cases: str = ""


PLATFORM = "needs another operating system or processor than the one that runs the tests"

LEAVES: dict[str, Leaf] = {
    "A1": Leaf("wrong version of the compiler infrastructure", 7, "a matter of building an engine, not of running it"),
    "A2": Leaf("incorrect compilation", 34),
    "A3": Leaf("compilation failure", 22),
    "A4": Leaf("register allocation", 16),
    "A5": Leaf("incomplete support of an operating system", 13, PLATFORM),
    "A6": Leaf("incomplete support of hardware", 9, PLATFORM),
    "A7": Leaf("unsupported data operation", 18),
    "A8": Leaf("validation error", 10),
    "A9": Leaf("debug information", 8),
    "A10": Leaf("other, compilation", 9),
    "B1": Leaf("file operation", 24),
    "B2": Leaf("import of the interface", 4),
    "B3": Leaf("unsupported function", 8),
    "B4": Leaf("input and output streams", 8),
    "B5": Leaf("support of an operating system", 4, PLATFORM),
    "B6": Leaf("version of the interface", 4, "one version, preview 1, is what all engines here have"),
    "B7": Leaf("counterpart", 5),
    "B8": Leaf("clock", 3),
    "B9": Leaf("other, interface", 10),
    "C1": Leaf("instantiation", 20),
    "C2": Leaf("import", 8),
    "C3": Leaf("host functions", 16),
    "C4": Leaf("memory", 27),
    "C5": Leaf("trap", 10),
    "C6": Leaf("unsupported feature", 5),
    "C7": Leaf("threads", 13),
    "C8": Leaf("stack", 6),
    "C9": Leaf("entry point", 4),
    "C10": Leaf("unhandled error", 14),
    "C11": Leaf("conversion of data types", 5),
    "C12": Leaf("other, environment", 18),
}


def leaves(config: Config | None = None) -> dict[str, Leaf]:
    """The leaves of the areas asked for."""
    areas = (config or Config()).areas
    return {code: leaf for code, leaf in LEAVES.items() if code[0] in areas}
