"""What the commands say to wrong input: which part of it is wrong, and what is allowed; nothing is written."""

import pytest
from typer.testing import CliRunner

from scripts.__main__ import app
from tests.builders import checkout, entry

KNOWN = "entries/2024/work.yaml"


@pytest.fixture
def root(tmp_path):
    return checkout(tmp_path, {KNOWN: entry(), ".github/x": ""})


def said(root, *words: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, [*words, "--root", str(root)], env={"COLUMNS": "300"})
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.output


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["fix", "entries/2024/nothing.yaml"], 2, "entries/2024/nothing.yaml: no such file or folder"),
        (["fix", "/etc/passwd"], 2, "/etc/passwd: only entries have one form: name .yaml files or folders below"),
        (["fix", "techniques/systems/index.md"], 2, "techniques/systems/index.md: only entries have one form"),
        (["fix", "entries/../techniques"], 2, "only entries have one form"),
        (["doctor", "--kind", "nothing"], 2, 'there is no kind "nothing"; there are stale, no-page'),
        (["merge", "work", "nothing"], 1, 'there is no readable entry "nothing"'),
        (["merge", "work", "work"], 1, "name two entries"),
        (["from-issue", "nothing.md"], 1, "nothing.md: No such file or directory"),
        (["review", "nothing"], 2, '"nothing" is no commit of this checkout'),
        (["check", "nothing"], 2, "nothing: no such file or folder"),
        (["new", "nothing"], 1, '"nothing" is neither an arXiv id (2401.08092) nor a DOI'),
        (["site-speed", "--entries", "many"], 2, '--entries: expected numbers or "real", got "many"'),
    ],
)
def test_wrong_input_is_told_in_one_line_and_changes_nothing(root, words, code, told):
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    found, output = said(root, *words)
    assert found == code
    assert told in output
    assert "Traceback" not in output
    assert {
        path: path.read_bytes() for path in root.rglob("*") if path.is_file() and "build" not in path.parts
    } == before


@pytest.mark.parametrize("path", [KNOWN, "entries", "entries/2024"])
def test_fix_takes_files_and_folders_by_any_path(root, path):
    (root / KNOWN).write_text((root / KNOWN).read_text() + "\n\n")
    for named in (path, str(root / path)):
        assert said(root, "fix", "--check", named)[0] == 1
    assert said(root, "fix", str(root / path))[0] == 0
    assert said(root, "fix", "--check")[0] == 0
