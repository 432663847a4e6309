"""Driver of wasm3, by its binding pywasm3."""

import wasm3

from reference_impls.runtime_testing.drivers.common import (
    Folder,
    Json,
    Number,
    RejectedError,
    TrappedError,
    UnsupportedError,
    as_list,
    serve,
)

STACK = 512 * 1024
HOST = {"same_i32": "i(i)", "same_i64": "I(I)", "same_f32": "f(f)", "same_f64": "F(F)"}


def fail() -> None:
    """What the host function of that name does."""
    raise RuntimeError("host failed")


class _Session:
    def __init__(self, wasm: bytes, folder: Folder) -> None:
        if folder.arguments:
            raise UnsupportedError("the binding has no system interface")
        try:
            environment = wasm3.Environment()
            module = environment.parse_module(wasm)
            self.runtime = environment.new_runtime(STACK)
            self.runtime.load(module)
        except RuntimeError as error:
            raise RejectedError("load") from error
        for name, signature in HOST.items():
            _link(module, name, signature, lambda one: one)
        _link(module, "fail", "v()", fail)

    def call(self, export: str, arguments: list[Number], results: list[str]) -> list[Number]:  # noqa: ARG002
        try:
            function = self.runtime.find_function(export)
        except RuntimeError as error:  # it compiles a function when it is first looked up
            raise RejectedError("load") from error
        try:
            return as_list(function(*arguments))
        except RuntimeError as error:
            raise TrappedError(str(error)) from error


def _link(module: "wasm3.Module", name: str, signature: str, function: object) -> None:
    try:
        module.link_function("host", name, signature, function)
    except RuntimeError as error:
        if "lookup failed" not in str(error):  # not imported: nothing to link
            raise RejectedError("link") from error


def load(wasm: bytes, _request: Json, folder: Folder) -> _Session:
    """See `common.Load`."""
    return _Session(wasm, folder)


if __name__ == "__main__":
    serve(load)
