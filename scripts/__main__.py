"""The command line: `python -m scripts COMMAND`. Each command parses, calls the library, prints; logic lives there."""

import scripts.contributing.commands  # noqa: F401 its commands join those of scripts.commands
from scripts.commands import app

if __name__ == "__main__":
    app()
