"""The command line: `python -m scripts COMMAND`. Each command parses, calls the library, prints; logic lives there."""

import atexit
import gc
import sys

import scripts.contributing.commands  # noqa: F401 its commands join those of scripts.commands
from scripts.commands import app

MANY_OBJECTS = ("build", "check")
"""Commands that make millions of objects, hardly a cycle among them, and end."""

if __name__ == "__main__":
    if sys.argv[1:2] and sys.argv[1] in MANY_OBJECTS:
        gc.disable()
    atexit.register(gc.freeze)  # Python would look through all that is left, which takes a fifth of a build
    app()
