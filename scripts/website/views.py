"""What the templates of site/templates show: plain records, ready to print. Templates compute nothing."""

from dataclasses import dataclass
from functools import partial
from urllib.parse import quote, quote_plus

from scripts.bibliography import export
from scripts.bibliography.names import printed, short
from scripts.catalogue.addresses import paper_href, technique_href
from scripts.catalogue.load import Entry
from scripts.catalogue.model import Claim
from scripts.catalogue.venues import VENUES
from scripts.catalogue.vocabulary import AREAS, METRICS, RESOURCE_MEANING, SEEN_MEANING
from scripts.website.derive import Derived, claim_value, effective_saves, lineage, per_year
from scripts.website.settings import Settings
from scripts.website.staleness import stale
from scripts.website.verdicts import Outcome, Verdict, judge

_REPORT = quote_plus("What is wrong, and where the right value can be seen:\n")


@dataclass(frozen=True)
class TechniqueRef:
    """A link to a technique: `trail` leads from its area down to its parent."""

    slug: str
    title: str
    href: str
    hue: int
    trail: tuple["TechniqueRef", ...] = ()


@dataclass(frozen=True)
class PaperRow:
    """A paper in a table or list."""

    key: str
    title: str
    href: str
    authors: str
    year: int
    venue: str | None
    level: str
    has_code: bool
    hue: int
    technique: str
    arxiv: str | None


@dataclass(frozen=True)
class ClaimView:
    """A claim and the state of its test."""

    id: str
    says: str
    metric: str
    value: str
    better: str
    against: str | None
    setting: str | None
    version: str | None
    where: str
    seen: str
    seen_meaning: str
    disagrees_with: list[str]
    verdict: str
    reason: str
    differs: str | None
    case: str | None
    outcomes: tuple[Outcome, ...]
    is_compared: bool
    """Whether a person compared the figure with its source."""


@dataclass(frozen=True)
class PaperView:
    """Everything on a paper's page."""

    key: str
    title: str
    also_titled: list[str]
    authors: list[str]
    authors_cut: bool
    year: int
    kind: str
    venue: str | None
    venue_name: str | None
    venue_href: str | None
    published_year: int | None
    doi: str | None
    arxiv: str | None
    links: list[tuple[str, str]]
    techniques: list[TechniqueRef]
    area: TechniqueRef
    saves: list[tuple[str, str]]
    saves_inherited: bool
    level: str
    summary: list[str]
    claims: list[ClaimView]
    checked: str | None
    sources: list[str]
    note: str | None
    corrections: list[tuple[str, str, str | None]]
    file: str
    edit_url: str
    report_url: str
    bibtex: str
    bib_href: str
    ris_href: str
    csl_href: str
    related: list[PaperRow]


@dataclass(frozen=True)
class TechniqueView:
    """Everything on a technique's page beside its prose; a node of the tree of techniques."""

    slug: str
    title: str
    summary: str
    href: str
    hue: int
    trail: tuple[TechniqueRef, ...]
    children: list["TechniqueView"]
    saves: list[tuple[str, str]]
    costs: list[str]
    limit: str | None
    survey: str | None
    count: int
    count_below: int
    claims: int
    file: str
    edit_url: str
    bib_href: str
    years: list[tuple[int, int]]
    combines: list[TechniqueRef]
    conflicts: list[TechniqueRef]

    def flat(self) -> list["TechniqueView"]:
        """The node and all below it, each before its own children."""
        return [self, *(below for child in self.children for below in child.flat())]


def venue_href(venue: str) -> str:
    """A venue's page, relative to the site's root."""
    return f"venues/{venue.casefold().replace(' ', '-')}/"


def edit_url(settings: Settings, file: str) -> str:
    """Where the file can be edited in the browser."""
    return f"{settings.repo_url}/edit/main/{quote(file)}"


def report_url(settings: Settings, title: str, file: str) -> str:
    """A new report in the repository, filled in with what it is about and the file that says it."""
    commit = f" at commit {settings.commit[:12]}" if settings.commit else ""
    body = quote_plus(f"File: {file}{commit}\n") + _REPORT
    return f"{settings.repo_url}/issues/new?title={quote_plus(title)}&body={body}"


class Views:
    """Builds views from a derived catalogue; rows and references are made once and shared."""

    def __init__(self, derived: Derived, settings: Settings) -> None:
        self.derived, self.settings = derived, settings
        self.pages = derived.catalogue.pages
        self._verdicts: dict[int, Verdict] = {}
        self.refs: dict[str, TechniqueRef] = {}
        for slug in sorted(self.pages):
            self.refs[slug] = self._ref(slug)
        self.rows = {entry.key: self._row(entry) for entry in derived.newest}
        self.bibtex = {entry.key: export.bibtex(entry.key, entry.paper) for entry in derived.newest}

    def _ref(self, slug: str) -> TechniqueRef:
        above = tuple(self.refs[part] for part in lineage(slug)[:-1] if part in self.refs)
        hue = AREAS[slug.partition("/")[0]].hue
        return TechniqueRef(slug, self.pages[slug].technique.title, technique_href(slug), hue, above)

    def _row(self, entry: Entry) -> PaperRow:
        paper, main = entry.paper, self.refs[entry.paper.techniques[0]]
        return PaperRow(
            key=entry.key,
            title=paper.title,
            href=paper_href(entry.key),
            authors=short(paper.authors, paper.authors_cut),
            year=paper.year,
            venue=paper.venue,
            level=paper.level,
            has_code=paper.code is not None,
            hue=main.hue,
            technique=main.title,
            arxiv=paper.arxiv,
        )

    def paper(self, entry: Entry) -> PaperView:
        """The view of one paper's page."""
        paper, key = entry.paper, entry.key
        techniques = [self.refs[slug] for slug in paper.techniques]
        saves, inherited = effective_saves(entry, self.pages)
        href = paper_href(key)
        return PaperView(
            key=key,
            title=paper.title,
            also_titled=_other_titles(entry),
            authors=[printed(author) for author in paper.authors],
            authors_cut=paper.authors_cut,
            year=paper.year,
            kind=paper.kind,
            venue=paper.venue,
            venue_name=VENUES[paper.venue].name if paper.venue else None,
            venue_href=venue_href(paper.venue) if paper.venue else None,
            published_year=paper.published.year if paper.published else None,
            doi=paper.doi,
            arxiv=paper.arxiv,
            links=_links(entry),
            techniques=techniques,
            area=(*techniques[0].trail, techniques[0])[0],
            saves=[(word, RESOURCE_MEANING[word]) for word in saves],
            saves_inherited=inherited,
            level=paper.level,
            summary=paper.summary.split("\n") if paper.summary else [],
            claims=[claim_view(claim, self.verdict(claim), entry) for claim in paper.claims],
            checked=paper.checked.isoformat() if paper.checked else None,
            sources=paper.sources,
            note=paper.note,
            corrections=[(item.date.isoformat(), item.what, item.was) for item in paper.corrections],
            file=entry.file,
            edit_url=edit_url(self.settings, entry.file),
            report_url=report_url(self.settings, f"Wrong data: {key}", entry.file),
            bibtex=self.bibtex[key],
            bib_href=f"{href}{key}.bib",
            ris_href=f"{href}{key}.ris",
            csl_href=f"{href}{key}.json",
            related=[self.rows[other] for other in self.derived.related[key]],
        )

    def verdict(self, claim: Claim) -> Verdict:
        """What the recorded runs say about a claim; judged once."""
        if id(claim) not in self._verdicts:
            age = partial(stale, self.settings.root)
            # A case is measured by the suite that its name begins with, which the check holds.
            suite = claim.test.case.partition("/")[0] if claim.test else ""
            runs = {file: run for file, run in self.derived.catalogue.runs.items() if run.suite == suite}
            self._verdicts[id(claim)] = judge(claim, runs, age)
        return self._verdicts[id(claim)]

    def technique(self, slug: str) -> TechniqueView:
        """The view of one technique, with those below it."""
        page, ref = self.pages[slug], self.refs[slug]
        technique, below = page.technique, self.derived.below[slug]
        return TechniqueView(
            slug=slug,
            title=technique.title,
            summary=technique.summary,
            href=ref.href,
            hue=ref.hue,
            trail=ref.trail,
            children=[self.technique(child) for child in self.derived.children.get(slug, [])],
            saves=[(word, RESOURCE_MEANING[word]) for word in technique.saves],
            costs=list(technique.costs),
            limit=technique.limit,
            survey=technique.survey,
            count=len(self.derived.own[slug]),
            count_below=len(below),
            claims=sum(len(entry.paper.claims) for entry in below),
            file=page.file,
            edit_url=edit_url(self.settings, page.file),
            bib_href=f"{ref.href}papers.bib",
            years=per_year(below),
            combines=[self.refs[other] for other in self.derived.combines[slug]],
            conflicts=[self.refs[other] for other in self.derived.conflicts[slug]],
        )

    def tree(self) -> list[TechniqueView]:
        """The areas, with everything below them."""
        return [self.technique(slug) for slug in self.derived.children.get("", [])]

    def rows_of(self, entries: list[Entry]) -> list[PaperRow]:
        """Rows of a table, in the order given."""
        return [self.rows[entry.key] for entry in entries]

    def bibliography(self, entries: list[Entry]) -> str:
        """BibTeX of several papers, in the order given."""
        return "\n".join(self.bibtex[entry.key] for entry in entries)


def claim_view(claim: Claim, verdict: Verdict, entry: Entry) -> ClaimView:
    """A claim in words, beside what the recorded runs say about it."""
    metric, trial = METRICS[claim.metric], claim.test
    return ClaimView(
        id=claim.id,
        says=claim.says,
        metric=metric.title,
        value=claim_value(claim),
        better=metric.better,
        against=claim.against,
        setting=claim.setting,
        version=claim.version,
        where=claim.where,
        seen=claim.seen,
        seen_meaning=SEEN_MEANING[claim.seen],
        disagrees_with=claim.disagrees_with,
        verdict=verdict.kind,
        reason=verdict.reason,
        differs=trial.differs if trial else None,
        case=trial.case if trial else None,
        outcomes=verdict.outcomes,
        is_compared=claim.seen == "source" and entry.paper.checked is not None,
    )


def _other_titles(entry: Entry) -> list[str]:
    published = entry.paper.published
    titles = [*entry.paper.also_titled, *([published.title] if published and published.title else [])]
    return [title for title in dict.fromkeys(titles) if title != entry.paper.title]


def _links(entry: Entry) -> list[tuple[str, str]]:
    paper = entry.paper
    links = []
    if paper.arxiv:
        links += [("arXiv", f"https://arxiv.org/abs/{paper.arxiv}"), ("PDF", f"https://arxiv.org/pdf/{paper.arxiv}")]
    if paper.doi:
        links.append(("DOI", f"https://doi.org/{quote(paper.doi, safe='/:;().-_')}"))
    if paper.published and paper.published.url:
        links.append(("Publication", paper.published.url))
    if paper.url:
        links.append(("Website", paper.url))
    if paper.code:
        links.append(("Code", paper.code))
    return links
