"""A checkout with as many entries as wanted, made from a real one: what the site's growth is measured on.

Titles are put together from the words of real ones and names from real names, so that the search for duplicates, the
related papers and the sizes of pages meet what they would meet; every second title begins with a name of its own, as
new works bring new words. The same seed gives the same checkout.
"""

import random
import re
import shutil
import subprocess
from collections.abc import Iterator
from itertools import combinations, cycle
from pathlib import Path

from scripts.catalogue.addresses import PUBLISHED, REDIRECTS
from scripts.catalogue.dump import dump
from scripts.catalogue.files import write_atomically
from scripts.catalogue.load import Catalogue, load_catalogue
from scripts.catalogue.model import Author, Paper

COPIED = ("mkdocs.yml", "site", "techniques")
RECORDED = ("entries", "results", "reference_impls", "tests")
"""What a real site is made from besides; of the tests it shows which there are."""
SYLLABLES = "ada bit cat dra eff flo gra hy in jet kiv lo mo ne op pru qua ro spa tri uni vec wan xe zip".split()  # noqa: SIM905

_PAPER_LINK = re.compile(r"\(paper:[a-z0-9-]+\)")


def make_checkout(real: Path, folder: Path, count: int, seed: int = 0) -> list[str]:
    """Make a checkout in `folder` with `count` entries varied from those of the checkout `real`; -> their keys."""
    catalogue = load_catalogue(real)
    papers = dict(_papers(catalogue, count, random.Random(seed)))  # noqa: S311 no secrets here
    _copy_site(real, folder, list(papers))
    for key, paper in papers.items():
        write_atomically(folder / "entries" / str(paper.year) / f"{key}.yaml", dump(paper))
    return list(papers)


def copy_checkout(real: Path, folder: Path) -> list[str]:
    """Copy everything that the real site is made from, its history included; -> the keys of its entries."""
    if (real / ".git").exists():
        _clone_history(real, folder)
    for name in (*COPIED, *RECORDED):
        _copy(real / name, folder / name)
    _link_libraries(real, folder)
    return sorted(path.stem for path in (folder / "entries").glob("*/*.yaml"))


def _clone_history(real: Path, folder: Path) -> None:
    """The same commits over what the folder will hold; their objects are read where they are."""
    for command in (
        ["git", "clone", "--quiet", "--shared", "--no-checkout", str(real.resolve()), str(folder)],
        ["git", "-C", str(folder), "reset", "--quiet"],
    ):
        subprocess.run(command, check=True, capture_output=True)


def _copy_site(real: Path, folder: Path, keys: list[str]) -> None:
    """Everything but the entries; what prose says of real papers is said of generated ones."""
    for name in COPIED:
        _copy(real / name, folder / name)
    for name in (PUBLISHED, REDIRECTS):  # this site has published nothing yet
        (folder / name).unlink(missing_ok=True)
    others = cycle(keys)
    for page in sorted([*folder.glob("techniques/**/*.md"), *folder.glob("site/pages/**/*.md")]):
        text = _PAPER_LINK.sub(lambda _: f"(paper:{next(others)})", page.read_text("utf-8"))
        page.write_text(text, "utf-8")
    _link_libraries(real, folder)


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)


def _link_libraries(real: Path, folder: Path) -> None:
    (folder / "node_modules").symlink_to((real / "node_modules").resolve(), target_is_directory=True)


def _papers(catalogue: Catalogue, count: int, rng: random.Random) -> Iterator[tuple[str, Paper]]:
    models = [entry.paper for _, entry in sorted(catalogue.entries.items())]
    words = [paper.title.split() for paper in models]
    names = [author for paper in models for author in paper.authors]
    mixed: set[frozenset[int]] = set()
    for number in range(count):
        model = rng.choice(models)
        name = "".join(rng.choices(SYLLABLES, k=3)).capitalize() + rng.choice(["", "", "KV", "LLM", "-Q"])
        title = _title(words, mixed, rng)
        if number % 2:
            title = f"{name}: {title}"
        key = re.sub(r"[^a-z0-9]+", "-", f"{name} {number}".lower())
        yield key, _varied(model, title, number, names, rng)


def _title(words: list[list[str]], mixed: set[frozenset[int]], rng: random.Random) -> str:
    """The beginning, the middle and the end of three titles: at most a third of it is any one work's.

    mixed: the pairs of works that have met in a title; two titles that shared a pair could be taken for one work
    """
    while True:
        chosen = rng.sample(range(len(words)), 3)
        pairs = {frozenset(pair) for pair in combinations(chosen, 2)}
        if mixed.isdisjoint(pairs):
            break
    mixed |= pairs
    first, second, third = (words[one] for one in chosen)
    parts = [first[: rng.randint(2, 4)], second[len(second) // 3 :][: rng.randint(2, 4)], third[-rng.randint(2, 4) :]]
    return " ".join(word for part in parts for word in part).replace(": ", " ")


def _varied(model: Paper, title: str, number: int, names: list[Author], rng: random.Random) -> Paper:
    """A paper of the same size and kind as the model, with a title, authors and ids of its own."""
    fields = model.model_dump(exclude_defaults=True, exclude={"also_titled", "distinct_from", "url", "code"})
    fields["title"] = title
    if model.authors:
        people = zip(rng.choices(names, k=len(model.authors)), rng.choices(names, k=len(model.authors)), strict=True)
        fields["authors"] = [Author(family=a.family, given=b.given).model_dump(exclude_none=True) for a, b in people]
    if model.arxiv:
        fields["preprint"] = {"arxiv": f"{model.arxiv[:4]}.{number:05}"}
    if model.published:
        fields["published"] = {key: value for key, value in fields["published"].items() if key not in ("title", "url")}
        if not model.venue or model.doi:
            fields["published"]["doi"] = f"10.5555/generated.{number}"
    if model.code:
        fields["code"] = f"https://example.org/generated/{number}"
    return Paper.model_validate(fields)
