"""What a stamped page tells machines in its <head>: description, address, citation tags, JSON-LD."""

import json
from typing import Any

from markupsafe import Markup, escape

from scripts.bibliography import export
from scripts.catalogue.addresses import paper_href
from scripts.catalogue.load import Entry
from scripts.catalogue.venues import VENUES
from scripts.website.settings import Settings
from scripts.website.social import SOCIAL_HREF
from scripts.website.views import PaperView

NAMED = 30
"""Authors in the JSON-LD, which some papers with hundreds would fill; the citation tags name all of them."""

_JSON = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


def page_head(settings: Settings, href: str, title: str, description: str) -> Markup:
    """Description, canonical address and preview tags of any stamped page."""
    return Markup("".join(_page_tags(settings, href, title, description)))  # noqa: S704 every value is escaped


def paper_head(settings: Settings, entry: Entry, view: PaperView) -> Markup:
    """The same, with what citation managers and search engines read of a paper."""
    names = ", ".join(view.authors[:3]) + (" and others" if len(view.authors) > 3 or view.authors_cut else "")
    what = view.summary[0] if view.summary else f"{view.techniques[0].title}; facts, techniques, citation"
    description = (
        f"{names + ', ' if names else ''}{view.venue or 'preprint'} {view.published_year or view.year}. {what}"
    )
    tags = [
        *_page_tags(settings, paper_href(view.key), view.title, _cut(description, 200)),
        *(_meta(name, value) for name, value in _citation(entry, view)),
        _format("application/x-bibtex", f"{view.key}.bib"),
        _format("application/x-research-info-systems", f"{view.key}.ris"),
        _format("application/vnd.citationstyles.csl+json", f"{view.key}.json"),
        _json_ld(_article(settings, entry, view)),
    ]
    return Markup("".join(tags))  # noqa: S704 every value is escaped


# The tags are plain text until the page's last step: making thousands of Markup objects took most of the time.
def _page_tags(settings: Settings, href: str, title: str, description: str) -> list[str]:
    url = escape(settings.site_url + href)
    title, description = escape(title), escape(description)
    return [
        f'<meta name="description" content="{description}">',
        f'<link rel="canonical" href="{url}">',
        f'<meta property="og:title" content="{title}"><meta property="og:description" content="{description}">',
        f'<meta property="og:url" content="{url}"><meta property="og:type" content="article">',
        f'<meta property="og:image" content="{escape(settings.site_url + SOCIAL_HREF)}">',
    ]


def _meta(name: str, value: str) -> str:
    return f'<meta name="{name}" content="{escape(value)}">'


def _format(kind: str, href: str) -> str:
    # Not rel="alternate", which Material's script takes for a translation of the site and seeks a sitemap beside.
    return f'<link rel="describedby" type="{kind}" href="{escape(href)}">'


def _citation(entry: Entry, view: PaperView) -> list[tuple[str, str]]:
    """Highwire Press tags, which Google Scholar and Zotero read."""
    paper = entry.paper
    kind = VENUES[paper.venue].kind if paper.venue else ""
    place = {"journal": "citation_journal_title"}.get(kind, "citation_conference_title")
    tags = [("citation_title", export.title_of(paper)), *(("citation_author", name) for name in _scholar_names(entry))]
    tags.append(("citation_publication_date", str(export.year_of(paper))))
    if view.venue_name:
        tags.append((place, view.venue_name))
    if view.doi:
        tags.append(("citation_doi", view.doi))
    if view.arxiv:
        tags.append(("citation_arxiv_id", view.arxiv))
        tags.append(("citation_pdf_url", f"https://arxiv.org/pdf/{view.arxiv}"))
    return tags


def _scholar_names(entry: Entry) -> list[str]:
    return [f"{author.family}, {author.given}" if author.given else author.family for author in entry.paper.authors]


def _article(settings: Settings, entry: Entry, view: PaperView) -> dict[str, Any]:
    paper = entry.paper
    item = {
        "@context": "https://schema.org",
        "@type": "SoftwareSourceCode" if paper.kind == "software" else "ScholarlyArticle",
        "@id": settings.site_url + paper_href(view.key),
        "name": view.title,
        "headline": _cut(view.title, 110),
        "author": [
            {"@type": "Person" if a.given else "Organization", "name": n}
            for a, n in zip(paper.authors[:NAMED], view.authors[:NAMED], strict=True)
        ],
        "datePublished": str(export.year_of(paper)),
        "isPartOf": {"@type": "Periodical", "name": view.venue_name} if view.venue_name else None,
        "identifier": [
            name
            for name in (f"doi:{view.doi}" if view.doi else "", f"arXiv:{view.arxiv}" if view.arxiv else "")
            if name
        ],
        "sameAs": export.address_of(paper),
        "about": [technique.title for technique in view.techniques],
    }
    return {name: value for name, value in item.items() if value}


def _json_ld(item: dict[str, Any]) -> str:
    # Inside <script> only "</" and "<!--" could end the data early; escaping every < and > rules both out.
    safe = _JSON.encode(item).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    return f'<script type="application/ld+json">{safe}</script>'


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1].rsplit(" ", 1)[0] + "…"


def title_tag(title: str) -> Markup:
    """The text of <title>."""
    return escape(f"{_cut(title, 120)} · FrugalFM")
