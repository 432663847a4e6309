"""A folder brought up to date holds what was written to it last, and nothing else."""

from pathlib import Path

import pytest

from scripts.website.output import Output


def files_of(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


def bring_up_to_date(folder: Path, files: dict[str, str]) -> None:
    output = Output(folder)
    for path, text in files.items():
        output.write(path, text)
    output.prune()
    assert output.files == set(files)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, {"index.html": "home", "papers/lora/index.html": "LoRA"}),
        ({"a/b/c.txt": "old", "a/d.txt": "same"}, {"a/d.txt": "same"}),
        ({"a/b.txt": "longer than before"}, {"a/b.txt": "short"}),
        ({"a": "a file"}, {"a/b/c": "a folder now"}),
        ({"a/b/c": "a folder", "a/d": "too"}, {"a": "a file now"}),
        ({"a/b": "x"}, {}),
    ],
)
def test_what_was_there_before_does_not_matter(tmp_path, before, after):
    folder = tmp_path / "site"
    bring_up_to_date(folder, before)
    bring_up_to_date(folder, after)
    assert files_of(folder) == after


def test_a_file_that_holds_the_text_already_is_not_written_again(tmp_path):
    bring_up_to_date(tmp_path, {"a.txt": "same", "b.txt": "old"})
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    bring_up_to_date(tmp_path, {"a.txt": "same", "b.txt": "new"})
    after = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert after["a.txt"] == before["a.txt"]
    assert after["b.txt"] > before["b.txt"]


def test_emptied_folders_go_and_the_folder_itself_stays(tmp_path):
    folder = tmp_path / "site"
    bring_up_to_date(folder, {"a/b/c.txt": "x", "kept.txt": "y"})
    bring_up_to_date(folder, {"kept.txt": "y"})
    assert [path.name for path in folder.iterdir()] == ["kept.txt"]
    bring_up_to_date(folder, {})
    assert list(folder.iterdir()) == []


def test_a_tree_is_copied_but_for_what_is_written_or_skipped(tmp_path):
    bring_up_to_date(tmp_path / "from", {"a.txt": "theirs", "b/c.txt": "copied", "d.txt": "skipped"})
    output = Output(tmp_path / "to")
    output.write("sub/a.txt", "ours")
    output.copy_tree(tmp_path / "from", "sub/", skip={"d.txt"})
    assert files_of(tmp_path / "to") == {"sub/a.txt": "ours", "sub/b/c.txt": "copied"}
