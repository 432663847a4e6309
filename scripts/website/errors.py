"""Why a site could not be built; the message says what to do."""

from scripts.catalogue.problems import Problem


class BuildError(RuntimeError):
    """The site could not be built."""


class DataError(BuildError):
    """The data files have errors."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__(f"{len(problems)} errors in the data files; mend them, see `python -m scripts check`")
        self.problems = problems


class MissingLibrary(BuildError):  # noqa: N818 it says what is wrong
    """A browser library is not installed."""


class StampError(BuildError):
    """A page lacks a mark that the build wants to fill, or has one that it does not know."""
