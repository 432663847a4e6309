"""The pages that records make: every paper, year and venue, and what technique and home pages show of the catalogue."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import cache, partial
from typing import Any
from urllib.parse import urlencode

from jinja2 import Environment, FileSystemBytecodeCache, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from scripts.catalogue.addresses import paper_href, technique_href
from scripts.catalogue.load import Entry
from scripts.catalogue.venues import VENUES
from scripts.catalogue.vocabulary import AREAS, RESOURCE_MEANING
from scripts.cluster_speed import load_record
from scripts.website.cold_starts import PAGE as COLD_STARTS
from scripts.website.compare import Comparison, MachineView, Subject
from scripts.website.coverage import make_coverage
from scripts.website.explorer import Explorer
from scripts.website.family import Families
from scripts.website.figures import FigureView
from scripts.website.head import page_head, paper_head, title_tag
from scripts.website.ledger import LEDGER_HREF, make_ledger
from scripts.website.planner import make_planner, planner_context
from scripts.website.reference import examples, families
from scripts.website.settings import Settings
from scripts.website.stamp import Shell
from scripts.website.timeline import timeline
from scripts.website.verdicts import RULES
from scripts.website.views import TechniqueView, Views, report_url, venue_href
from scripts.website.who_pays import STUDY

SHELL_MARKS = frozenset({"title", "head", "body"})
LISTED = 100
"""Papers that the page of a branch lists besides its own; narrower pages and the explorer have all."""
ROOT = "../../"
"""The way from a stamped page back to the site's root: all of them lie two folders deep, as the shell does."""

_BETWEEN = "\x1f"
"""Stands in no text of the catalogue: its check refuses what cannot be printed."""
_PAPER_LINK = re.compile(r'href="paper:([^"]*)"')


class Pages:
    """Renders templates of site/templates with the views of one catalogue."""

    def __init__(self, views: Views, tree: list[TechniqueView], settings: Settings) -> None:
        self.views, self.tree, self.settings = views, tree, settings
        self.derived = views.derived
        self.planner = make_planner(self.derived.catalogue.runs, settings)
        self.explorer = Explorer(views, tree, self._verdicts)
        self.families = Families(self.derived, settings)
        self.comparison = Comparison(self.families)
        self.ledger = make_ledger(views)
        source = settings.root, settings.repo_url, settings.commit
        self.library, self.examples = families(*source), examples(*source)
        self.gaps = make_coverage(views, self.ledger, self.families, settings)
        folder = FileSystemLoader(settings.root / "site" / "templates")
        compiled = settings.root / "build" / "cache" / "templates"
        compiled.mkdir(parents=True, exist_ok=True)
        self.jinja = Environment(
            loader=folder,
            bytecode_cache=FileSystemBytecodeCache(str(compiled)),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            auto_reload=False,
        )
        self.jinja.filters |= {"cells": cells, "code_spans": code_spans}
        self.jinja.globals["report"] = partial(report_url, settings)

    def render(self, name: str, **context: Any) -> str:
        """One template of site/templates, rendered."""
        return self.jinja.get_template(name).render(context)

    def papers(self, shell: Shell) -> Iterator[tuple[str, str]]:
        """Every paper's page made from the shell: (path from the site's root, HTML)."""
        macros: Any = self.jinja.get_template("_macros.html").module
        shared: dict[str, Any] = {"root": ROOT, "repo_url": self.settings.repo_url}
        shared["trail"] = cache(lambda ref: macros.trail(ref.trail, ref, ROOT))
        shared["item"] = cache(lambda row: macros.paper_item(row, ROOT))
        template = self.jinja.get_template("paper.html")
        for entry in self.derived.newest:
            view = self.views.paper(entry)
            body = template.render(p=view, **shared)
            head = paper_head(self.settings, entry, view)
            yield paper_href(entry.key), shell.fill({"title": title_tag(view.title), "head": head, "body": body})

    def lists(self, shell: Shell) -> Iterator[tuple[str, str]]:
        """The pages of years and venues, likewise."""
        for href, title, lead, context in self._lists():
            body = self.render("listing.html", root=ROOT, title=title, lead=lead, **context)
            head = page_head(self.settings, href, title, lead)
            yield href, shell.fill({"title": title_tag(title), "head": head, "body": body})

    def references(self, shell: Shell) -> Iterator[tuple[str, str]]:
        """The pages of the library's families, likewise."""
        for family in self.library:
            title, lead = f"reference_impls.{family.name}", family.title
            body = self.render("reference.html", root=ROOT, f=family, families=self.library)
            head = page_head(self.settings, family.href, title, lead)
            yield family.href, shell.fill({"title": title_tag(title), "head": head, "body": body})

    def marks(self, figures: list[FigureView], newest: list[Entry]) -> dict[str, dict[str, str]]:
        """What fills the rendered pages that people wrote: path from the site's root -> marks."""
        techniques = {technique_href(slug): self.technique_marks(slug) for slug in self.views.pages}
        written = {"": self.home_marks(figures, newest), "techniques/": self.tree_marks()}
        written |= {"planner/": {"planner": self.render("planner.html", root="../", **planner_context(self.planner))}}
        written |= {"tour/": {}}  # no marks, but links to papers
        written |= {"ledger/": self.ledger_marks(), "coverage/": self.coverage_marks()}
        written |= {"corrections/": self.corrections_marks(), "measure/": self.measure_marks()}
        return techniques | self.overviews() | written

    def overviews(self) -> dict[str, dict[str, str]]:
        """What fills the marks of /papers/, /years/ and /venues/: path -> marks."""
        years = [(str(year), f"years/{year}/", len(entries)) for year, entries in self._by_year()]
        venues = [(name, venue_href(name), len(entries)) for name, entries in self._by_venue()]
        areas = [(area.title, area.href, area.count_below) for area in self.tree]
        busiest = sorted(venues, key=lambda item: -item[2])[:24]
        kinds: dict[str | None, list[tuple[str, str, int]]] = defaultdict(list)
        for name, href, count in venues:
            kinds[VENUES[name].kind.capitalize() + "s"].append((name, href, count))
        ways = [("By area", areas), ("By year", years), ("By venue: the busiest", busiest)]
        return {
            "compare/": self._compare(),
            "examples/": self._examples(),
            "reference/": self._reference(),
            "papers/": self._explorer(ways),
            "years/": self._overview("years/", "Years", "Papers by first public version.", [(None, years)]),
            "venues/": self._overview("venues/", "Venues", "Papers by venue of the version of record.", kinds.items()),
        }

    def _explorer(self, groups: Iterable[Any]) -> dict[str, str]:
        title, lead = "Papers", "Every paper of the catalogue, to filter, sort and take along."
        facets = {"e": self.explorer.view(), "meanings": RESOURCE_MEANING}
        body = self.render("explorer.html", root="../", title=title, lead=lead, groups=groups, **facets)
        return {"title": title_tag(title), "head": page_head(self.settings, "papers/", title, lead), "body": body}

    def _reference(self) -> dict[str, str]:
        title, lead = "Library", "Every public class and function of reference_impls, from its docstring."
        body = self.render("reference_index.html", root="../", title=title, lead=lead, families=self.library)
        return {"title": title_tag(title), "head": page_head(self.settings, "reference/", title, lead), "body": body}

    def _examples(self) -> dict[str, str]:
        title, lead = "Examples", "Short programs with the library, each run by a test."
        body = self.render("examples.html", root="../", title=title, lead=lead, examples=self.examples)
        return {"title": title_tag(title), "head": page_head(self.settings, "examples/", title, lead), "body": body}

    def _compare(self) -> dict[str, str]:
        """Of the subject that most is known of; `comparisons` has the pages of all."""
        lead = "Techniques side by side on one machine and one model: quality, speed, limit and cost."
        machine = next(iter(self.comparison.machines), None)
        return self._comparison("compare/", "Compare", lead, machine, machine.subjects[0] if machine else None)

    def _comparison(
        self, href: str, title: str, lead: str, machine: MachineView | None, subject: Subject | None
    ) -> dict[str, str]:
        context: dict[str, Any] = {"machines": self.comparison.machines, "repo_url": self.settings.repo_url}
        context |= {"machine": machine, "s": subject, "lead": lead}
        body = self.render("compare.html", root="../" * href.count("/"), **context)
        return {"title": title_tag(title), "head": page_head(self.settings, href, title, lead), "body": body}

    def comparisons(self, shell: Shell) -> Iterator[tuple[str, str]]:
        """A page for every subject on every machine."""
        for machine in self.comparison.machines:
            for subject in machine.subjects:
                about = f"{subject.title} on {machine.name}"
                lead = f"{about}: techniques side by side, by quality, speed, limit and cost."
                page = shell.fill(self._comparison(subject.href, f"Compare: {about}", lead, machine, subject))
                here = f'<a href="{ROOT}compare/"'
                yield subject.href, page.replace(f"{here}>", f'{here} aria-current="true">', 1)

    def _verdicts(self, entry: Entry) -> list[str]:
        return [self.views.verdict(claim).kind for claim in entry.paper.claims]

    def _overview(self, href: str, title: str, lead: str, groups: Iterable[Any]) -> dict[str, str]:
        body = self.render("overview.html", root="../", title=title, lead=lead, groups=list(groups))
        return {"title": title_tag(title), "head": page_head(self.settings, href, title, lead), "body": body}

    def _lists(self) -> Iterator[tuple[str, str, str, dict[str, Any]]]:
        years = self._by_year()
        for at, (year, entries) in enumerate(years):
            newer, older = years[at - 1][0] if at else None, years[at + 1][0] if at + 1 < len(years) else None
            around = {"previous": _year_link(older), "next": _year_link(newer)}
            context: dict[str, Any] = {"papers": self.views.rows_of(entries), "bib_href": f"years/{year}/papers.bib"}
            context |= {"explorer_query": urlencode({"from": year, "to": year})}
            yield f"years/{year}/", f"Papers of {year}", f"First public in {year}, newest first.", context | around
        for venue, entries in self._by_venue():
            context = {"papers": self.views.rows_of(entries)}
            context |= {"bib_href": f"{venue_href(venue)}papers.bib", "explorer_query": urlencode({"venue": venue})}
            context |= {"previous": None, "next": None}
            yield venue_href(venue), venue, f"{VENUES[venue].name}, newest first.", context

    def records(self, shell: Shell) -> Iterator[tuple[str, str]]:
        """A page for every recorded run, with all its tables."""
        for run in self.families.records():
            title = f"{run.suite.replace('_', ' ').capitalize()} on {run.machine}"
            lead = f"Everything recorded by one run of {run.when}: {len(run.cases)} cases with medians and intervals."
            context = {"title": title, "lead": lead, "run": run, "repo_url": self.settings.repo_url}
            body = self.render("record.html", root=ROOT, **context)
            head = page_head(self.settings, run.href, title, lead)
            yield run.href, shell.fill({"title": title_tag(title), "head": head, "body": body})

    def numbers(self, shell: Shell) -> Iterator[tuple[str, str]]:
        """For every technique whose page shows a part of them: all rows of all figures, of every machine."""
        for slug, page in self.views.pages.items():
            e = self.families.view(slug)
            if e is None or e.whole is None:
                continue
            title = f"{page.technique.title}: all recorded figures"
            lead = f"Every figure of the page on {page.technique.title.lower()}, on every machine, with all rows."
            context = {"title": title, "lead": lead, "e": e, "technique": technique_href(slug)}
            body = self.render("numbers.html", root=ROOT, repo_url=self.settings.repo_url, **context)
            head = page_head(self.settings, e.whole, title, lead)
            yield e.whole, shell.fill({"title": title_tag(title), "head": head, "body": body})

    def _by_year(self) -> list[tuple[int, list[Entry]]]:
        groups: dict[int, list[Entry]] = defaultdict(list)
        for entry in self.derived.newest:
            groups[entry.paper.year].append(entry)
        return sorted(groups.items(), reverse=True)

    def _by_venue(self) -> list[tuple[str, list[Entry]]]:
        groups: dict[str, list[Entry]] = defaultdict(list)
        for entry in self.derived.newest:
            if entry.paper.venue:
                groups[entry.paper.venue].append(entry)
        return sorted(groups.items(), key=lambda item: item[0].casefold())

    def bib_files(self) -> Iterator[tuple[str, str]]:
        """BibTeX of every year and venue."""
        for year, entries in self._by_year():
            yield f"years/{year}/papers.bib", self.views.bibliography(entries)
        for venue, entries in self._by_venue():
            yield f"{venue_href(venue)}papers.bib", self.views.bibliography(entries)

    def technique_marks(self, slug: str) -> dict[str, str]:
        """What fills the marks of a technique's page."""
        root = "../" * (slug.count("/") + 2)
        view = self.views.technique(slug)
        papers = self.views.rows_of(self._listed(slug))
        context: dict[str, Any] = {"e": self.families.view(slug), "repo_url": self.settings.repo_url, "papers": papers}
        known = self.explorer.implemented_keys, self.explorer.tested_keys
        context["timeline"] = timeline(slug, self.derived.below[slug], *known)
        context |= {"w": self.families.who_pays(slug), "study_href": technique_href(STUDY)}
        context |= {"c": self.families.cold_starts(slug), "starts_href": technique_href(COLD_STARTS)}
        return {
            "before": self.render("technique_before.html", root=root, t=view),
            "after": self.render("technique_after.html", root=root, t=view, **context),
        }

    def _listed(self, slug: str) -> list[Entry]:
        """The papers that a technique's page lists: its own, and the newest below it while there is room."""
        below, own = self.derived.below[slug], {entry.key for entry in self.derived.own[slug]}
        room = max(0, LISTED - len(own))
        newest = {entry.key for entry in [entry for entry in below if entry.key not in own][:room]}
        return [entry for entry in below if entry.key in own | newest]

    def home_marks(self, figures: list[FigureView], newest: list[Entry]) -> dict[str, str]:
        """What fills the marks of the home page."""
        entries = self.derived.newest
        numbers = {
            "n_papers": len(entries),
            "n_reviewed": sum(entry.paper.level == "reviewed" for entry in entries),
            "n_techniques": len(self.views.pages),
            "n_claims": sum(len(entry.paper.claims) for entry in entries),
            "n_tested": len(self.ledger.tested),
            "n_code": sum(entry.paper.code is not None for entry in entries),
            "first_year": min((entry.paper.year for entry in entries), default=0),
            "last_year": max((entry.paper.year for entry in entries), default=0),
            "updated": self.settings.generated_at[:10],
        }
        return {
            "numbers": self.render("home_numbers.html", root="./", **numbers),
            "figures": self.render("home_figures.html", root="./", figures=figures),
            "newest": self.render("home_newest.html", root="./", newest=self.views.rows_of(newest)),
            "tree": self.render("tree.html", root="./", tree=self.tree, depth=2, heading="Techniques"),
        }

    def tree_marks(self) -> dict[str, str]:
        """What fills the mark of /techniques/."""
        return {"tree": self.render("tree.html", root="../", tree=self.tree, depth=9, heading=None)}

    def ledger_marks(self) -> dict[str, str]:
        """What fills the marks of /ledger/: every claim, those with a verdict first, and the rules of verdicts."""
        csv_href, json_href = LEDGER_HREF, "api/v1/ledger.json"
        links = {"csv_href": csv_href, "json_href": json_href, "repo_url": self.settings.repo_url}
        areas = {row.area: AREAS[row.area].title for row in self.ledger.rows}
        return {
            "ledger": self.render("ledger.html", root="../", ledger=self.ledger, areas=areas, **links),
            "rules": self.render("rules.html", rules=RULES),
        }

    def coverage_marks(self) -> dict[str, str]:
        """What fills the mark of /coverage/: what is missing."""
        return {"coverage": self.render("coverage.html", root="../", gaps=self.gaps, json_href="api/v1/coverage.json")}

    def measure_marks(self) -> dict[str, str]:
        """What fills the mark of /measure/: what spreading over a cluster costs, where it is recorded."""
        record = load_record(self.settings.root)
        return {"speed": self.render("cluster_speed.html", r=record)}

    def corrections_marks(self) -> dict[str, str]:
        """What fills the mark of /corrections/: every correction of an entry, newest first."""
        found = [(fix, self.views.rows[entry.key]) for entry in self.derived.newest for fix in entry.paper.corrections]
        found.sort(key=lambda item: item[0].date, reverse=True)
        checked = sum(entry.paper.checked is not None for entry in self.derived.newest)
        counts = {"checked": checked, "total": len(self.derived.newest)}
        return {"corrections": self.render("corrections.html", root="../", corrections=found, **counts)}


def cells(values: Iterable[object]) -> Markup:
    """Plain values as cells of a table, escaped together: one by one, those of all tables take a tenth of a build."""
    text = str(escape(_BETWEEN.join(map(str, values))))
    return Markup(f"<td>{text.replace(_BETWEEN, '</td><td>')}</td>")  # noqa: S704 escaped above


def code_spans(text: str) -> Markup:
    """A docstring's text with what stands in backquotes as code; everything else is escaped."""
    return Markup(re.sub(r"`([^`\n]+)`", r"<code>\1</code>", str(escape(text))))  # noqa: S704 escaped before


def link_papers(html: str, root: str) -> str:
    """Turn the `paper:KEY` links of technique prose into links to the papers' pages."""
    return _PAPER_LINK.sub(lambda match: f'href="{root}{paper_href(match.group(1))}"', html)


def _year_link(year: int | None) -> tuple[str, str] | None:
    return (str(year), f"years/{year}/") if year else None
