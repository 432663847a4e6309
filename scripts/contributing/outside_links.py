"""Whether the addresses that the data name still answer: a report for people, never a reason to refuse a change."""

import time
import urllib.error
import urllib.request
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, Queue
from threading import Thread
from urllib.parse import urlsplit

from scripts.catalogue.cross_checks import page_links
from scripts.catalogue.load import Catalogue

TIMEOUT_S = 20
HOSTS = 16
"""How many hosts are asked at a time; of each host one address after the other."""
_AGENT = "Mozilla/5.0 (compatible; FrugalFM link report; +https://github.com/frugalfm/frugalfm)"


@dataclass(frozen=True)
class Answer:
    """What an address answered: an HTTP status, or why there was none. files: where it stands."""

    url: str
    status: int | None
    reason: str
    files: tuple[str, ...]

    @property
    def is_gone(self) -> bool:
        """Whether a person should look: 403, 405 and 429 are how sites greet programs."""
        return self.status is None or (self.status >= 400 and self.status not in (403, 405, 429))


def outside_links(catalogue: Catalogue) -> dict[str, list[str]]:
    """Every outside address of the data -> the files that name it. Addresses made from ids are not among them."""
    found: dict[str, list[str]] = defaultdict(list)
    for entry in catalogue.entries.values():
        published = entry.paper.published
        for url in filter(None, (entry.paper.url, entry.paper.code, published.url if published else None)):
            found[url].append(entry.file)
    for page in catalogue.pages.values():
        for target in page_links(page):
            if target.startswith(("http://", "https://")):
                found[target].append(page.file)
    return dict(sorted(found.items()))


def ask(url: str) -> tuple[int | None, str]:
    """The status of an address, and the reason where there is none."""
    request = urllib.request.Request(url, headers={"User-Agent": _AGENT})  # noqa: S310 `check` allows http(s) only
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310
            return answer.status, ""
    except urllib.error.HTTPError as error:
        return error.code, error.reason
    except (OSError, ValueError) as error:
        return None, " ".join(str(error).split())[:120]


def ask_all(
    links: dict[str, list[str]],
    ask_one: Callable[[str], tuple[int | None, str]] = ask,
    say: Callable[[int], None] = lambda _: None,
) -> list[Answer]:
    """The answers of all addresses, hosts side by side, a host's own one after the other.

    say: told how many have answered. Ctrl-C ends it: what is being asked is given up, and nothing else is asked.
    """
    by_host: dict[str, list[str]] = defaultdict(list)
    for url in links:
        by_host[urlsplit(url).netloc].append(url)

    found: list[Answer] = []
    left: Queue[list[str]] = Queue()
    for urls in sorted(by_host.values(), key=len, reverse=True):
        left.put(urls)
    failed: list[BaseException] = []

    def ask_hosts() -> None:
        with suppress(Empty):
            while True:
                for url in left.get_nowait():
                    found.append(Answer(url, *ask_one(url), tuple(links[url])))  # noqa: PERF401 counted meanwhile

    # Threads of the executor would keep the program alive until they have asked all that they took.
    threads = [Thread(target=_noting(ask_hosts, failed), daemon=True) for _ in range(HOSTS)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        say(len(found))
        time.sleep(0.02)
    if failed:
        raise failed[0]
    return found


def _noting(work: Callable[[], None], failed: list[BaseException]) -> Callable[[], None]:
    """The same work, with what it raises put on the list."""

    def run() -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 told by the main thread
            failed.append(error)

    return run


def report(answers: Iterable[Answer]) -> str:
    """The report, as Markdown."""
    answers = sorted(answers, key=lambda answer: (answer.files, answer.url))
    return "\n".join(_lines(answers)) + "\n"


def _lines(answers: list[Answer]) -> Iterator[str]:
    gone = [answer for answer in answers if answer.is_gone]
    yield f"## Outside links: {len(gone)} of {len(answers)} to look at\n"
    if gone:
        yield "| file | address | answer |\n|---|---|---|"
    for answer in gone:
        url, reason = (text.replace("|", "%7C").replace("`", "%60") for text in (answer.url, answer.reason))
        yield f"| `{answer.files[0]}` | `{url}` | {answer.status or 'none'} `{reason}` |"
