"""The built site, served on this machine, and a Chromium to look at it with.

`FRUGALFM_PUBLIC=public pytest tests/site` tests a site that is built already; otherwise the checkout is built once.
"""

import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NoReturn

import pytest
from filelock import FileLock
from playwright.sync_api import Browser, BrowserContext, Page, Request, sync_playwright

ROOT = Path(__file__).parents[2]
NOT_COPIED = ("build", "public", "node_modules", "dist", "tests", "__pycache__", ".*", "*.egg-info")
PAPER_LINK = re.compile(r"\(paper:([a-z0-9-]+)\)")
CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM_ARGS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here is about the built site."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.site)


@dataclass(frozen=True)
class Site:
    """A built site: its files, and where they are served."""

    public: Path
    url: str
    source: Path
    """The checkout it was built from."""

    def paper_keys(self) -> set[str]:
        """Of all entries."""
        return {path.stem for path in (self.source / "entries").glob("*/*.yaml")}

    def html(self, href: str) -> str:
        """The page at a path from the site's root that ends with a slash, or the home page for nothing."""
        return (self.public / href / "index.html").read_text("utf-8")


class QuietHandler(SimpleHTTPRequestHandler):
    """Serves files with connections kept open, and logs nothing."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The site of this checkout, built once for all processes of a test run. Nobody changes it."""
    if given := os.environ.get("FRUGALFM_PUBLIC"):
        source, public = ROOT, Path(given).resolve()
    else:
        own = tmp_path_factory.getbasetemp()
        shared = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
        source, public = shared / "checkout/frugalfm", shared / "checkout/frugalfm/public"
        with FileLock(shared / "checkout.lock"):
            if not public.exists():
                shutil.rmtree(source, ignore_errors=True)  # of a build that failed
                done = run_build(copy_checkout(source))
                assert done.returncode == 0, done.stdout + done.stderr
    with serve(public) as url:
        yield Site(public, url, source)


class serve:  # noqa: N801 used as a function
    """Serve a folder at a free port of this machine for as long as the block lasts."""

    def __init__(self, folder: Path) -> None:
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietHandler, directory=str(folder)))
        self.server.daemon_threads = True

    def __enter__(self) -> str:
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{self.server.server_port}/"

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()


def copy_checkout(target: Path) -> Path:
    """A copy of this checkout to build in and to break; libraries and history are shared with the original."""
    shutil.copytree(ROOT, target, ignore=shutil.ignore_patterns(*NOT_COPIED))
    for name in ("node_modules", ".git"):
        if (ROOT / name).exists():
            (target / name).symlink_to(ROOT / name)
    return target


def small_checkout(target: Path, files: Mapping[str, str] | None = None) -> Path:
    """The techniques, the theme, the entries that the techniques link to, and the files given; no history."""
    for name in ("techniques", "site"):
        shutil.copytree(ROOT / name, target / name, ignore=shutil.ignore_patterns("addresses.txt", "redirects.yaml"))
    shutil.copy(ROOT / "mkdocs.yml", target)
    (target / "node_modules").symlink_to(ROOT / "node_modules")
    linked = {key for page in target.glob("techniques/**/*.md") for key in PAPER_LINK.findall(page.read_text("utf-8"))}
    sources = {path.relative_to(ROOT).as_posix(): path for path in ROOT.glob("entries/*/*.yaml") if path.stem in linked}
    for name, text in ({name: path.read_text("utf-8") for name, path in sources.items()} | dict(files or {})).items():
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (target / name).write_text(text, "utf-8")
    return target


def run_build(root: Path, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the build command on a checkout, as a user would."""
    command = [sys.executable, "-m", "scripts", "build", "--root", str(root), *options]
    env = os.environ | {"COLUMNS": "200"} | environment
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=env)


def unavailable(what: str) -> NoReturn:
    """Skip the test for want of a program, except where the suite has to be whole."""
    if os.environ.get("CI"):
        pytest.fail(f"{what}; under CI these tests have to run")
    pytest.skip(what)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """The Chromium named by $CHROMIUM or found on the path."""
    names = [os.environ["CHROMIUM"]] if "CHROMIUM" in os.environ else CHROMIUM_NAMES
    program = next(filter(None, map(shutil.which, names)), None)
    if program is None:
        unavailable(f"no Chromium: none of {', '.join(names)} is on the path; name one with CHROMIUM=…")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=program, args=CHROMIUM_ARGS)
        yield chromium
        chromium.close()


@dataclass
class Visit:
    """A page open in a browser of its own, with what it requested and complained about."""

    page: Page
    url: str
    requests: list[str]
    complaints: list[str]
    sizes: dict[str, int]
    """Length of each answer's body by path from the site's root."""

    def go(self, href: str, *, quiet: bool = False) -> Page:
        """Open the page at a path from the site's root; wait until it is loaded, or until nothing more is requested."""
        self.page.goto(self.url + href, wait_until="networkidle" if quiet else "load")
        return self.page


@pytest.fixture
def visits(site: Site, browser: Browser) -> Iterator[Callable[..., Visit]]:
    """Opens browsers with the options of Playwright's new_context. None of them may complain or leave this machine."""
    opened: list[tuple[BrowserContext, Visit]] = []

    def start(**options: Any) -> Visit:
        context = browser.new_context(**({"viewport": {"width": 1280, "height": 800}} | options))
        visit = Visit(context.new_page(), site.url, [], [], {})
        context.on("request", lambda request: visit.requests.append(request.url))
        context.on("requestfinished", lambda request: visit.sizes.update(_size(request, site.url)))
        context.on("console", lambda message: message.type == "error" and visit.complaints.append(message.text))
        context.on("weberror", lambda error: visit.complaints.append(str(error.error)))
        opened.append((context, visit))
        return visit

    yield start
    for context, visit in opened:
        context.close()
        assert visit.complaints == []
        assert [url for url in visit.requests if not url.startswith((site.url, "data:", "blob:" + site.url))] == []


def _size(request: Request, root: str) -> dict[str, int]:
    return {request.url.removeprefix(root): request.sizes()["responseBodySize"]}


@pytest.fixture
def visit(visits: Callable[..., Visit]) -> Visit:
    """A browser on a desk."""
    return visits()
