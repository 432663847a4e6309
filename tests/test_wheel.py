"""What the wheel ships works on its own: ten lines quantise a Hugging Face model, away from the checkout."""

import subprocess
import sys
import sysconfig
import venv
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FENCE = "```python\n"


def snippet():
    """The block of README.md that quantises a Hugging Face model."""
    [_, *blocks] = (ROOT / "README.md").read_text("utf-8").split(FENCE)
    [code] = [text for text in (block.partition("```")[0] for block in blocks) if "LlamaForCausalLM" in text]
    return code


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """A Python with the built wheel, and of what is installed here all but the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    options = ["--wheel", "--no-isolation", "--skip-dependency-check", "--outdir", str(folder)]
    build = [sys.executable, "-m", "build", *options, str(ROOT)]
    built = subprocess.run(build, capture_output=True, text=True, check=False)
    if built.returncode:
        pytest.skip(f"the wheel cannot be built here: {built.stderr.strip().splitlines()[-1:]}")
    venv.create(folder / "env", with_pip=False)
    own = Path(sysconfig.get_path("purelib", vars={"base": str(folder / "env")}))
    [wheel] = folder.glob("*.whl")
    subprocess.run([sys.executable, "-m", "zipfile", "-e", str(wheel), str(own)], check=True)
    beside = [place for place in sys.path if place.endswith("site-packages")]  # torch and transformers
    (own / "beside.pth").write_text("\n".join(beside) + "\n")
    return folder / "env" / "bin" / "python"


@pytest.mark.skipif(find_spec("build") is None or find_spec("hatchling") is None, reason="build or hatchling missing")
@pytest.mark.skipif(find_spec("transformers") is None, reason="transformers is not installed")
def test_ten_lines_quantise_a_hugging_face_model(python, tmp_path):
    code = snippet()
    assert len([line for line in code.splitlines() if line.strip()]) <= 10
    code += "\nimport reference_impls\nprint(reference_impls.__file__)\n"
    run = subprocess.run([str(python), "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert "site-packages" in run.stdout.splitlines()[-1]
    assert str(ROOT) not in run.stdout
