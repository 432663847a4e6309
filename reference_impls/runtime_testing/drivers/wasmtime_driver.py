"""Driver of wasmtime; arguments: pulley (its interpreter) or unoptimised (Cranelift without its optimiser)."""

import sys
from typing import Any

import wasmtime

from reference_impls.runtime_testing.drivers.common import (
    Folder,
    Json,
    Number,
    RejectedError,
    TrappedError,
    as_list,
    serve,
)

_CONFIG = wasmtime.Config()
for _option in ("wasm_threads", "wasm_simd", "wasm_multi_value", "wasm_bulk_memory"):
    if hasattr(_CONFIG, _option):
        setattr(_CONFIG, _option, True)
if "pulley" in sys.argv:
    _CONFIG.target = "pulley64"
if "unoptimised" in sys.argv:
    _CONFIG.cranelift_opt_level = "none"
ENGINE = wasmtime.Engine(_CONFIG)


def fail() -> None:
    """What the host function of that name does."""
    raise RuntimeError("host failed")


class _Session:
    def __init__(self, wasm: bytes, folder: Folder) -> None:
        self.store = wasmtime.Store(ENGINE)
        self.exports: Any
        linker = wasmtime.Linker(ENGINE)
        self._offer(linker)
        if folder.arguments:
            self._offer_system(linker, folder)
        try:
            module = wasmtime.Module(ENGINE, wasm)
        except wasmtime.WasmtimeError as error:
            raise RejectedError("load") from error
        try:
            self.exports = linker.instantiate(self.store, module).exports(self.store)
        except wasmtime.Trap as error:
            raise TrappedError(_words(error)) from error
        except wasmtime.WasmtimeError as error:
            raise RejectedError("link") from error

    def _offer(self, linker: Any) -> None:
        for type_ in ("i32", "i64", "f32", "f64"):
            value = getattr(wasmtime.ValType, type_)
            linker.define_func("host", f"same_{type_}", wasmtime.FuncType([value()], [value()]), lambda one: one)
        pair = wasmtime.FuncType([], [wasmtime.ValType.i64(), wasmtime.ValType.i32()])
        linker.define_func("host", "pair", pair, lambda: [-1, 7])
        linker.define_func("host", "fail", wasmtime.FuncType([], []), fail)

    def _offer_system(self, linker: Any, folder: Folder) -> None:
        config = wasmtime.WasiConfig()
        config.argv = folder.arguments
        config.env = folder.environment.items()
        config.stdin_file, config.stdout_file = str(folder.stdin), str(folder.stdout)
        config.preopen_dir(str(folder.root), "/")
        self.store.set_wasi(config)
        linker.define_wasi()

    def call(self, export: str, arguments: list[Number], results: list[str]) -> list[Number]:  # noqa: ARG002
        try:
            return as_list(self.exports[export](self.store, *arguments))
        except wasmtime.ExitTrap as error:
            raise TrappedError(f"exit with {error.code}") from error
        except (wasmtime.Trap, wasmtime.WasmtimeError) as error:
            raise TrappedError(_words(error)) from error
        except RuntimeError as error:
            raise TrappedError(str(error)) from error


def _words(error: Exception) -> str:
    """What follows "wasm trap:" or "Caused by:"; before it stand names of functions."""
    text = str(error)
    found = text.partition("wasm trap: ")[2] or text.partition("Caused by:")[2] or text
    return " ".join(found.split())


def load(wasm: bytes, _request: Json, folder: Folder) -> _Session:
    """See `common.Load`."""
    return _Session(wasm, folder)


if __name__ == "__main__":
    serve(load)
