import json

from reference_impls.measurement.environment import cpu_model, describe, governor, library_versions


def test_the_block_is_json_and_names_what_is_missing():
    block = describe(load_before=0.5, libraries=("numpy", "no-such-library"), seed=3).as_dict()
    assert json.loads(json.dumps(block)) == block
    assert block["libraries"]["no-such-library"] == "not installed"
    assert block["libraries"]["numpy"][0].isdigit()
    assert (block["load_before"], block["seed"]) == (0.5, 3)
    assert block["cores"] >= 1


def test_cpu_and_governor_are_read_where_linux_shows_them(tmp_path):
    info = tmp_path / "cpuinfo"
    info.write_text("processor: 0\nmodel name\t: Some CPU @ 2 GHz\nmodel name: other\n")
    assert cpu_model(info) == "Some CPU @ 2 GHz"
    assert cpu_model(tmp_path / "absent")
    assert governor(tmp_path / "absent") is None
    (tmp_path / "governor").write_text("performance\n")
    assert governor(tmp_path / "governor") == "performance"


def test_threads_are_those_set(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert describe().threads["OMP_NUM_THREADS"] == "1"
    assert library_versions([]) == {}
