import struct
import tracemalloc

import numpy as np
import pytest
import torch

from reference_impls.models.gguf import GGUFError, GGUFFile
from tests.models import gguf_builder as g
from tests.models.conftest import seeded

# 16 bytes whose low halves are 0 .. 15 and whose high halves are 15 .. 0
NIBBLES = bytes(low | (15 - low) << 4 for low in range(16))
HALF = np.float16(0.5).tobytes()


def opened(tmp_path, data: bytes) -> GGUFFile:
    path = tmp_path / "made.gguf"
    path.write_bytes(data)
    return GGUFFile(path)


def one_tensor(tmp_path, shape, kind, raw) -> torch.Tensor:
    return opened(tmp_path, g.build({}, {"w": (shape, kind, raw)})).tensor("w")


def test_q4_0_block_by_hand(tmp_path):
    found = one_tensor(tmp_path, (1, 32), g.Q4_0, HALF + NIBBLES)
    expected = [0.5 * (q - 8) for q in [*range(16), *range(15, -1, -1)]]
    assert found.tolist() == [expected]


def test_q4_1_block_by_hand(tmp_path):
    found = one_tensor(tmp_path, (1, 32), g.Q4_1, HALF + np.float16(-3).tobytes() + NIBBLES)
    assert found.tolist() == [[0.5 * q - 3 for q in [*range(16), *range(15, -1, -1)]]]


def test_q8_0_block_by_hand(tmp_path):
    codes = [-128, 127, *range(-15, 15)]
    found = one_tensor(tmp_path, (32,), g.Q8_0, HALF + struct.pack("<32b", *codes))
    assert found.tolist() == [0.5 * q for q in codes]


@pytest.mark.parametrize(("kind", "dtype"), [(g.F32, torch.float32), (g.F16, torch.float16), (g.BF16, torch.bfloat16)])
def test_floats_come_back_bit_identical(tmp_path, kind, dtype):
    weight = torch.randn(3, 5, 7, generator=seeded()).to(dtype)
    raw = weight.contiguous().view(torch.uint8).numpy().tobytes()
    assert torch.equal(one_tensor(tmp_path, (3, 5, 7), kind, raw), weight.float())


def test_blocks_keep_their_order_over_rows(tmp_path):
    scales = [0.25, 0.5, 1.0, 2.0]
    raw = b"".join(np.float16(scale).tobytes() + bytes([1] * 32) for scale in scales)
    found = one_tensor(tmp_path, (2, 64), g.Q8_0, raw)
    assert found[:, ::32].tolist() == [[0.25, 0.5], [1.0, 2.0]]


def test_metadata_of_every_kind(tmp_path):
    made = {"a": 7, "b": 0.5, "c": "words", "d": ["x", "", "é"], "e": [1, -2, 3]}
    file = opened(tmp_path, g.build(made, {}))
    assert file.metadata == {"a": 7, "b": 0.5, "c": "words"}
    assert file.strings("d") == made["d"]
    assert file.numbers("e") == made["e"]
    with pytest.raises(GGUFError, match="no array a"):
        file.numbers("a")
    with pytest.raises(GGUFError, match="no tensor w"):
        file.tensor("w")


def test_the_tensors_are_ones_own(tmp_path):
    file = opened(tmp_path, g.build({}, {"w": ((4,), g.F32, struct.pack("<4f", 1, 2, 3, 4))}))
    file.tensor("w").zero_()
    assert file.tensor("w").tolist() == [1, 2, 3, 4]


def honest() -> bytes:
    tensors = {"w": ((2, 32), g.Q8_0, bytes(68)), "n": ((5,), g.F32, bytes(20))}
    return g.build({"name": "made", "words": ["a", "bc"], "numbers": [1, 2], "eps": 0.5}, tensors)


def test_every_cut_is_refused_with_the_path(tmp_path):
    data = honest()
    opened(tmp_path, data)
    end = data.rindex(bytes(20)) + 20  # what follows the last tensor is padding
    for size in range(min(end, len(data) - 12)):
        with pytest.raises(GGUFError, match=r"made\.gguf"):
            opened(tmp_path, data[:size])


def test_flipped_bytes_never_give_another_error(tmp_path):
    data = honest()
    for at in range(len(data) - 128):
        for flip in (0x01, 0x80, 0xFF):
            forged = bytearray(data)
            forged[at] ^= flip
            try:
                file = opened(tmp_path, bytes(forged))
                for name in file.tensors:
                    file.tensor(name)
                for key in file.arrays:
                    file._array(key, {file.arrays[key].kind})
            except GGUFError:
                continue


HUGE = 2**62
HEAD = b"GGUF" + struct.pack("<I", 3)
FORGED = {
    "not GGUF": (b"GGML" + bytes(40), "not a GGUF file"),
    "version": (b"GGUF" + struct.pack("<IQQ", 1, 0, 0) + bytes(32), "version 2 or 3"),
    "count of tensors": (HEAD + struct.pack("<QQ", HUGE, 0) + bytes(64), "needs"),
    "count of values": (HEAD + struct.pack("<QQ", 0, HUGE) + bytes(64), "needs"),
    "length of a key": (HEAD + struct.pack("<QQQ", 0, 1, HUGE) + bytes(64), "needs"),
    "length of an array": (
        HEAD + struct.pack("<QQ", 0, 1) + g.text("k") + struct.pack("<IIQ", 9, 4, HUGE) + bytes(64),
        "needs",
    ),
    "length of strings": (
        HEAD + struct.pack("<QQ", 0, 1) + g.text("k") + struct.pack("<IIQ", 9, 8, HUGE) + bytes(64),
        "needs",
    ),
    "nested array": (
        HEAD + struct.pack("<QQ", 0, 1) + g.text("k") + struct.pack("<IIQ", 9, 9, 1) + bytes(64),
        "unsupported type 9",
    ),
    "unknown value": (HEAD + struct.pack("<QQ", 0, 1) + g.text("k") + struct.pack("<I", 99) + bytes(64), "type 99"),
    "key twice": (HEAD + struct.pack("<QQ", 0, 2) + (g.text("k") + g.value(1)) * 2 + bytes(64), "appears twice"),
    "key not UTF-8": (HEAD + struct.pack("<QQQ", 0, 1, 2) + b"\xff\xfe" + bytes(64), "not UTF-8"),
    "many axes": (HEAD + struct.pack("<QQ", 1, 0) + g.tensor_entry("w", [1] * 9, 0, 0) + bytes(99), "got 9"),
    "huge shape": (
        HEAD + struct.pack("<QQ", 1, 0) + g.tensor_entry("w", [2**40, 2**40], 0, 0) + bytes(64),
        "not in the file",
    ),
    "no rows": (HEAD + struct.pack("<QQ", 1, 0) + g.tensor_entry("w", [0, 4], 0, 0) + bytes(64), "rows hold"),
    "part of a block": (HEAD + struct.pack("<QQ", 1, 0) + g.tensor_entry("w", [31], 8, 0) + bytes(99), "multiples"),
    "unknown format": (HEAD + struct.pack("<QQ", 1, 0) + g.tensor_entry("w", [4], 77, 0) + bytes(99), "type 77"),
    "misplaced": (HEAD + struct.pack("<QQ", 1, 0) + g.tensor_entry("w", [4], 0, 3) + bytes(99), "multiple of 32"),
    "alignment": (g.build({"general.alignment": 0}, {}) + bytes(32), "alignment"),
}


@pytest.mark.parametrize("name", FORGED)
def test_forged_numbers_are_refused_before_any_memory_is_taken(tmp_path, name):
    data, message = FORGED[name]
    tracemalloc.start()
    try:
        with pytest.raises(GGUFError, match=message):
            opened(tmp_path, data)
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()
