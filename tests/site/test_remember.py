"""What is kept between builds is what would be made anew, and is never taken from a file that is not whole."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scripts.website.remember import Memory, remembering


@pytest.fixture
def source(tmp_path: Path) -> Path:
    made = tmp_path / "code.py"
    made.write_text("one")
    return made


def asked(folder: Path, source: Path, argument: bytes, make: Callable[[], Any], settings: str = "") -> Any:
    """What a new process would get."""
    memory = Memory("squares", [source], settings)
    with remembering(folder, memory):
        return memory.get(argument, make)


def never() -> Any:
    pytest.fail("made once more")


def test_a_build_knows_what_the_one_before_made(tmp_path, source):
    assert asked(tmp_path, source, b"3", lambda: [9, "nine"]) == [9, "nine"]
    assert asked(tmp_path, source, b"3", never) == [9, "nine"]
    assert asked(tmp_path, source, b"4", lambda: 16) == 16


def test_what_the_last_build_did_not_ask_for_is_forgotten(tmp_path, source):
    asked(tmp_path, source, b"3", lambda: 9)
    asked(tmp_path, source, b"4", lambda: 16)
    assert asked(tmp_path, source, b"3", lambda: "anew") == "anew"


def test_nothing_is_taken_from_other_code_or_settings(tmp_path, source):
    asked(tmp_path, source, b"3", lambda: 9)
    assert asked(tmp_path, source, b"3", lambda: "other settings", "cubes") == "other settings"
    source.write_text("two")
    assert asked(tmp_path, source, b"3", lambda: "other code") == "other code"


def test_a_running_process_keeps_what_its_own_code_makes(tmp_path, source):
    """Not what the file would make that was edited since it started."""
    memory = Memory("squares", [source])
    with remembering(tmp_path, memory):
        memory.get(b"3", lambda: "old code")
    source.write_text("two")
    with remembering(tmp_path, memory):
        memory.get(b"4", lambda: "old code")
    assert asked(tmp_path, source, b"3", lambda: "new code") == "new code"


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: b"\xff\xfe",
        lambda data: data[:-1],
        lambda data: data.replace(b"9", b"8"),
        lambda data: data.replace(b"[", b"[0,"),
        lambda data: data.partition(b"\n")[2],
    ],
    ids=["empty", "no text", "cut", "another figure", "another shape", "no head"],
)
def test_what_is_damaged_is_made_anew(tmp_path, source, damage):
    asked(tmp_path, source, b"3", lambda: [9])
    file = tmp_path / "squares.json"
    before = file.read_bytes()
    file.write_bytes(damage(before))
    assert file.read_bytes() != before
    assert asked(tmp_path, source, b"3", lambda: [9, "anew"]) == [9, "anew"]
    assert asked(tmp_path, source, b"3", never) == [9, "anew"]


def test_a_folder_that_cannot_be_written_to_costs_time_alone(tmp_path, source):
    (tmp_path / "file").write_text("no folder")
    assert asked(tmp_path / "file", source, b"3", lambda: 9) == 9


def test_a_build_that_fails_leaves_what_there_was(tmp_path, source):
    asked(tmp_path, source, b"3", lambda: 9)
    memory = Memory("squares", [source])
    with pytest.raises(RuntimeError), remembering(tmp_path, memory):
        memory.get(b"4", lambda: 16)
        raise RuntimeError
    assert asked(tmp_path, source, b"3", never) == 9
