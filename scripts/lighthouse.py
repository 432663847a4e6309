"""Judge pages of the built site by Lighthouse: `python -m scripts lighthouse`.

Lighthouse is an npm package of 200 others, which only this command needs: it is installed into build/lighthouse/ on
the first run and not at set-up. Pages are served compressed, as every host of static files does.
"""

import gzip
import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from scripts.catalogue.files import write_atomically
from scripts.node import NodeError

VERSION = "12.8.2"
CATEGORIES = ("performance", "accessibility", "best-practices", "seo")
PAGES = (
    "",
    "papers/",
    "papers/superflow/",
    "techniques/algorithms/model-compression/quantization/",
    "compare/",
    "planner/",
    "ledger/",
)
GOAL = 95
TRIES = 2
"""A busy machine may let the browser's answer come too late; that says nothing about the page."""
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
CHROME_FLAGS = "--headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage"

_COMPRESSED = {".css", ".csv", ".html", ".js", ".json", ".svg", ".txt", ".xml"}


class LighthouseError(RuntimeError):
    """Lighthouse, its browser or the site is missing, or a run failed."""


@dataclass(frozen=True)
class Verdict:
    """One page by one form factor: scores from 0 to 100 by category, and what cost points, as "category: audit"."""

    page: str
    form: str
    scores: dict[str, int]
    lost: list[str]

    @property
    def passed(self) -> bool:
        """Whether every category reaches the goal."""
        return min(self.scores.values()) >= GOAL


def judge(root: Path, pages: tuple[str, ...], forms: tuple[str, ...]) -> Iterator[Verdict]:
    """Run Lighthouse over pages (paths from the site's root) and forms ("mobile", "desktop")."""
    public = root / "public"
    missing = [page for page in pages if not (public / page / "index.html").exists()]
    if missing:
        raise LighthouseError(f"{public / missing[0]} holds no page; run `python -m scripts build` first")
    program = _program(root / "build" / "lighthouse")
    with _served(public) as url:
        for page in pages:
            for form in forms:
                yield read_report(page, form, _report(program, url + page, form))


def read_report(page: str, form: str, report: dict[str, Any]) -> Verdict:
    """The scores of a report, and the audits with a weight that were not passed in full."""
    scores, lost = {}, []
    for name in CATEGORIES:
        category = report["categories"][name]
        if category["score"] is None:
            raise LighthouseError(f"{page or 'home'} ({form}): no score for {name}; {report.get('runtimeError', '')}")
        scores[name] = round(100 * category["score"])
        for reference in category["auditRefs"]:
            audit = report["audits"][reference["id"]]
            if reference["weight"] and audit["score"] is not None and audit["score"] < 0.9:
                lost.append(f"{name}: {audit['title']} {audit.get('displayValue', '')}".rstrip())
    return Verdict(page, form, scores, lost)


def write_verdicts(path: Path, verdicts: list[Verdict]) -> None:
    """Write every score as JSON."""
    write_atomically(path, json.dumps([asdict(verdict) for verdict in verdicts], indent=2) + "\n")


def _program(folder: Path) -> list[str]:
    """The command that starts Lighthouse; installs it on first use."""
    script = folder / "node_modules" / "lighthouse" / "cli" / "index.js"
    if not script.exists():
        npm = shutil.which("npm")
        if npm is None:
            raise NodeError("no npm found; Lighthouse needs the system's Node 18 or newer")
        folder.mkdir(parents=True, exist_ok=True)
        options = ("--prefix", str(folder), "--no-audit", "--no-fund", "--loglevel=error")
        done = subprocess.run([npm, "install", *options, f"lighthouse@{VERSION}"], check=False)
        if done.returncode:
            raise NodeError(f"`npm install lighthouse@{VERSION}` failed; its messages stand above")
    return [shutil.which("node") or "node", str(script)]


def _report(program: list[str], url: str, form: str) -> dict[str, Any]:
    names = [os.environ["CHROMIUM"]] if "CHROMIUM" in os.environ else BROWSERS
    browser = next(filter(None, map(shutil.which, names)), None)
    if browser is None:
        raise LighthouseError(f"none of {', '.join(names)} is on the path; name a Chromium with CHROMIUM=…")
    options = [
        "--output=json",
        "--quiet",
        f"--only-categories={','.join(CATEGORIES)}",
        f"--chrome-flags={CHROME_FLAGS}",
    ]
    if form == "desktop":
        options.append("--preset=desktop")
    environment = os.environ | {"CHROME_PATH": browser}
    for _ in range(TRIES):
        done = subprocess.run([*program, url, *options], capture_output=True, text=True, check=False, env=environment)
        if not done.returncode:
            break
    else:
        raise LighthouseError(f"Lighthouse failed on {url}:\n{done.stderr.strip()}")
    report: dict[str, Any] = json.loads(done.stdout)
    return report


@contextmanager
def _served(public: Path) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Compressing, directory=str(public))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


class _Compressing(SimpleHTTPRequestHandler):
    """Serves files as a host would: texts compressed, connections kept open."""

    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 the base class names it so
        """Say nothing."""

    def do_GET(self) -> None:
        """A file, or index.html of a folder."""
        path = Path(self.translate_path(self.path))
        file = path / "index.html" if path.is_dir() else path
        if file.suffix not in _COMPRESSED or not file.is_file():
            super().do_GET()
            return
        content = gzip.compress(file.read_bytes())
        self.send_response(200)
        self.send_header("Content-Type", f"{self.guess_type(str(file))}; charset=utf-8")
        self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "max-age=600")
        self.end_headers()
        self.wfile.write(content)
