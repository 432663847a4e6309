"""One file from which the site can be served, and rebuilt, without a network: the same bytes for the same commit.

It holds public/ as built, every file of the commit, the browser libraries, on request the Python packages, and
SHA256SUMS over all of them. Names are sorted, times are the commit's, owners are nobody, so that making it again gives
the same bytes; Pagefind's program and the Python packages are those of the platform it was made on.
"""

import gzip
import hashlib
import io
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

from scripts.website.build import build
from scripts.website.settings import read_settings

LIBRARIES = ("@pagefind", "@tanstack/virtual-core", "pagefind", "plotly.js-basic-dist-min")
"""What a build needs below node_modules/."""

README = """FrugalFM at commit {commit}

site/      the finished website: python -m http.server --directory site 8000
source/    the checkout it was built from, with the browser libraries in node_modules/
wheels/    the Python packages that the build needs, where the archive was made with them

To build it again without a network:

    cd source && python -m venv .venv
    .venv/bin/pip install --no-index --find-links ../wheels -r requirements/site.txt
    .venv/bin/python -m scripts build

Check that nothing is missing or changed: sha256sum --check SHA256SUMS
"""


class ArchiveError(ValueError):
    """The archive cannot be made; the message says why."""


def archive(root: Path, target: Path, *, wheels: bool = False, say: Callable[[str], None] = lambda _: None) -> str:
    """Build the site and write the archive; -> its SHA-256. Raises ArchiveError for a tree that is not a commit's."""
    if _git(root, "status", "--porcelain").strip():
        raise ArchiveError(
            "the working tree differs from its commit; commit first, so that the archive can be repeated"
        )
    build(root, say=say)
    settings = read_settings(root)
    if settings.commit is None:
        raise ArchiveError("there is no commit here; archives are made from a checkout")
    when = int(_git(root, "log", "-1", "--format=%ct"))
    name = f"frugalfm-{settings.commit[:12]}"
    packages = _download_wheels(root, say) if wheels else None
    say("writing the archive")
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(target.name + ".part")
    try:
        with temporary.open("wb") as stream:
            _write(stream, name, when, _files(root, settings.commit, packages))
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
    return hashlib.sha256(target.read_bytes()).hexdigest()


def _download_wheels(root: Path, say: Callable[[str], None]) -> Path:
    """The packages of requirements/site.txt, as they are installed here."""
    say("fetching the Python packages")
    folder = root / "build" / "wheels"
    shutil.rmtree(folder, ignore_errors=True)
    names = ["-r", str(root / "requirements" / "site.txt"), "-d", str(folder)]
    command = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "-q", *names]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ArchiveError(f"the Python packages could not be fetched: {done.stderr.strip().splitlines()[-1]}")
    return folder


def _files(root: Path, commit: str, wheels: Path | None) -> Iterator[tuple[str, Path | bytes]]:
    """Path in the archive, and the file or content, of everything but the checksums."""
    yield "README.txt", README.format(commit=commit).encode()
    folders = [
        (root / "public", "site"),
        *((root / "node_modules" / one, f"source/node_modules/{one}") for one in LIBRARIES),
    ]
    for folder, prefix in [*folders, *([(wheels, "wheels")] if wheels else [])]:
        for path in _below(folder):
            yield f"{prefix}/{path}", folder / path
    for path in sorted(_git(root, "ls-files", "-z").split("\0")):
        if path and not (root / path).is_symlink():
            yield f"source/{path}", root / path


def _below(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def _write(stream: io.BufferedWriter, name: str, when: int, files: Iterator[tuple[str, Path | bytes]]) -> None:
    sums = []
    # The time in gzip's own header is part of the bytes, too.
    with (
        gzip.GzipFile("", "wb", compresslevel=6, fileobj=stream, mtime=when) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for path, source in files:
            content = source if isinstance(source, bytes) else source.read_bytes()
            program = isinstance(source, Path) and bool(source.stat().st_mode & 0o100)
            sums.append(f"{hashlib.sha256(content).hexdigest()}  {path}\n")
            _add(tar, f"{name}/{path}", content, when, 0o755 if program else 0o644)
        _add(tar, f"{name}/SHA256SUMS", "".join(sums).encode(), when, 0o644)


def _add(tar: tarfile.TarFile, path: str, content: bytes, when: int, mode: int) -> None:
    item = tarfile.TarInfo(path)
    item.size, item.mtime, item.mode = len(content), when, mode
    tar.addfile(item, io.BytesIO(content))


def _git(root: Path, *words: str) -> str:
    done = subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, check=False)
    return done.stdout if done.returncode == 0 else ""
