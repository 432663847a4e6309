"""Serve public/ on this machine and build it again when a source changes."""

import threading
from collections.abc import Callable
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from watchfiles import watch

from scripts.website.build import build
from scripts.website.errors import BuildError, DataError

WATCHED = ("entries", "techniques", "results", "reference_impls", "site", "mkdocs.yml", "package-lock.json")


def serve(root: Path, port: int, say: Callable[[str], None]) -> None:
    """Build, serve on 127.0.0.1, and rebuild on every change until interrupted. A failed build leaves the last site."""
    _build(root, say)
    handler = partial(_Quiet, directory=str(root / "public"))
    with ThreadingHTTPServer(("127.0.0.1", port), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        say(f"Open http://127.0.0.1:{server.server_port}/ (stop with Ctrl-C)")
        paths = [root / name for name in WATCHED if (root / name).exists()]
        for changes in watch(*paths, raise_interrupt=False):
            names = sorted({Path(path).name for _, path in changes})
            say(f"changed: {', '.join(names[:5])}")
            _build(root, say)


def _build(root: Path, say: Callable[[str], None]) -> None:
    try:
        report = build(root)
    except DataError as error:
        for found in error.problems:
            say(str(found))
        say("the site shown is the last that could be built")
    except BuildError as error:
        say(str(error))
    else:
        say(f"built in {sum(report.seconds.values()):.1f} s")


class _Quiet(SimpleHTTPRequestHandler):
    """Serves the site's own page for addresses that do not exist, and keeps the terminal for messages that matter."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 the base class names it so
        """Say nothing about requests that went well."""

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer 404 with 404.html."""
        page = Path(self.directory) / "404.html"
        if code != 404 or not page.exists():
            super().send_error(code, message, explain)
            return
        content = page.read_bytes()
        self.send_response(404)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
