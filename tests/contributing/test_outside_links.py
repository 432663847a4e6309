"""The link report names what a person should look at, and asks no host twice at a time."""

import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from scripts.catalogue.load import load_catalogue
from scripts.contributing.outside_links import Answer, ask, ask_all, outside_links, report
from tests.builders import REPOSITORY, checkout, entry, page


def test_every_address_is_found_with_its_files(tmp_path):
    files = {
        "entries/2024/a-a.yaml": entry(url="https://a.example.org/x", code="https://b.example.org/y"),
        "entries/2024/b-b.yaml": entry(title="Quite another one", code="https://b.example.org/y"),
        "techniques/systems/index.md": page("[a](https://c.example.org/) and [b](paper:a-a)"),
    }
    assert outside_links(load_catalogue(checkout(tmp_path, files))) == {
        "https://a.example.org/x": ["entries/2024/a-a.yaml"],
        "https://b.example.org/y": ["entries/2024/a-a.yaml", "entries/2024/b-b.yaml"],
        "https://c.example.org/": ["techniques/systems/index.md"],
    }


def test_a_host_is_asked_one_address_at_a_time():
    busy, worst, lock = 0, 0, threading.Lock()

    def slow(url: str) -> tuple[int, str]:
        nonlocal busy, worst
        with lock:
            busy += 1
            worst = max(worst, busy)
        time.sleep(0.005)
        with lock:
            busy -= 1
        return 200, ""

    answers = ask_all({f"https://one.example.org/{n}": ["f"] for n in range(6)}, slow)
    assert len(answers) == 6
    assert worst == 1


def test_ctrl_c_waits_for_no_answer():
    program = """
import os, signal, threading, time
from scripts.contributing.outside_links import ask_all
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have started the tests deaf to it
threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
ask_all({f"https://one.example.org/{n}": ["f"] for n in range(99)}, lambda url: time.sleep(60))
"""
    begin = time.monotonic()
    done = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.stderr.strip().endswith("KeyboardInterrupt")
    assert time.monotonic() - begin < 30


def test_a_fault_of_ours_is_no_answer():
    with pytest.raises(ZeroDivisionError):
        ask_all({"https://one.example.org/": ["f"]}, lambda url: (1 // 0, ""))


class Server(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(int(self.path.strip("/")))
        self.end_headers()

    def log_message(self, *arguments):
        pass


def test_statuses_are_told_apart():
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        base = f"http://127.0.0.1:{server.server_port}"
        answers = ask_all({f"{base}/{status}": ["f"] for status in (200, 403, 404, 500)}, ask)
        server.shutdown()
    assert {answer.status: answer.is_gone for answer in answers} == {200: False, 403: False, 404: True, 500: True}
    assert ask("http://127.0.0.1:1/")[0] is None


def test_the_report_holds_what_is_gone_and_nothing_alive():
    text = report(
        [Answer("https://x.example.org/`|a", 404, "Not | Found", ("f",)), Answer("https://y.org/", 200, "", ("g",))]
    )
    assert "1 of 2 to look at" in text
    assert "| `f` | `https://x.example.org/%60%7Ca` | 404 `Not %7C Found` |" in text
    assert "y.org" not in text
