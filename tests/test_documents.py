"""What README and the other documents say about the checkout is so."""

import io
import re
import subprocess
import sys
import tomllib
import zipfile
from contextlib import redirect_stdout
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from scripts.catalogue.load import load_catalogue

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text("utf-8")


def test_the_numbers_of_the_readme_are_those_of_the_catalogue():
    """It says "over": adding a paper edits no other file, and the numbers may not lag far behind."""
    catalogue = load_catalogue(ROOT)
    claims = sum(len(entry.paper.claims) for entry in catalogue.entries.values())
    counts = {"papers": len(catalogue.entries), "techniques": len(catalogue.pages), "typed claims": claims}
    for what, count in counts.items():
        [told] = re.findall(rf"over ([\d,]+) {what}\*\*", README)
        assert 0.7 * count <= int(told.replace(",", "")) <= count, what


@pytest.fixture(scope="module")
def known_commands():
    command = [sys.executable, "-m", "scripts", "--help"]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return set(re.findall(r"^. ([a-z][a-z-]+) ", shown.stdout, re.MULTILINE))


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "site/pages/contribute.md", "Makefile"])
def test_every_command_that_a_document_names_exists(name, known_commands):
    assert {"check", "new", "build"} <= known_commands
    named = set(re.findall(r"-m scripts ([a-z][a-z-]+)", (ROOT / name).read_text("utf-8")))
    assert named <= known_commands


def test_every_target_that_the_readme_names_exists():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    assert {"site", "test"} <= set(re.findall(r"make ([a-z-]+)", README)) <= targets


def test_every_folder_that_the_readme_names_exists():
    named = re.findall(r"^\| `([a-z_]+/(?:[a-z_]+/)?)", README, re.MULTILINE)
    assert len(named) >= 8
    assert [folder for folder in named if not (ROOT / folder).is_dir()] == []


def test_the_locks_fit_the_ranges_of_pyproject():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    for name, sets in {"site": ["site"], "dev": ["site", "dev"]}.items():
        locked = (ROOT / "requirements" / f"{name}.txt").read_text("utf-8")
        pinned = set(re.findall(r"^([a-z0-9.-]+)==", locked, re.MULTILINE))
        wanted = {re.split(r"[<>=\[]", line)[0].lower() for extra in sets for line in extras[extra]} - {"frugalfm"}
        assert wanted <= pinned
        assert not {package for package in pinned if package == "torch" or package.startswith("nvidia")}


def test_triton_is_pinned_beside_torch_where_its_tests_have_to_run():
    lines = (ROOT / "requirements" / "torch.txt").read_text("utf-8").splitlines()
    [pin] = [Requirement(line) for line in lines if line.startswith("triton")]
    assert re.fullmatch(r"==[\d.]+", str(pin.specifier))
    here = {"platform_system": "Linux", "platform_machine": "x86_64"}
    assert pin.marker.evaluate(here)
    assert not pin.marker.evaluate(here | {"platform_system": "Darwin"})
    assert not pin.marker.evaluate(here | {"platform_machine": "aarch64"})


@pytest.mark.slow
def test_the_wheel_holds_the_library_and_nothing_else(tmp_path):
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path), str(ROOT)]
    subprocess.run(command, check=True)
    [wheel] = tmp_path.glob("*.whl")
    tops = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"reference_impls"}


def test_the_code_that_the_site_shows_runs():
    pytest.importorskip("torch")
    pytest.importorskip("tokenizers")
    about = (ROOT / "site" / "pages" / "about.md").read_text("utf-8")
    [code] = re.findall(r"```python\n(.*?)```", about, re.DOTALL)
    shown = io.StringIO()
    with redirect_stdout(shown):
        exec(compile(code, "about.md", "exec"), {"__name__": "about"})
    assert shown.getvalue().split() == ["False"]
