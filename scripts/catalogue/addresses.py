"""Addresses that were published stay: each leads to a page, or on to the page that took its place.

site/addresses.txt lists what was published, one address a line; a release adds to it and nothing takes away.
site/redirects.yaml leads from addresses that are gone to those that took their place.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from scripts.catalogue.files import write_atomically
from scripts.catalogue.load import Catalogue
from scripts.catalogue.problems import Problem
from scripts.catalogue.text_rules import SLUG
from scripts.catalogue.yaml_text import YamlError, decode, read

PUBLISHED = "site/addresses.txt"
REDIRECTS = "site/redirects.yaml"
_ADDRESS = re.compile(rf"(papers|techniques|years|venues)/({SLUG}/)+|({SLUG}/)+")
_LINK = "is a symbolic link", "put the file itself here"  # one could show what lies outside the checkout
_HEAD = "# Addresses that are gone, each with the one that took its place. `python -m scripts merge` writes here.\n"


def paper_href(key: str) -> str:
    """A paper's page, relative to the site's root. Permanent: the year is not part of it."""
    return f"papers/{key}/"


def technique_href(slug: str) -> str:
    """A technique's page, relative to the site's root."""
    return f"techniques/{slug}/"


def addresses(catalogue: Catalogue) -> set[str]:
    """Every permanent address that the data give: papers and techniques."""
    papers = {paper_href(key) for key in catalogue.entries}
    return papers | {technique_href(slug) for slug in catalogue.pages if slug}


def published(root: Path) -> list[str]:
    """What was ever published."""
    path = root / PUBLISHED
    return path.read_text("utf-8").split() if path.exists() else []


def publish(root: Path, catalogue: Catalogue) -> int:
    """Add today's addresses to those published; -> how many are new."""
    known = set(published(root))
    new = addresses(catalogue) - known
    write_atomically(root / PUBLISHED, "\n".join(sorted(known | new)) + "\n")
    return len(new)


def redirects(root: Path) -> dict[str, str]:
    """Old address -> the page that it leads to in the end. Raises YamlError for a file that is not YAML."""
    steps = _read(root)
    return {old: _end(old, steps) for old in steps}


def add_redirect(root: Path, old: str, new: str) -> None:
    """Let `old` lead to `new`, and all that led to `old` as well."""
    steps = {source: new if target == old else target for source, target in _read(root).items()}
    lines = [f"{source}: {target}\n" for source, target in sorted((steps | {old: new}).items())]
    write_atomically(root / REDIRECTS, _HEAD + "".join(lines))


def check_addresses(catalogue: Catalogue) -> Iterator[Problem]:
    """Published addresses that would be gone, and redirects that lead nowhere."""
    root = catalogue.root
    if (root / PUBLISHED).is_symlink():
        yield Problem(PUBLISHED, 1, 1, "", *_LINK)
        return
    try:
        steps = _read(root)
    except YamlError as error:
        yield Problem(REDIRECTS, error.line, error.column, "", error.message, error.hint)
        return
    now = addresses(catalogue)
    for line, (old, new) in enumerate(steps.items(), 1 + _comments(root)):
        for address in (old, new):
            if not _ADDRESS.fullmatch(address):
                hint = "write it as papers/gptq/, from the site's root, with a slash at the end"
                yield Problem(REDIRECTS, line, 1, "", f'"{address[:80]}" is no address of this site', hint)
        if old in now:
            yield Problem(REDIRECTS, line, 1, "", f"{old} is a page of its own", "delete the redirect, or the page")
        elif (end := _end(old, steps)) not in now:
            told = "goes round in a circle" if end in steps else f"leads to {end}, which is no page"
            yield Problem(REDIRECTS, line, 1, "", f"{old} {told}", "name a page that is there")
    for line, address in enumerate(published(root), 1):
        if address not in now and address not in steps:
            hint = f"bring the page back, or add a line to {REDIRECTS} (`python -m scripts merge` does)"
            yield Problem(PUBLISHED, line, 1, "", f"{address} was published and would be gone", hint)


def _read(root: Path) -> dict[str, str]:
    path = root / REDIRECTS
    if path.is_symlink():
        raise YamlError(*_LINK, 1, 1)
    found = read(decode(path.read_bytes(), limit=None)).data if path.exists() else None
    if found is None:
        return {}
    if not isinstance(found, dict) or not all(isinstance(new, str) for new in found.values()):
        raise YamlError("expected lines `old/address/: new/address/`", "see the file's first line", 1, 1)
    return found


def _comments(root: Path) -> int:
    lines = (root / REDIRECTS).read_text("utf-8").splitlines() if (root / REDIRECTS).exists() else []
    return next((at for at, line in enumerate(lines) if not line.startswith("#")), 0)


def _end(old: str, steps: dict[str, str]) -> str:
    """Where a chain of redirects ends; some address of the circle where it has no end."""
    address, seen = steps[old], {old}
    while address in steps and address not in seen:
        seen.add(address)
        address = steps[address]
    return address
