"""Driver of pywasm, an interpreter in Python. Its traps are Python's own errors, which are passed on as such."""

import io
import os
from typing import Any

import pywasm

from reference_impls.runtime_testing.drivers.common import Folder, Json, Number, RejectedError, serve


def fail(_machine: Any, _arguments: list[Any]) -> list[Any]:
    """What the host function of that name does."""
    raise RuntimeError("host failed")


class _Session:
    spoilt_by_traps = True

    def __init__(self, wasm: bytes, folder: Folder) -> None:
        self.runtime = pywasm.core.Runtime()
        self._offer()
        if folder.arguments:
            self._offer_system(folder)
        try:
            module = pywasm.core.ModuleDesc.from_reader(io.BytesIO(wasm))
        except Exception as error:
            raise RejectedError("load") from error
        for one in module.imps:
            if one.module not in self.runtime.imports or one.name not in self.runtime.imports[one.module]:
                raise RejectedError("link")
        self.instance = self.runtime.instance(module)

    def _offer(self) -> None:
        value = pywasm.core.ValType
        offered = self.runtime.imports.setdefault("host", {})
        for name in ("i32", "i64", "f32", "f64"):
            type_ = pywasm.core.FuncType([getattr(value, name)()], [getattr(value, name)()])
            offered[f"same_{name}"] = self.runtime.allocate_func_host(type_, lambda _machine, given: given)
        pair = pywasm.core.FuncType([], [value.i64(), value.i32()])
        offered["pair"] = self.runtime.allocate_func_host(pair, lambda _machine, _given: [-1, 7])
        offered["fail"] = self.runtime.allocate_func_host(pywasm.core.FuncType([], []), fail)

    def _offer_system(self, folder: Folder) -> None:
        system = pywasm.wasi.Preview1(folder.arguments, {"/": str(folder.root)}, folder.environment)
        system.fd[0].host_fd = os.open(folder.stdin, os.O_RDONLY)
        system.fd[1].host_fd = os.open(folder.stdout, os.O_WRONLY)
        system.bind(self.runtime)

    def call(self, export: str, arguments: list[Number], results: list[str]) -> list[Number]:  # noqa: ARG002
        return list(self.runtime.invocate(self.instance, export, arguments))


def load(wasm: bytes, _request: Json, folder: Folder) -> _Session:
    """See `common.Load`."""
    return _Session(wasm, folder)


if __name__ == "__main__":
    serve(load)
