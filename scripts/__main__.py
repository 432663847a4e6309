"""The command line: `python -m scripts COMMAND`. Each command parses, calls the library, prints; logic lives there."""

from scripts.commands import app

if __name__ == "__main__":
    app()
