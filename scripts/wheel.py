"""Whether the wheel does what it promises, away from the checkout, with the lowest and the newest torch that it allows.

It is built twice, from the checkout and from the source distribution, which must give the same files; installed with
what it needs alone into a fresh environment; there every module is imported, a model is quantised, and the families'
tests run against what was installed. The lowest torch is tried with the lowest numpy.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

HERE = "here"
"""Stands for the torch that this Python has: nothing is downloaded."""
TOOLS = ("pytest>=8.3,<10", "hypothesis>=6.120,<7", "scipy>=1.14", "safetensors>=0.5", "tokenizers>=0.21")
"""What the families' tests need beside the wheel."""
DRIVERS = "reference_impls.runtime_testing.drivers."
"""Programs for other Pythons: each may want the engine that it drives."""
IMPORT_S = 1.0
"""Processor time that importing the library may take beyond torch's own."""


class WheelError(RuntimeError):
    """The wheel could not be built or installed; the message says why."""


@dataclass
class Trial:
    """What was seen with one torch."""

    wanted: str
    facts: dict[str, Any]
    tests: str = ""
    """The last line of pytest's report."""
    problems: list[str] = field(default_factory=list)


def requirement(root: Path, wanted: str) -> list[str]:
    """What pip is asked for. "lowest": the lower bound of everything that the wheel needs; "newest"; or a version."""
    if wanted == "newest":
        return ["torch"]
    if wanted != "lowest":
        return [f"torch=={wanted}"]
    project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]
    return [re.sub(r"^([\w-]+)>=([\d.]+).*", r"\1==\2.*", line) for line in project["dependencies"]]


def build_wheels(root: Path, folder: Path) -> tuple[Path, list[str]]:
    """Build the wheel from the checkout and from the source distribution; -> (the latter, how the two differ)."""
    direct, apart = folder / "direct", folder / "apart"
    _build(root, "--wheel", direct)
    _build(root, "--sdist", apart)
    [archive] = apart.glob("*.tar.gz")
    with tarfile.open(archive) as packed:
        packed.extractall(folder / "source", filter="data")
    [source] = (folder / "source").iterdir()
    _build(source, "--wheel", apart)
    [one], [other] = direct.glob("*.whl"), apart.glob("*.whl")
    ours, theirs = _contents(one), _contents(other)
    return other, sorted(name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name))


def _build(source: Path, kind: str, target: Path) -> None:
    options = ["--no-isolation", "--skip-dependency-check"] if find_spec("hatchling") else []
    _done([sys.executable, "-m", "build", kind, *options, "--outdir", str(target), str(source)], "building the wheel")


def _contents(wheel: Path) -> dict[str, str]:
    with zipfile.ZipFile(wheel) as packed:
        return {name: hashlib.sha256(packed.read(name)).hexdigest() for name in packed.namelist()}


def _done(command: list[str], what: str, **options: Any) -> str:
    done: subprocess.CompletedProcess[str] = subprocess.run(
        command, capture_output=True, text=True, check=False, **options
    )
    if done.returncode:
        last = "\n".join((done.stderr.strip() or done.stdout.strip()).splitlines()[-6:])
        raise WheelError(f"{what} failed:\n{last}")
    return done.stdout


def environment(folder: Path, wheel: Path, asked: list[str], tools: tuple[str, ...]) -> Path:
    """A fresh environment with the wheel; -> its Python. asked: of pip; where it is nothing, what is here is seen."""
    venv.create(folder, with_pip=bool(asked), clear=True)
    python = folder / "bin" / "python"
    if not asked:
        own = Path(sysconfig.get_path("purelib", vars={"base": str(folder)}))
        _done([sys.executable, "-m", "zipfile", "-e", str(wheel), str(own)], "unpacking the wheel")
        beside = [place for place in sys.path if place.endswith("site-packages")]
        (own / "beside.pth").write_text("\n".join(beside) + "\n", "utf-8")
        return python
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    _done([*pip, *asked, str(wheel)], f"installing {' '.join(asked)}")
    if tools:
        listed = _done([*pip[:3], "list", "--format=freeze", *pip[-1:]], "listing what is installed").splitlines()
        frozen = [line for line in listed if line.startswith(("torch==", "numpy=="))]
        _done([*pip, *tools, *frozen], "installing the tools of the tests")
    return python


def trial(python: Path, root: Path, folder: Path) -> tuple[dict[str, Any], list[str]]:
    """Run wheel_trial.py away from the checkout; -> (what it saw, what is wrong with that)."""
    folder.mkdir(parents=True, exist_ok=True)
    program = str(shutil.copy(root / "scripts" / "wheel_trial.py", folder))
    facts: dict[str, Any] = json.loads(_done([str(python), "-I", program], "the trial", cwd=folder).splitlines()[-1])
    return facts, [*_faults(facts, root)]


def _faults(facts: dict[str, Any], root: Path) -> Iterator[str]:
    if Path(facts["file"]).is_relative_to(root / "reference_impls"):
        yield f"reference_impls came from {facts['file']}, which is the checkout"
    if facts["import_s"] > IMPORT_S:
        yield f"importing it takes {facts['import_s']:.2f} s beyond torch; {IMPORT_S:g} at most"
    if facts["heavy"]:
        yield f"importing it loads {', '.join(facts['heavy'][:3])}"
    for name, missing in facts["missing"].items():
        if not name.startswith(DRIVERS):
            yield f"{name} cannot be imported: {missing} is missing"
    before, after = facts["bytes"]
    if not (after < before / 4 and facts["error"] < 0.2):
        yield f"the example went from {before:,} to {after:,} bytes with an error of {facts['error']:.2f}"


def family_tests(python: Path, root: Path, folder: Path) -> tuple[str, str]:
    """Run the fast tests of the families against what is installed; -> (the last line of the report, the failures)."""
    shutil.rmtree(folder, ignore_errors=True)
    for path in (root / "tests").rglob("*.py"):
        name = path.relative_to(root)
        if len(name.parts) == 2 or _is_of_family(path, root):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, folder / name)
    command = [str(python), "-m", "pytest", "-q", "-m", "not slow", "-p", "no:cacheprovider", "--tb=short", "tests"]
    found = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=False, env=os.environ | {"CI": "1"}
    )
    lines = found.stdout.strip().splitlines() or found.stderr.strip().splitlines() or ["pytest said nothing"]
    failures = "\n".join(line for line in lines if line.startswith(("FAILED", "ERROR")))
    return lines[-1], failures if found.returncode else ""


def _is_of_family(path: Path, root: Path) -> bool:
    """Whether a test is of a family alone: it needs nothing of the repository's tools or data."""
    family = path.relative_to(root / "tests").parts[0]
    text = path.read_text("utf-8")
    alone = not re.search(
        r"^\s*(from|import) scripts|tests\.builders|parents\[\d\]|\.parent\.parent", text, re.MULTILINE
    )
    return (root / "reference_impls" / family).is_dir() and alone


def try_wheel(
    root: Path, folder: Path, wanted: list[str], *, tests: bool = True, say: Callable[[str], None] = lambda _: None
) -> Iterator[Trial]:
    """Build once, then try each torch; environments stay below `folder`. Raises WheelError."""
    say("building")
    shutil.rmtree(folder, ignore_errors=True)
    wheel, differing = build_wheels(root, folder)
    for one in wanted:
        say(f"{one}: installing")
        asked = [] if one == HERE else requirement(root, one)
        python = environment(folder / f"env-{one}", wheel, asked, TOOLS if tests else ())
        facts, problems = trial(python, root, folder / f"trial-{one}")
        found = Trial(one, facts, problems=problems)
        if differing:
            found.problems.append(f"the wheel of the source distribution differs in {', '.join(differing[:5])}")
        if tests:
            say(f"{one}: torch {facts['torch']}, running the families' tests")
            found.tests, failures = family_tests(python, root, folder / f"tests-{one}")
            found.problems += failures.splitlines()
        yield found
