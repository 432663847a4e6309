"""What the wheel ships works on its own, away from the checkout: importing it is quick, its example and tests run."""

import json
import subprocess
import sys
import sysconfig
import venv
from importlib.util import find_spec
from pathlib import Path

import pytest

from scripts.wheel import HERE, IMPORT_S, WheelError, _faults, requirement, try_wheel

ROOT = Path(__file__).resolve().parents[1]
FENCE = "```python\n"


def snippet():
    """The block of README.md that quantises a Hugging Face model."""
    [_, *blocks] = (ROOT / "README.md").read_text("utf-8").split(FENCE)
    [code] = [text for text in (block.partition("```")[0] for block in blocks) if "LlamaForCausalLM" in text]
    return code


def test_importing_the_library_adds_next_to_nothing_to_torch():
    code = "import json, sys; sys.path.insert(0, 'scripts'); import wheel_trial as t; print(json.dumps(t.importing()))"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    seen = json.loads(run.stdout)
    assert seen["import_s"] < IMPORT_S
    assert seen["heavy"] == []
    assert seen["loaded"] < 20


GOOD = {"file": "/x/site-packages/reference_impls/__init__.py", "import_s": 0.01, "heavy": [], "bytes": [800, 150]}
GOOD |= {"missing": {"reference_impls.runtime_testing.drivers.wasm3_driver": "wasm3"}, "error": 0.1}


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({}, None),
        ({"file": str(ROOT / "reference_impls/__init__.py")}, "which is the checkout"),
        ({"import_s": 1.5}, "importing it takes 1.50 s beyond torch; 1 at most"),
        ({"heavy": ["torch._dynamo"]}, "importing it loads torch._dynamo"),
        ({"missing": {"reference_impls.models.config": "yaml"}}, "reference_impls.models.config cannot be imported"),
        ({"bytes": [800, 700]}, "the example went from 800 to 700 bytes"),
        ({"error": 0.9}, "with an error of 0.90"),
    ],
)
def test_what_a_trial_saw_is_judged(change, fault):
    found = [*_faults(GOOD | change, ROOT)]
    assert len(found) == (fault is not None)
    assert fault is None or fault in found[0]


def test_what_pip_is_asked_for_follows_from_the_bounds(tmp_path):
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "x"\ndependencies = ["torch>=2.3,<9", "numpy>=1.26"]\n')
    wanted = ["lowest", "newest", "2.9.1"]
    assert [requirement(tmp_path, one) for one in wanted] == [
        ["torch==2.3.*", "numpy==1.26.*"],
        ["torch"],
        ["torch==2.9.1"],
    ]


@pytest.mark.slow
@pytest.mark.skipif(find_spec("build") is None, reason="build is missing")
def test_the_wheel_of_the_source_distribution_runs_away_from_the_checkout(tmp_path):
    try:
        [found] = try_wheel(ROOT, tmp_path / "wheel", [HERE], tests=False)
    except WheelError as error:
        pytest.skip(f"the wheel cannot be built here: {error}")
    assert found.problems == []
    assert found.facts["modules"] > 250


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


@pytest.mark.slow
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
