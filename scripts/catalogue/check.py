"""Check a checkout: every file by itself, then all of them together."""

import gc
import os
import posixpath
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from scripts.catalogue.addresses import check_addresses
from scripts.catalogue.cross_checks import cross_check
from scripts.catalogue.load import Catalogue, load_catalogue
from scripts.catalogue.problems import Problem
from scripts.catalogue.yaml_text import Path as FieldPath
from scripts.catalogue.yaml_text import Spot, decode, read


def check(root: Path, paths: Sequence[str] = (), *, use_cache: bool = True) -> tuple[Catalogue, list[Problem]]:
    """Load and check everything; -> the catalogue and its problems, in order of file and line.

    `paths` (files or folders relative to the checkout) narrow what is reported, not what is compared.
    """
    with no_garbage_collection():
        catalogue = load_catalogue(root, use_cache=use_cache)
        found_together = (*cross_check(catalogue), *check_addresses(catalogue))
    problems = catalogue.problems + [_located(found, root) for found in found_together]
    wanted = [posixpath.normpath(os.path.relpath(root / path, root).replace(os.sep, "/")) for path in paths]
    return catalogue, sorted(set(_within(problems, wanted)))


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    """Checks and builds make millions of objects and hardly a cycle among them; to look for some takes a quarter of
    their time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _within(problems: Iterable[Problem], paths: list[str]) -> list[Problem]:
    if not paths or "." in paths:
        return list(problems)
    return [
        found for found in problems if any(found.file == path or found.file.startswith(path + "/") for path in paths)
    ]


def _located(found: Problem, root: Path) -> Problem:
    """Fill in line and column of a problem that names only the field of an entry or page, or the whole of a file."""
    if found.line:
        return found
    if not found.field:
        return replace(found, line=1, column=1)
    text = decode((root / found.file).read_bytes())
    if found.file.endswith(".md"):  # front matter is one field a line
        lines = text.splitlines()
        line = next((n for n, line in enumerate(lines, 1) if line.startswith(f"{found.field}:")), 1)
        return replace(found, line=line, column=1)
    spots = read(text, with_spots=True).spots
    path: FieldPath = tuple(int(part) if part.isdigit() else part for part in found.field.split("."))
    spot = spots.get(path, Spot(1, 1))
    return replace(found, line=spot.line, column=spot.column)
