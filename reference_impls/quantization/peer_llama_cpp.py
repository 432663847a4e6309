"""llama.cpp as a peer, in a process of its own: `python peer_llama_cpp.py MODEL.gguf THREADS [TYPE]`.

It needs llama-cpp-python and nothing else, so that it can run under another Python than the bench (whose packages may
not fit it): name that one in $LLAMA_CPP_PYTHON. Each line on standard input is one JSON command, each is answered by
one JSON line: {"prefill": [tokens]} resets and reads tokens; {"step": token} decodes one and forgets it again;
{"logits": token} does the same and answers what the model says next.

TYPE q8_0 quantizes the file anew before loading, by llama.cpp's own code. Tokens are read one by one: reading many at
once takes its matrix path, which fails on some virtual machines with AMX.
"""

import contextlib
import ctypes
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOM = 256


def requantized(path: Path, kind: str, folder: Path) -> Path:
    """The file with its weights in another of llama.cpp's types. Raises ValueError where llama.cpp cannot."""
    import llama_cpp

    target = folder / f"{kind}.gguf"
    settings = llama_cpp.llama_model_quantize_default_params()
    settings.ftype = getattr(llama_cpp, f"LLAMA_FTYPE_MOSTLY_{kind.upper()}")
    settings.allow_requantize = True
    settings.nthread = 1
    if llama_cpp.llama_model_quantize(os.fsencode(path), os.fsencode(target), ctypes.byref(settings)):
        raise ValueError(f"llama.cpp could not write {kind}")
    return target


def serve(model: Any) -> None:
    """Answer commands until the input ends."""
    for line in sys.stdin:
        command = json.loads(line)
        answer: Any = None
        if "prefill" in command:
            model.reset()
            for token in command["prefill"]:
                model.eval([token])
        else:
            held = model.n_tokens
            model.eval([command["step"] if "step" in command else command["logits"]])
            if "logits" in command:
                answer = [float(value) for value in model.scores[model.n_tokens - 1]]
            model.n_tokens = held
        print(json.dumps(answer), flush=True)  # noqa: T201


def main(arguments: list[str]) -> int:
    """Load, say ready, serve; -> the exit code."""
    from llama_cpp import Llama

    path, threads = Path(arguments[0]), int(arguments[1])
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        stack.enter_context(contextlib.redirect_stdout(sys.stderr))
        if len(arguments) > 2:
            path = requantized(path, arguments[2], Path(folder))
        model = Llama(str(path), n_ctx=ROOM, n_threads=threads, n_threads_batch=threads, logits_all=True, verbose=False)
        stack.close()
        print(json.dumps("ready"), flush=True)  # noqa: T201
        serve(model)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
