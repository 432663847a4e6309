import json
import struct

import pytest
import torch

from reference_impls.models.safetensors_file import DTYPES, MAX_HEADER_BYTES, SafetensorsError, read, write
from tests.models.conftest import seeded


def samples() -> dict[str, torch.Tensor]:
    """One tensor per type, with odd sizes, and an empty and a scalar one."""
    made = {name: (torch.randn(3, 5, generator=seeded()) * 50).to(dtype) for name, dtype in DTYPES.items()}
    return made | {"empty": torch.zeros(0, 4), "scalar": torch.tensor(2.5)}


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> None:
    assert set(first) == set(second)
    for name, tensor in first.items():
        assert tensor.dtype == second[name].dtype
        assert tensor.shape == second[name].shape
        # bits and not values: a NaN equals nothing
        assert torch.equal(tensor.contiguous().flatten().view(torch.uint8), second[name].flatten().view(torch.uint8))


def test_round_trip(tmp_path):
    write(tmp_path / "made", samples(), {"key": "word"})
    tensors, metadata = read(tmp_path / "made")
    same(tensors, samples())
    assert metadata == {"key": "word"}


def test_the_library_reads_what_we_write(tmp_path):
    library = pytest.importorskip("safetensors.torch", reason="the safetensors library is not installed")
    write(tmp_path / "made", samples())
    same(library.load_file(tmp_path / "made"), samples())


def test_we_read_what_the_library_writes(tmp_path):
    library = pytest.importorskip("safetensors.torch", reason="the safetensors library is not installed")
    library.save_file(samples(), tmp_path / "made", {"key": "word"})
    tensors, metadata = read(tmp_path / "made")
    same(tensors, samples())
    assert metadata == {"key": "word"}


def test_the_same_tensors_make_the_same_bytes(tmp_path):
    write(tmp_path / "a", samples())
    write(tmp_path / "b", dict(reversed(samples().items())))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_writing_to_a_tensor_leaves_the_file(tmp_path):
    write(tmp_path / "made", {"w": torch.ones(4)})
    read(tmp_path / "made")[0]["w"].zero_()
    assert read(tmp_path / "made")[0]["w"].tolist() == [1, 1, 1, 1]


def test_strides_are_undone(tmp_path):
    weight = torch.arange(6.0).view(2, 3).T
    write(tmp_path / "made", {"w": weight})
    assert torch.equal(read(tmp_path / "made")[0]["w"], weight)


def test_a_file_without_tensors(tmp_path):
    write(tmp_path / "made", {})
    assert read(tmp_path / "made") == ({}, {})


def test_misaligned_tensors_are_read(tmp_path):
    header = json.dumps({"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode() + b" "
    header += b" " * ((1 - len(header)) % 4)
    (tmp_path / "made").write_bytes(struct.pack("<Q", len(header)) + header + struct.pack("<2f", 3, 4))
    assert read(tmp_path / "made")[0]["w"].tolist() == [3, 4]


def test_every_cut_is_refused(tmp_path):
    write(tmp_path / "whole", {"w": torch.ones(3), "v": torch.zeros(2, 2)}, {"key": "word"})
    data = (tmp_path / "whole").read_bytes()
    for size in range(len(data)):
        (tmp_path / "made").write_bytes(data[:size])
        with pytest.raises(SafetensorsError, match="made"):
            read(tmp_path / "made")


def entry(**changes):
    return {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]} | changes


FORGED = {
    "not an object": [],
    "dtype": {"w": entry(dtype="F31")},
    "dtype is a list": {"w": entry(dtype=["F32"])},
    "missing field": {"w": {"dtype": "F32"}},
    "entry is a number": {"w": 3},
    "negative axis": {"w": entry(shape=[-2])},
    "axis is a float": {"w": entry(shape=[2.0])},
    "axis is true": {"w": entry(shape=[True, 2])},
    "huge shape": {"w": entry(shape=[2**62, 2**62])},
    "offsets disagree with shape": {"w": entry(shape=[3])},
    "offsets backwards": {"w": entry(data_offsets=[8, 0])},
    "beyond the end": {"w": entry(shape=[4], data_offsets=[0, 16])},
    "gap at the start": {"w": entry(shape=[1], data_offsets=[4, 8])},
    "overlap": {"w": entry(), "v": entry()},
    "bytes left over": {"w": entry(shape=[1], data_offsets=[0, 4])},
    "metadata is a list": {"__metadata__": [], "w": entry()},
    "metadata holds a number": {"__metadata__": {"a": 1}, "w": entry()},
}


@pytest.mark.parametrize("name", FORGED)
def test_forged_headers_are_refused(tmp_path, name):
    header = json.dumps(FORGED[name]).encode()
    (tmp_path / "made").write_bytes(struct.pack("<Q", len(header)) + header + bytes(8))
    with pytest.raises(SafetensorsError, match="made"):
        read(tmp_path / "made")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        struct.pack("<Q", 2**63) + bytes(64),
        struct.pack("<Q", MAX_HEADER_BYTES + 1) + bytes(64),
        struct.pack("<Q", 8) + b"\xff" * 8,
        struct.pack("<Q", 31) + b'{"__metadata__":{"a":"b","a":""}' + bytes(8),
        struct.pack("<Q", 60_000) + b"[" * 60_000,
    ],
)
def test_what_is_no_header_is_refused(tmp_path, data):
    (tmp_path / "made").write_bytes(data)
    with pytest.raises(SafetensorsError, match="made"):
        read(tmp_path / "made")
