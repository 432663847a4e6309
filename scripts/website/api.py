"""The catalogue for programs: /api/v1/*.json with their schemas, and BibTeX files."""

import json
from typing import Any

from scripts.bibliography import export
from scripts.catalogue.addresses import paper_href, technique_href
from scripts.catalogue.load import Entry
from scripts.catalogue.model import Claim, Paper, Technique, as_number
from scripts.catalogue.vocabulary import METRICS
from scripts.website.coverage import Gap, coverage_items
from scripts.website.derive import Derived, effective_saves
from scripts.website.ledger import COLUMNS, Ledger, ledger_items
from scripts.website.settings import Settings
from scripts.website.verdicts import KINDS
from scripts.website.views import Views, claim_view

VERSION = "v1"
_CSL = json.JSONEncoder(ensure_ascii=False)


def api_files(derived: Derived, views: Views, settings: Settings, ledger: Ledger, gaps: list[Gap]) -> dict[str, str]:
    """Every file of the interface: path from the site's root -> text."""
    lists: dict[str, tuple[list[dict[str, Any]], dict[str, Any]]] = {
        "papers": ([_paper(entry, derived, settings) for entry in derived.newest], _paper_schema()),
        "techniques": ([_technique(slug, views, settings) for slug in derived.catalogue.pages], _technique_schema()),
        "claims": ([_claim(e, claim, views) for e in derived.newest for claim in e.paper.claims], _claim_schema()),
        "ledger": (ledger_items(ledger), _ledger_schema()),
        "coverage": (coverage_items(gaps), _coverage_schema()),
    }
    files = {}
    for name, (items, schema) in lists.items():
        head = {
            "schema": f"{settings.site_url}api/{VERSION}/{name}.schema.json",
            "licence": "CC-BY-4.0",
            "generated_at": settings.generated_at,
            "commit": settings.commit,
            "count": len(items),
            name: items,
        }
        files[f"api/{VERSION}/{name}.json"] = _text(head)
        files[f"api/{VERSION}/{name}.schema.json"] = _text(_envelope(name, schema))
    return files


def bib_files(views: Views) -> dict[str, str]:
    """/papers.bib with everything, and one file for each technique with what is filed there or below."""
    derived = views.derived
    files = {"papers.bib": views.bibliography(derived.newest)}
    for slug, entries in derived.below.items():
        files[f"{technique_href(slug)}papers.bib"] = views.bibliography(entries)
    return files


def paper_files(entry: Entry, views: Views) -> dict[str, str]:
    """The three citation formats beside a paper's page."""
    base = f"{paper_href(entry.key)}{entry.key}"
    return {
        f"{base}.bib": views.bibtex[entry.key],
        f"{base}.ris": export.ris(entry.key, entry.paper),
        f"{base}.json": _CSL.encode([export.csl(entry.key, entry.paper)]),
    }


def _paper(entry: Entry, derived: Derived, settings: Settings) -> dict[str, Any]:
    stored = entry.paper.model_dump(mode="json", exclude_defaults=True, exclude={"claims"})
    saves, _ = effective_saves(entry, derived.catalogue.pages)
    ids = [f"{entry.key}#{claim.id}" for claim in entry.paper.claims]
    own = {"key": entry.key, "page": settings.site_url + paper_href(entry.key), "file": entry.file}
    return own | stored | {"effective_saves": saves} | ({"claim_ids": ids} if ids else {})


def _technique(slug: str, views: Views, settings: Settings) -> dict[str, Any]:
    page, view = views.pages[slug], views.technique(slug)
    stored = page.technique.model_dump(mode="json", exclude_defaults=True)
    own = {"slug": slug, "page": settings.site_url + view.href, "file": page.file}
    children = [child.slug for child in view.children]
    return own | stored | {"papers": view.count, "papers_below": view.count_below, "children": children}


def _claim(entry: Entry, claim: Claim, views: Views) -> dict[str, Any]:
    metric, view = METRICS[claim.metric], claim_view(claim, views.verdict(claim), entry)
    stored = claim.model_dump(mode="json", exclude_defaults=True)
    numbers = {"value": as_number(claim.value)} | ({"to": as_number(claim.to)} if claim.to is not None else {})
    facts = {"unit": metric.unit, "better": metric.better, "shown": view.value}
    state = {"verdict": view.verdict, "reason": view.reason, "compared_by_a_person": view.is_compared}
    own = {"id": f"{entry.key}#{claim.id}", "paper": entry.key}
    return own | {k: v for k, v in stored.items() if k != "id"} | numbers | facts | state


def _paper_schema() -> dict[str, Any]:
    schema = Paper.model_json_schema()
    schema["properties"].pop("claims")
    text, words = {"type": "string"}, {"type": "array", "items": {"type": "string"}}
    schema["properties"] |= {"key": text, "page": text, "file": text, "effective_saves": words, "claim_ids": words}
    return schema


def _technique_schema() -> dict[str, Any]:
    schema = Technique.model_json_schema()
    text, number = {"type": "string"}, {"type": "integer"}
    schema["properties"] |= {"slug": text, "page": text, "file": text, "papers": number, "papers_below": number}
    schema["properties"]["children"] = {"type": "array", "items": text}
    return schema


def _claim_schema() -> dict[str, Any]:
    schema = Claim.model_json_schema()
    text, number = {"type": "string"}, {"type": "number"}
    schema["properties"] |= dict.fromkeys(("paper", "unit", "better", "shown", "verdict", "reason", "id"), text)
    schema["properties"] |= {"value": number, "to": number, "compared_by_a_person": {"type": "boolean"}}
    return schema


def _ledger_schema() -> dict[str, Any]:
    text, number, boolean = ({"type": [kind, "null"]} for kind in ("string", "number", "boolean"))
    kinds: dict[str, Any] = dict.fromkeys(("value", "measured", "lo", "hi", "n"), number)
    kinds |= dict.fromkeys(("converged", "compared_by_a_person"), boolean)
    kinds |= {"verdict": {"enum": [*KINDS]}, "machine_verdict": {"enum": [*KINDS, None]}}
    return _closed({name: kinds.get(name, text) for name in COLUMNS})


def _coverage_schema() -> dict[str, Any]:
    text, line = {"type": "string"}, {"type": ["string", "null"]}
    lines = _closed({"what": text, "page": line, "remark": text})
    properties = {"id": text, "title": text, "remedy": text, "count": {"type": "integer"}}
    return _closed(properties | {"lines": {"type": "array", "items": lines}})


def _closed(properties: dict[str, Any]) -> dict[str, Any]:
    """An object with exactly these properties."""
    return {"type": "object", "properties": properties, "required": [*properties], "additionalProperties": False}


def _envelope(name: str, item: dict[str, Any]) -> dict[str, Any]:
    definitions = item.pop("$defs", {})
    text = {"type": "string"}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"FrugalFM {name}",
        "type": "object",
        "required": ["generated_at", "count", name],
        "properties": {
            "schema": text,
            "licence": text,
            "generated_at": {"type": "string", "format": "date-time"},
            "commit": {"type": ["string", "null"]},
            "count": {"type": "integer"},
            name: {"type": "array", "items": item},
        },
        "additionalProperties": False,
        "$defs": definitions,
    }


def _text(data: dict[str, Any]) -> str:
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")) + "\n"
