"""The pages that records make: every paper, year and venue, and what technique and home pages show of the catalogue."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from scripts.catalogue.load import Entry
from scripts.catalogue.venues import VENUES
from scripts.website.evidence import run_views
from scripts.website.figures import FigureView
from scripts.website.head import page_head, paper_head, title_tag
from scripts.website.implementations import implementations
from scripts.website.settings import Settings
from scripts.website.stamp import Shell
from scripts.website.views import TechniqueView, Views, paper_href, technique_href, venue_href

SHELL_MARKS = frozenset({"title", "head", "body"})
ROOT = "../../"
"""The way from a stamped page back to the site's root: all of them lie two folders deep, as the shell does."""

_PAPER_LINK = re.compile(r'href="paper:([^"]*)"')


class Pages:
    """Renders templates of site/templates with the views of one catalogue."""

    def __init__(self, views: Views, tree: list[TechniqueView], settings: Settings) -> None:
        self.views, self.tree, self.settings = views, tree, settings
        self.derived = views.derived
        folder = FileSystemLoader(settings.root / "site" / "templates")
        self.jinja = Environment(
            loader=folder, autoescape=True, undefined=StrictUndefined, trim_blocks=True, auto_reload=False
        )

    def render(self, name: str, **context: Any) -> str:
        """One template of site/templates, rendered."""
        return self.jinja.get_template(name).render(context)

    def papers(self, shell: Shell) -> Iterator[tuple[str, str]]:
        """Every paper's page made from the shell: (path from the site's root, HTML)."""
        template = self.jinja.get_template("paper.html")
        for entry in self.derived.newest:
            view = self.views.paper(entry)
            body = template.render(root=ROOT, p=view)
            head = paper_head(self.settings, entry, view)
            yield paper_href(entry.key), shell.fill({"title": title_tag(view.title), "head": head, "body": body})

    def lists(self, shell: Shell) -> Iterator[tuple[str, str]]:
        """The pages of years and venues, likewise."""
        for href, title, lead, context in self._lists():
            body = self.render("listing.html", root=ROOT, title=title, lead=lead, **context)
            head = page_head(self.settings, href, title, lead)
            yield href, shell.fill({"title": title_tag(title), "head": head, "body": body})

    def marks(self, figures: list[FigureView], newest: list[Entry]) -> dict[str, dict[str, str]]:
        """What fills the rendered pages that people wrote: path from the site's root -> marks."""
        techniques = {technique_href(slug): self.technique_marks(slug) for slug in self.views.pages}
        return techniques | self.overviews() | {"": self.home_marks(figures, newest), "techniques/": self.tree_marks()}

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
            "papers/": self._overview("papers/", "Papers", "Ways into the catalogue, beside the search.", ways),
            "years/": self._overview("years/", "Years", "Papers by first public version.", [(None, years)]),
            "venues/": self._overview("venues/", "Venues", "Papers by venue of the version of record.", kinds.items()),
        }

    def _overview(self, href: str, title: str, lead: str, groups: Iterable[Any]) -> dict[str, str]:
        body = self.render("overview.html", root="../", title=title, lead=lead, groups=list(groups))
        return {"title": title_tag(title), "head": page_head(self.settings, href, title, lead), "body": body}

    def _lists(self) -> Iterator[tuple[str, str, str, dict[str, Any]]]:
        years = self._by_year()
        for at, (year, entries) in enumerate(years):
            newer, older = years[at - 1][0] if at else None, years[at + 1][0] if at + 1 < len(years) else None
            around = {"previous": _year_link(older), "next": _year_link(newer)}
            context: dict[str, Any] = {"papers": self.views.rows_of(entries), "bib_href": f"years/{year}/papers.bib"}
            yield f"years/{year}/", f"Papers of {year}", f"First public in {year}, newest first.", context | around
        for venue, entries in self._by_venue():
            context = {"papers": self.views.rows_of(entries)}
            context |= {"bib_href": f"{venue_href(venue)}papers.bib"}
            context |= {"previous": None, "next": None}
            yield venue_href(venue), venue, f"{VENUES[venue].name}, newest first.", context

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
        papers = self.views.rows_of(self.derived.below[slug])
        family = self.views.pages[slug].technique.family
        root_folder, repo_url = self.settings.root, self.settings.repo_url
        found = implementations(root_folder, family, repo_url) if family else []
        runs = run_views(self.derived.catalogue.runs, family) if family else []
        evidence = {"implementations": found, "runs": runs, "repo_url": repo_url}
        return {
            "before": self.render("technique_before.html", root=root, t=view),
            "after": self.render("technique_after.html", root=root, t=view, papers=papers, **evidence),
        }

    def home_marks(self, figures: list[FigureView], newest: list[Entry]) -> dict[str, str]:
        """What fills the marks of the home page."""
        entries = self.derived.newest
        numbers = {
            "n_papers": len(entries),
            "n_reviewed": sum(entry.paper.level == "reviewed" for entry in entries),
            "n_techniques": len(self.views.pages),
            "n_claims": sum(len(entry.paper.claims) for entry in entries),
            "n_tested": 0,
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


def link_papers(html: str, root: str) -> str:
    """Turn the `paper:KEY` links of technique prose into links to the papers' pages."""
    return _PAPER_LINK.sub(lambda match: f'href="{root}{paper_href(match.group(1))}"', html)


def _year_link(year: int | None) -> tuple[str, str] | None:
    return (str(year), f"years/{year}/") if year else None
