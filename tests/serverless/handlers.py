"""Handlers of the tests: pure Python, so that a process of them starts soon; some break what handlers must keep."""

import os
import time

from reference_impls.serverless import EventError

KEPT = {}


class Words:
    """Yields the words of event["text"], upper case."""

    def imports(self):
        pass

    def load(self, model, options):
        self.options = options

    def invoke(self, event):
        if not isinstance(event.get("text"), str):
            raise EventError("text must be a text")
        for word in event["text"].split():
            yield word.upper()


class Leaky(Words):
    """Keeps what it was asked in a global, and answers with the last of it: the mistake that a canary must find."""

    def invoke(self, event):
        yield from KEPT.get("last", "").split()
        KEPT["last"] = event["text"]


class Silent(Leaky):
    """Keeps everything and never says so."""

    def invoke(self, event):
        KEPT.setdefault("all", []).append(event["text"])
        yield "done"


class Misbehaving(Words):
    """Does what the event says."""

    def invoke(self, event):
        what = event["do"]
        if what == "sleep":
            time.sleep(event["seconds"])
        elif what == "spin":
            start, used = time.perf_counter(), time.process_time()
            while time.perf_counter() - start < event["seconds"]:
                pass
            yield time.process_time() - used
        elif what == "count":
            yield sum(number * number for number in range(event["to"]))
        elif what == "allocate":
            self.held = bytearray(event["mb"] << 20)
        elif what == "fail":
            raise RuntimeError("a secret")
        elif what == "die":
            os._exit(3)
        yield "done"


class FailsToLoad(Words):
    def load(self, model, options):
        raise OSError("no such file")


class CountsImports(Words):
    """Says in which process it was imported."""

    def imports(self):
        KEPT["imported in"] = os.getpid()

    def invoke(self, event):
        yield KEPT["imported in"]
        yield os.getpid()
