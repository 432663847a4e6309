"""What only the whole catalogue can tell: names that clash, works entered twice, references that lead nowhere."""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from itertools import chain, combinations
from posixpath import basename, dirname, join, normpath

from scripts.catalogue.drawing import Image, images, without_code, without_images
from scripts.catalogue.load import Catalogue, Entry, Page
from scripts.catalogue.model import Claim, Measurement, Trial, Unavailable
from scripts.catalogue.planner_tables import check_tables
from scripts.catalogue.problems import Problem
from scripts.catalogue.result_checks import check_results
from scripts.catalogue.text_rules import SLUG, check_line, check_url
from scripts.catalogue.vocabulary import AREAS

SIMILAR = 0.8
"""Share of common letter triples from which two titles are taken for the same work."""

WORDS = (80, 200)
"""How many words a technique page has until its implementation brings a longer text."""

# Targets as `](target` and `[name]: target`; the latter counts inside quotes, lists and notes too.
_LINK = re.compile(r"\]\(\s*<?\s*([^)\s>]*)|^[ \t>*+:\d.)!?-]*\[[^\[\]]+\]:\s*<?\s*([^\s>]+)", re.MULTILINE)
_KEY = re.compile(rf"(?=.{{2,60}}$){SLUG}")
_SLUG = re.compile(rf"{SLUG}(/{SLUG})*")


def cross_check(catalogue: Catalogue) -> Iterator[Problem]:
    """Every problem that no single file shows."""
    measured = _by_case(catalogue)
    for entry in catalogue.entries.values():
        yield from _check_place(entry)
        yield from _check_years(entry)
        yield from _check_references(entry, catalogue)
        yield from _check_tests(entry, measured)
    yield from _repeated(catalogue, "preprint.arxiv", lambda entry: entry.paper.arxiv)
    yield from _repeated(catalogue, "published.doi", lambda entry: (entry.paper.doi or "").casefold() or None)
    yield from _similar_titles(catalogue)
    for page in catalogue.pages.values():
        yield from _check_page(page, catalogue)
    yield from _check_drawings(catalogue)
    yield from check_tables(catalogue.root)
    yield from check_results(catalogue.root, catalogue.runs | catalogue.submissions)


def _at(entry: Entry | Page, field: str, message: str, hint: str) -> Problem:
    # The line is looked up only when something is wrong: see `locate`.
    return Problem(entry.file, 0, 0, field, message, hint)


def _check_place(entry: Entry) -> Iterator[Problem]:
    folder, _, name = entry.file.rpartition("/")
    wanted = f"entries/{entry.paper.year}/{name}"
    if not _KEY.fullmatch(entry.key):
        hint = "use lower-case words joined by hyphens, 2 to 60 of a-z, 0-9 and -; the name is the page's address"
        yield _at(entry, "", f'the file name "{entry.key}" is no key', hint)
    if entry.file != wanted:
        yield _at(entry, "year", f"is {entry.paper.year}, but the file stands in {folder}/", f"move it to {wanted}")


def _check_years(entry: Entry) -> Iterator[Problem]:
    paper = entry.paper
    printed = paper.published.year if paper.published else None
    preprint = 2000 + int(paper.arxiv[:2]) if paper.arxiv else None
    known = [year for year in (printed, preprint) if year]
    # An article may be online in the year before its issue; an arXiv id knows its year exactly.
    early = 1 if printed and (not preprint or printed < preprint) else 0
    if known and not min(known) - early <= paper.year <= min(known):
        told = f"arXiv:{paper.arxiv} is of {preprint}" if preprint == min(known) else f"it was published in {printed}"
        yield _at(entry, "year", f"is {paper.year}, but {told}", f"the first public version counts: {min(known)}")
    if preprint and printed and not preprint - 2 <= printed <= preprint + 6:
        hint = "one of the two is wrong, or the id belongs to another paper"
        yield _at(
            entry, "preprint.arxiv", f"arXiv:{paper.arxiv} is of {preprint}, but it was published in {printed}", hint
        )


def _check_references(entry: Entry, catalogue: Catalogue) -> Iterator[Problem]:
    for index, slug in enumerate(entry.paper.techniques):
        if slug not in catalogue.pages:
            near = nearest_slug(slug, catalogue)
            yield _at(entry, f"techniques.{index}", f"there is no page techniques/{slug}.md", f"did you mean {near}?")
        if slug in entry.paper.techniques[:index]:
            yield _at(entry, f"techniques.{index}", f'"{slug}" is named twice', "keep one")
    for index, key in enumerate(entry.paper.distinct_from):
        if key not in catalogue.entries:
            yield _at(entry, f"distinct_from.{index}", f'there is no entry "{key}"', "give the key of an entry")


def nearest_slug(slug: str, catalogue: Catalogue) -> str:
    """The technique that a mistyped path most likely means."""
    last = slug.rpartition("/")[2]
    ranked = sorted(catalogue.pages, key=lambda known: (last not in known, abs(len(known) - len(slug))))
    return ranked[0] if ranked else "the name of a page"


def _by_case(catalogue: Catalogue) -> dict[str, list[Measurement | Unavailable]]:
    """All that was measured, or could not be, in each case of any run."""
    found: dict[str, list[Measurement | Unavailable]] = defaultdict(list)
    for run in (*catalogue.runs.values(), *catalogue.submissions.values()):
        ones: list[Measurement | Unavailable] = [*run.measurements, *run.unavailable]
        for one in ones:
            found[one.case].append(one)
    return found


def _check_tests(entry: Entry, measured: Mapping[str, Sequence[Measurement | Unavailable]]) -> Iterator[Problem]:
    """A claim's test names what its case measures. A case that nobody has run yet may be named."""
    for at, claim in enumerate(entry.paper.claims):
        if claim.test is not None:
            yield from _check_test(entry, f"claims.{at}.test", claim, claim.test, measured.get(claim.test.case, ()))


def _check_test(
    entry: Entry, field: str, claim: Claim, test: Trial, case: Sequence[Measurement | Unavailable]
) -> Iterator[Problem]:
    if test.metric not in (None, claim.metric):
        yield _at(entry, f"{field}.metric", f"is {test.metric}, the claim's is {claim.metric}", "test what is claimed")
    found = [one for one in case if isinstance(one, Measurement)]
    if not found:
        return
    known = sorted({one.implementation for one in case})
    for part, name in (("implementation", test.implementation), ("against", test.against)):
        if name not in (None, *known):
            yield _at(entry, f"{field}.{part}", f'"{name}" is not in {test.case}', f"it has {', '.join(known)}")
    quality = {one.quality.metric for one in found if one.quality}
    measured = quality if test.metric else {one.metric for one in found}
    if claim.metric not in measured:
        hint = f"it measures {', '.join(sorted(measured))}" + ("; see test.metric" if claim.metric in quality else "")
        yield _at(entry, f"{field}.case", f"{test.case} does not measure {claim.metric}", hint)


def _repeated(catalogue: Catalogue, field: str, identify: Callable[[Entry], str | None]) -> Iterator[Problem]:
    holders: dict[str, Entry] = {}
    for entry in catalogue.entries.values():
        identifier = identify(entry)
        if identifier is None:
            continue
        first = holders.setdefault(identifier, entry)
        if first is not entry:
            hint = "the same work twice: keep one entry, or correct the id"
            yield _at(entry, field, f"{identifier} stands also in {first.file}", hint)


def fold_title(title: str) -> str:
    """A title for comparison: no case, accents or punctuation."""
    letters = title.casefold()
    if not letters.isascii():
        letters = "".join(c for c in unicodedata.normalize("NFKD", letters) if not unicodedata.combining(c))
    return " ".join(re.findall(r"[^\W_]+", letters))


def _similar_titles(catalogue: Catalogue) -> Iterator[Problem]:
    """Pairs of titles that share `SIMILAR` of their letter triples.

    Comparing all pairs would take minutes at 10,000 entries. Two such titles share rare words, so only titles are
    compared that have one of their three rarest words in common, and words in over 30 titles are not rare. Titles
    of common words alone are compared with those of the same words.
    """
    titles = [(fold_title(title), entry) for entry in catalogue.entries.values() for title in _titles(entry)]
    frequency = Counter(word for title, _ in titles for word in set(title.split()))
    by_word: dict[str, list[int]] = defaultdict(list)
    for index, (title, _) in enumerate(titles):
        words = sorted(set(title.split()), key=lambda word: (frequency[word], word))
        for word in [word for word in words[:3] if frequency[word] <= 30] or [" ".join(sorted(words))]:
            by_word[word].append(index)
    pairs = {pair for group in by_word.values() for pair in combinations(group, 2)}
    triples = {index: _triples(titles[index][0]) for index in set(chain.from_iterable(pairs))}
    reported = set()
    for a, b in sorted(pairs):
        first, second = titles[a][1], titles[b][1]
        told = first.key in second.paper.distinct_from or second.key in first.paper.distinct_from
        if first is second or told or (first.key, second.key) in reported or not _alike(triples[a], triples[b]):
            continue
        reported.add((first.key, second.key))
        hint = f"the same work twice: keep one entry; else add `distinct_from: [{first.key}]`"
        yield _at(second, "title", f'is nearly that of {first.file}, "{first.paper.title}"', hint)


def _titles(entry: Entry) -> list[str]:
    published = entry.paper.published
    return [entry.paper.title, *entry.paper.also_titled, *([published.title] if published and published.title else [])]


def _alike(a: Set[object], b: Set[object]) -> bool:
    if min(len(a), len(b)) < SIMILAR * max(len(a), len(b)):  # cannot share enough
        return False
    common = len(a & b)
    return common >= SIMILAR * (len(a) + len(b) - common)


def _triples(title: str) -> set[tuple[str, str, str]]:
    padded = f"  {title} "
    return set(zip(padded, padded[1:], padded[2:], strict=False))


def _check_page(page: Page, catalogue: Catalogue) -> Iterator[Problem]:
    parent, _, _ = page.slug.rpartition("/")
    if parent and parent not in catalogue.pages:
        yield _at(page, "", f"its parent techniques/{parent}/index.md is missing", "write the parent first")
    if page.slug and not _SLUG.fullmatch(page.slug):
        hint = "use lower-case words of a-z and 0-9 joined by hyphens; the path is the page's address"
        yield _at(page, "", f'the path "{page.slug}" is no address', hint)
    family = page.technique.family
    library = catalogue.root / "reference_impls"
    if family and library.exists() and not (library / family / "__init__.py").exists():
        yield _at(page, "family", f"there is no package reference_impls/{family}/", "leave it out until there is one")
    if not parent and page.slug not in AREAS:
        yield _at(page, "", f'"{page.slug}" is no area', "add it to AREAS in scripts/catalogue/vocabulary.py")
    words = len(re.sub(r"\]\([^)]*\)", "]", page.body).split())
    if words < WORDS[0]:
        yield _at(
            page, "", f"has {words} words of text; {WORDS[0]} at least", "say what it is, saves, costs, is limited by"
        )
    yield from _check_neighbours(page, catalogue)
    yield from _check_links(page, catalogue)
    for index, line in enumerate(without_code(page.body.split("\n"))):
        if markup := re.search(r"<[A-Za-z/!?]|\{[^}]*=", line):
            what = "holds HTML" if markup.group()[0] == "<" else "holds an attribute list"
            hint = "write Markdown; a `<` or `{` as a sign goes in backquotes, closed on the same line"
            yield Problem(page.file, page.body_line + index, markup.start() + 1, "", what, hint)


def _check_neighbours(page: Page, catalogue: Catalogue) -> Iterator[Problem]:
    """Techniques that go with this one or exclude it; a pair is named on one page and shown on both."""
    technique = page.technique
    for name, slugs in (("combines", technique.combines), ("conflicts", technique.conflicts)):
        for index, slug in enumerate(slugs):
            other = catalogue.pages.get(slug)
            opposite = "conflicts" if name == "combines" else "combines"
            opposed = getattr(technique, opposite) + ([] if other is None else _of(other, opposite, page.slug))
            if slug == page.slug:
                yield _at(page, name, "names the page itself", "name another technique")
            elif other is None:
                hint = f"did you mean {nearest_slug(slug, catalogue)}?"
                yield _at(page, name, f"there is no page techniques/{slug}.md", hint)
            elif slug in slugs[:index]:
                yield _at(page, name, f'"{slug}" is named twice', "keep one")
            elif slug in opposed:
                yield _at(page, name, f'"{slug}" stands under {opposite} too, here or on its page', "decide for one")


def _of(page: Page, name: str, slug: str) -> list[str]:
    """The slug of the page, where its field names the other."""
    return [page.slug] if slug in getattr(page.technique, name) else []


def _check_drawings(catalogue: Catalogue) -> Iterator[Problem]:
    """Each image of a page is a drawing that lies beside it, and each drawing is shown once."""
    shown: set[str] = set()
    for page in catalogue.pages.values():
        for image in images(page.body):
            file = f"{dirname(page.file)}/{image.name}"
            found = _image_problem(image, file, catalogue)
            if not found and file in shown:
                found = f"{file} is shown twice", "show it once, or copy it under another name"
            if found:
                yield Problem(page.file, page.body_line + image.line, image.start + 1, "", *found)
            shown.add(file)
        yield from _check_hidden_images(page)
    for file in sorted(set(catalogue.drawings) - shown):
        hint = f"write ![caption]({basename(file)}) on a line of a page in {dirname(file)}/, or delete the file"
        yield Problem(file, 1, 1, "", "is shown on no page", hint)


def _check_hidden_images(page: Page) -> Iterator[Problem]:
    """Images inside what looks like code, or over several lines: the page might show them all the same."""
    for index, line in enumerate(without_images(page.body).split("\n")):
        if (at := line.find("![")) >= 0:
            hint = "write ![caption](name.svg) on a line of its own, and `!` and `[` apart elsewhere"
            yield Problem(
                page.file, page.body_line + index, at + 1, "", "holds an image that is no line of its own", hint
            )


def _image_problem(image: Image, file: str, catalogue: Catalogue) -> tuple[str, str] | None:
    """What is wrong with an image of a page, and the hint."""
    if not re.fullmatch(rf"{SLUG}\.svg", image.name):
        hint = "write ![caption](name.svg) and put the file beside the page; the name is words joined by hyphens"
        return f'the image "{image.markup[:80]}" is no drawing beside the page', hint
    if not image.is_alone:
        return "an image stands among other words", "give it a line of its own, from the line's first column"
    try:
        check_line(image.caption)
    except ValueError as error:
        message, _, hint = str(error).partition("; ")
        return f"the caption {message}", hint
    return None if file in catalogue.drawings else (f"there is no file {file}", "draw it, or delete the line")


def page_links(page: Page) -> Iterator[str]:
    """The target of every link of a page, in order."""
    return (_target(match) for match in _LINK.finditer(without_images(page.body)))


def _target(match: re.Match[str]) -> str:
    return match.group(1) if match.group(1) is not None else match.group(2)


def _check_links(page: Page, catalogue: Catalogue) -> Iterator[Problem]:
    for match in _LINK.finditer(without_images(page.body)):
        target = _target(match)
        if found := _link_problem(target, page, catalogue):
            start = page.body.rfind("\n", 0, match.start()) + 1
            line = page.body_line + page.body.count("\n", 0, match.start())
            yield Problem(page.file, line, match.start() - start + 1, "", *found)


def _link_problem(target: str, page: Page, catalogue: Catalogue) -> tuple[str, str] | None:
    """What is wrong with a link of a page, and the hint; only papers, pages, headings and http(s) are linked."""
    scheme, colon, rest = target.partition(":")
    if scheme == "paper" and colon:
        hint = "use the name of a file under entries/, without .yaml"
        return None if rest in catalogue.entries else (f"the link paper:{rest} leads to no entry", hint)
    if colon or target.startswith("//"):
        try:
            check_url(target)
        except ValueError as error:
            message, _, hint = str(error).partition("; ")
            return f"link: {message}", hint
        return None
    path = target.partition("#")[0]
    file = normpath(join(dirname(page.file), path))
    known = catalogue.pages.get(file.removeprefix("techniques/").removesuffix(".md").removesuffix("/index"))
    if not path or (known and known.file == file):
        return None
    return f'the link "{target[:80]}" leads to no page', "give the path of an .md file, from the folder of this one"
