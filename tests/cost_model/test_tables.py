"""The tables are whole and sourced; a bad value is told with file, row, field and rule; names are found."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reference_impls.cost_model import TableError, Tables, load_tables
from reference_impls.cost_model.tables import DATA, find

Change = Callable[[list[dict[str, Any]]], object]


def test_there_are_enough_and_each_has_its_source(tables: Tables) -> None:
    assert len(tables.models) >= 40
    assert sum("GPU" in row.kind or "accelerator" in row.kind for row in tables.machines.values()) >= 25
    kinds = {row.kind for row in tables.machines.values()}
    assert {"phone", "board", "laptop or desktop", "data centre GPU"} <= kinds
    assert all(row.source.startswith("https://") and row.licence for row in tables.models.values())
    assert all(row.source and row.link for row in tables.machines.values())


def test_rates_of_one_machine_are_plausible_beside_each_other(tables: Tables) -> None:
    """Narrower is never slower, and rates printed with sparsity would break the ratio of two."""
    for name, row in tables.machines.items():
        machine = row.machine
        if machine.float8_flops_per_s:
            assert machine.float8_flops_per_s / machine.bfloat16_flops_per_s == pytest.approx(2, rel=0.03), name
        if machine.int8_flops_per_s:
            assert machine.int8_flops_per_s >= machine.bfloat16_flops_per_s, name
        assert machine.bfloat16_flops_per_s >= machine.float32_flops_per_s or not machine.bfloat16_flops_per_s, name
        assert machine.link_bytes_per_s < machine.read_bytes_per_s, name


def changed(folder: Path, file: str, change: Change) -> Path:
    """A copy of the tables with one of them changed."""
    target = folder / "data"
    shutil.copytree(DATA, target)
    text = json.loads((target / file).read_text("utf-8"))
    change(text["rows"])
    (target / file).write_text(json.dumps(text), "utf-8")
    return target


@pytest.mark.parametrize(
    ("file", "change", "words"),
    [
        ("models.json", lambda r: r[0]["shape"].update(hidden=0), "shape: hidden: expected a number above 0, got 0"),
        ("models.json", lambda r: r[0]["shape"].update(hiden=9), "shape: hiden: unknown field; did you mean hidden?"),
        ("models.json", lambda r: r[0]["shape"].pop("vocab"), "llama-7b: shape: vocab: is missing"),
        ("models.json", lambda r: r[0]["shape"].update(kv_heads=5), "a number of kv_heads that divides heads"),
        ("models.json", lambda r: r[0]["shape"].update(tied="yes"), "tied: expected true or false, got 'yes'"),
        ("models.json", lambda r: r[0]["shape"].update(global_layers=1.5), "global_layers: expected a whole number"),
        ("models.json", lambda r: r[0].update(shape=[]), "shape: expected an object with the fields of Shape"),
        ("models.json", lambda r: r.append(r[0]), "llama-7b: name: stands in the table twice"),
        ("models.json", lambda r: r[0].update(seen="once"), "seen: expected one of source, secondary, memory"),
        ("machines.json", lambda r: r[0]["machine"].update(read_bytes_per_s=-1), "expected a number from 0 on, got -1"),
        ("machines.json", lambda r: r[0]["machine"].update(usable_share=90), "usable_share: expected a share"),
        ("machines.json", lambda r: r[0].update(link="nvidia.com"), "link: expected a link that starts with https://"),
        ("machines.json", lambda r: r[0].update(kind="toaster"), "kind: expected one of CPU, board"),
        ("machines.json", lambda r: r[0].pop("compared"), "compared: expected a link with seen: secondary and none"),
        ("models.json", lambda r: r[0].update(seen="memory"), "compared: expected a link with seen"),
        ("machines.json", lambda r: r.append(7), "row 49: name: expected a text, got None"),
        ("weight_formats.json", lambda r: r[1]["format"].update(compute="int7"), "compute: expected one of bfloat16"),
        ("kv_formats.json", lambda r: r[0]["format"].update(bits="16"), "bits: expected a whole number, got '16'"),
    ],
)  # fmt: skip
def test_a_bad_value_is_told_with_its_place(tmp_path: Path, file: str, change: Change, words: str) -> None:
    with pytest.raises(TableError) as told:
        load_tables(changed(tmp_path, file, change))
    assert words in str(told.value)
    assert str(told.value).startswith(f"{file}: ")


def test_all_problems_are_told_together(tmp_path: Path) -> None:
    def spoil(rows: list[dict[str, Any]]) -> None:
        rows[0].update(title="")
        rows[1]["shape"].update(vocab=-3)

    (tmp_path / "more").mkdir()
    with pytest.raises(TableError) as told:
        load_tables(changed(tmp_path, "models.json", spoil))
    assert len(str(told.value).splitlines()) == 2


def test_a_file_that_is_no_table_is_told(tmp_path: Path) -> None:
    target = changed(tmp_path, "models.json", lambda rows: None)
    (target / "models.json").write_text("[1, 2", "utf-8")
    with pytest.raises(TableError, match=r"models.json: expected .*about"):
        load_tables(target)


def test_names_are_found_whatever_their_case_and_near_ones_are_told(tables: Tables) -> None:
    assert find(tables.models, "LLaMA-3.1-8B", "model").name == "llama-3.1-8b"
    with pytest.raises(TableError, match=r"nearest: .*llama-3.1-8b"):
        tables.shape("lama-3.1-8b")
    with pytest.raises(TableError, match="rtx-4090"):
        tables.machine("4090")
    with pytest.raises(TableError, match=r"there is no 'zzzzzz'$"):
        tables.machine("zzzzzz")
