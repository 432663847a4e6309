"""`check` reads the planner's tables: what is wrong is told with file, row and line."""

import shutil
from pathlib import Path

import pytest

from scripts.catalogue.planner_tables import FOLDER, check_tables
from tests.builders import REPOSITORY, checkout, complaints

LLAMA = '{"name": "llama-2-7b"'


def changed(root: Path, file: str, old: str, new: str) -> Path:
    """A checkout whose table has one text changed, once."""
    shutil.copytree(REPOSITORY / FOLDER, root / FOLDER)
    path = root / FOLDER / file
    text = path.read_text("utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), "utf-8")
    return root


def test_the_tables_pass(tmp_path: Path) -> None:
    shutil.copytree(REPOSITORY / FOLDER, tmp_path / FOLDER)
    assert complaints(checkout(tmp_path)) == []


def test_a_checkout_without_tables_passes(tmp_path: Path) -> None:
    assert list(check_tables(tmp_path)) == []


WRONG = {
    "a field that is none": ("models.json", LLAMA, LLAMA + ', "hiden": 1', "llama-2-7b: hiden: unknown field"),
    "weights that do not add up": ("models.json", '"hidden": 4096', '"hidden": 4608', "but the shape has"),
    "no http link": ("models.json", "https://huggingface.co/", "ftp://huggingface.co/", "expected an http(s) link"),
    "a script for a link": ("machines.json", '"link": "https://', '"link": "javascript:https://', "link: "),
    "markup": ("models.json", '"title": "LLaMA', '"title": "<b>LLaMA', "title: holds markup"),
    "the same name": ("models.json", '"name": "llama-13b"', '"name": "LLAMA-7B"', "stands in the table twice; rename"),
    "the same key": ("models.json", LLAMA, LLAMA + ', "title": "x"', "title: stands twice in one object; keep one"),
    "no source": ("machines.json", '"source": "NVIDIA T4 Tensor Core GPU datasheet", ', "", "t4: source: is missing"),
    "unknown seen": ("models.json", '"seen": "secondary"', '"seen": "heard"', "seen: expected one of source"),
    "bits for bytes": ("machines.json", '"read_bytes_per_s": 900000000000', '"read_bytes_per_s": 9e17', "no machine's"),
    "narrow and slow": (
        "machines.json", '"bfloat16_flops_per_s": 312000000000000', '"bfloat16_flops_per_s": 3120000000000', "slower",
    ),
    "not JSON": ("kv_formats.json", '"rows": [', '"rows": [,', "could not read it"),
}  # fmt: skip


@pytest.mark.parametrize(("file", "old", "new", "message"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_told_with_its_line(tmp_path: Path, file: str, old: str, new: str, message: str) -> None:
    found = [str(fault) for fault in check_tables(changed(tmp_path, file, old, new))]
    assert any(message in fault for fault in found), found
    lines = (tmp_path / FOLDER / file).read_text("utf-8").split("\n")
    fault = next(fault for fault in found if message in fault)
    place = int(fault.split(":")[1])
    assert fault.startswith(f"{FOLDER}/{file}:")
    assert new.split('"name": ')[-1][:12] in lines[place - 1] or new[:12] in lines[place - 1] or place == 1


def test_check_reports_them(tmp_path: Path) -> None:
    root = checkout(changed(tmp_path, "models.json", '"seen": "secondary"', '"seen": "heard"'))
    assert any(f"{FOLDER}/models.json:4:1: llama-7b: seen" in found for found in complaints(root))
