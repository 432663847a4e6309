"""Files in C++ are compiled when first asked for, and what goes wrong is said."""

import pytest

from reference_impls import cpp

needs_compiler = pytest.mark.skipif(cpp.compiler() is None, reason="needs a C++ compiler")


@needs_compiler
def test_a_function_is_compiled_once_and_called(tmp_path):
    source = tmp_path / "twice.cpp"
    source.write_text('extern "C" int twice(int value) { return 2 * value; }')
    library = cpp.library(source)
    assert library.twice(21) == 42
    assert cpp.library(source) is library
    assert cpp.obstacle() is cpp.obstacle(source) is None


@needs_compiler
def test_what_the_compiler_says_is_passed_on(tmp_path):
    wrong = tmp_path / "wrong.cpp"
    wrong.write_text("int main( {")
    with pytest.raises(RuntimeError, match=r"wrong.cpp could not be compiled: .*error"):
        cpp.library(wrong)
    assert "wrong.cpp could not be compiled" in cpp.obstacle(wrong)


def test_without_a_compiler_it_says_so(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    assert cpp.obstacle() == "needs a C++ compiler on the path, or in CXX"
    with pytest.raises(RuntimeError, match="no C\\+\\+ compiler is on the path"):
        cpp.library(tmp_path / "never.cpp")


def test_the_compiler_can_be_named(monkeypatch, tmp_path):
    other = tmp_path / "other"
    other.write_text("#!/bin/sh\necho no such flag >&2\nexit 1\n")
    other.chmod(0o755)
    monkeypatch.setenv("CXX", str(other))
    assert cpp.compiler() == str(other)
    with pytest.raises(RuntimeError, match="no such flag"):
        cpp.library(tmp_path / "any.cpp")
