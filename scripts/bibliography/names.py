"""Personal names: from BibTeX's " and " lists into family and given names, and back into what people read."""

import re
from collections.abc import Sequence
from typing import Any

from bibtexparser.middlewares.names import parse_single_name_into_parts, split_multiple_persons_names

from scripts.bibliography.latex import to_text
from scripts.catalogue.model import Author

_MORE = {"others", "et al.", "et al"}


def parse_names(text: str) -> tuple[list[Author], bool]:
    """Split a BibTeX author field; -> the authors, and whether the list says that there are more.

    >>> parse_names("Beethoven, Ludwig van and {DeepSeek-AI} and others")
    ([Author(family='Beethoven', given='Ludwig van'), Author(family='DeepSeek-AI', given=None)], True)
    """
    joined = re.sub(r"\band( and)+\b", "and", " ".join(text.split()))
    names = [name.strip() for name in split_multiple_persons_names(joined)]
    known = [name for name in names if name and name.casefold() not in _MORE]
    return [_author(name) for name in known], len(known) < len([name for name in names if name])


def _author(name: str) -> Author:
    if re.sub(r"\{[^{}]*\}", "", name).count(",") > 2:
        raise ValueError(f'the name "{name[:60]}" has too many commas; put " and " between authors')
    if name.startswith("{") and name.endswith("}") and "}" not in name[1:-1]:
        return Author(family=to_text(name))
    parts: Any = parse_single_name_into_parts(name, strict=False)
    family = to_text(" ".join([*parts.von, *parts.last, *parts.jr]))
    given = to_text(" ".join(parts.first))
    # A first name alone is all that is known of the person; the family name is the one that must be there.
    return Author(family=family or given, given=given if family and given else None)


def printed(author: Author) -> str:
    """Given name first, as on a title page."""
    return f"{author.given} {author.family}" if author.given else author.family


def short(authors: Sequence[Author], cut: bool = False) -> str:
    """How a running text names them: one or two family names, else the first and et al."""
    if not authors:
        return ""
    if len(authors) == 1 and not cut:
        return authors[0].family
    if len(authors) == 2 and not cut:
        return f"{authors[0].family} and {authors[1].family}"
    return f"{authors[0].family} et al."
