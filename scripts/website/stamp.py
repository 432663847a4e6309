"""Fill the marks that a rendered page has: thousands of pages from one shell, by joining strings.

A mark is an HTML comment, `<!--stamp:NAME-->`, that the theme leaves in the page. Text between marks is kept as it is.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from scripts.website.errors import StampError

MARK = re.compile(r"<!--stamp:([a-z]+)-->")


@dataclass(frozen=True)
class Shell:
    """A rendered page cut at its marks: texts[0] names[0] texts[1] names[1] … texts[-1]."""

    texts: tuple[str, ...]
    names: tuple[str, ...]

    @classmethod
    def cut(cls, html: str, expected: frozenset[str], where: str) -> "Shell":
        """Cut a page; raises StampError unless it holds each expected mark once and no other."""
        parts = MARK.split(html)
        names = tuple(parts[1::2])
        if sorted(names) != sorted(expected):
            raise StampError(f"{where}: expected the marks {sorted(expected)}, found {sorted(names)}; see site/theme/")
        return cls(tuple(parts[::2]), names)

    def fill(self, values: Mapping[str, str]) -> str:
        """The page with every mark replaced."""
        filled = [self.texts[0]]
        for name, text in zip(self.names, self.texts[1:], strict=True):
            filled += [values[name], text]
        return "".join(filled)


def tight(html: str) -> str:
    """A shell without blank lines and indentation, which every page stamped from it would repeat; it has no <pre>."""
    return re.sub(r"\s*\n\s*", "\n", html)


def fill_page(html: str, values: Mapping[str, str], where: str) -> str:
    """Fill the marks of a page that is used once."""
    return Shell.cut(html, frozenset(values), where).fill(values)
