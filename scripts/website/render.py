"""Have the site generator render what people wrote, unless nothing that it reads has changed."""

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

from scripts.catalogue.files import write_atomically
from scripts.website.errors import BuildError

PACKAGES = ("mkdocs", "mkdocs-material", "Markdown", "pymdown-extensions", "Pygments")


MKDOCS = """
import atexit, gc
from mkdocs.__main__ import cli
gc.disable()
atexit.register(gc.freeze)
cli()
"""
"""mkdocs without the search for cycles of objects, which takes a fifth of its time."""


def render(root: Path, config: Path) -> Path:
    """Render build/docs into build/rendered; -> that folder. A run that would give the same again is left out."""
    target, mark = root / "build" / "rendered", root / "build" / "cache" / "rendered"
    inputs = _hash_of_inputs(root, config)
    if mark.exists() and target.exists() and mark.read_text("utf-8") == inputs:
        return target
    mark.unlink(missing_ok=True)
    shutil.rmtree(target, ignore_errors=True)
    # A process of its own: the generator is a replaceable step.
    command = [sys.executable, "-c", MKDOCS, "build", "--strict", "-f", str(config), "-d", str(target.resolve())]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BuildError(f"mkdocs could not render the pages:\n{done.stdout}{done.stderr}".rstrip())
    for file in ("sitemap.xml", "sitemap.xml.gz"):  # of its few pages only
        (target / file).unlink(missing_ok=True)
    write_atomically(mark, inputs)
    return target


def _hash_of_inputs(root: Path, config: Path) -> str:
    digest = hashlib.blake2b("".join(f"{name} {version(name)}\n" for name in PACKAGES).encode(), digest_size=16)
    for file in _inputs(root, config):
        content = file.read_bytes()
        digest.update(f"{file.relative_to(root).as_posix()} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()


def _inputs(root: Path, config: Path) -> Iterator[Path]:
    yield from (root / "mkdocs.yml", config)
    for folder in (root / "build" / "docs", root / "site" / "theme"):
        yield from sorted(path for path in folder.rglob("*") if path.is_file())
