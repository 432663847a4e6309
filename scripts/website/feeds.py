"""What readers' programs and crawlers look for: Atom feed, sitemap, robots.txt, llms.txt."""

from collections.abc import Iterable
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from scripts.bibliography.names import printed
from scripts.catalogue.addresses import paper_href
from scripts.catalogue.load import Entry
from scripts.website.derive import Derived, age_key
from scripts.website.settings import Settings
from scripts.website.views import TechniqueView

FEED_LENGTH = 50


def newest_added(derived: Derived, settings: Settings) -> list[Entry]:
    """Entries by the day they were added here; where that is equal or unknown, by the paper's own age."""
    return sorted(derived.newest, key=lambda entry: (settings.added.get(entry.file, ""), age_key(entry)), reverse=True)


def atom(derived: Derived, settings: Settings) -> str:
    """The newest additions as an Atom feed."""
    feed = Element("feed", xmlns="http://www.w3.org/2005/Atom")
    SubElement(feed, "title").text = "FrugalFM: new papers"
    SubElement(feed, "subtitle").text = "Resource-efficient foundation models, as added to the catalogue"
    SubElement(feed, "id").text = settings.site_url
    SubElement(feed, "link", href=settings.site_url + "feed.xml", rel="self")
    SubElement(feed, "link", href=settings.site_url)
    entries = newest_added(derived, settings)[:FEED_LENGTH]
    dates = [settings.added.get(entry.file, settings.generated_at) for entry in entries]
    SubElement(feed, "updated").text = max(dates, default=settings.generated_at)
    for entry, added in zip(entries, dates, strict=True):
        item = SubElement(feed, "entry")
        url = settings.site_url + paper_href(entry.key)
        SubElement(item, "title").text = entry.paper.title
        SubElement(item, "id").text = url
        SubElement(item, "link", href=url)
        SubElement(item, "updated").text = added
        for author in entry.paper.authors or ():
            SubElement(SubElement(item, "author"), "name").text = printed(author)
        if not entry.paper.authors:  # Atom wants an author
            SubElement(SubElement(item, "author"), "name").text = "not recorded"
        facts = f"{entry.paper.venue or 'Preprint'}, {entry.paper.year}"
        SubElement(item, "summary").text = entry.paper.summary or facts
        SubElement(item, "category", term=entry.paper.techniques[0])
    return _xml(feed)


def sitemap(hrefs: Iterable[str], settings: Settings) -> str:
    """Every page, for crawlers."""
    urls = Element("urlset", xmlns="http://www.sitemaps.org/schemas/sitemap/0.9")
    for href in hrefs:
        SubElement(SubElement(urls, "url"), "loc").text = settings.site_url + href
    return _xml(urls)


def robots(settings: Settings) -> str:
    """Everything may be read."""
    return f"User-agent: *\nAllow: /\nSitemap: {settings.site_url}sitemap.xml\n"


def llms(tree: list[TechniqueView], derived: Derived, settings: Settings) -> str:
    """A map of the site for language models, as llmstxt.org describes it."""
    url = settings.site_url
    lines = [
        "# FrugalFM",
        "",
        "> A knowledge base of resource-efficient foundation models: papers as data, techniques as pages, claims typed",
        f"> so that measurements can stand beside them. {len(derived.newest):,} papers; built {settings.generated_at}.",
        "",
        "Figures in claims are what the sources assert, not what was measured here, unless a verdict says otherwise.",
        "",
        "## Data",
        "",
        f"- [Papers]({url}api/v1/papers.json): every record as JSON ([schema]({url}api/v1/papers.schema.json))",
        f"- [Techniques]({url}api/v1/techniques.json): the taxonomy with what each technique saves and costs",
        f"- [Claims]({url}api/v1/claims.json): typed claims with their verdicts",
        f"- [Ledger]({url}api/v1/ledger.json): claims beside what was measured here ([page]({url}ledger/))",
        f"- [Coverage]({url}api/v1/coverage.json): what is missing, as a work list ([page]({url}coverage/))",
        f"- [BibTeX]({url}papers.bib): the whole bibliography",
    ]
    for area in tree:
        lines += ["", f"## {area.title}", ""]
        lines += [f"- [{node.title}]({url}{node.href}): {node.summary}" for node in area.flat()]
    return "\n".join(lines) + "\n"


def _xml(element: Element) -> str:
    indent(element)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + tostring(element, encoding="unicode") + "\n"
