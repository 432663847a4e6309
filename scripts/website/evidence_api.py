"""Every recorded measurement with what follows from it, for programs and the Compare page: /api/v1/evidence.json."""

import json
from typing import Any

from scripts.catalogue.model import Run
from scripts.catalogue.vocabulary import METRICS
from scripts.website.compare import Comparison
from scripts.website.plots.draw import machine_facts
from scripts.website.plots.points import QUALITY_METRICS, Point, subject
from scripts.website.plots.quality import Index, index_of

API_HREF = "api/v1/evidence.json"
SCHEMA_HREF = "api/v1/evidence.schema.json"
SIZE_METRICS = ("bits_per_weight", "weight_bytes", "kv_bytes", "peak_memory")


def evidence_files(comparison: Comparison) -> dict[str, str]:
    """The interface: path from the site's root -> text."""
    families, settings = comparison.families, comparison.settings
    sizes = {file: index_of(found) for file, found in families.points.items()}
    head: dict[str, Any] = {
        "schema": settings.site_url + SCHEMA_HREF,
        "licence": "CC-BY-4.0",
        "generated_at": settings.generated_at,
        "commit": settings.commit,
        "count": len(comparison.points),
        "runs": [_run_item(file, families.runs[file], comparison.record_url(file)) for file in families.points],
        "evidence": [_item(comparison, point, sizes[point.file]) for point in comparison.points],
    }
    return {API_HREF: _text(head), SCHEMA_HREF: _text(_schema())}


def _item(comparison: Comparison, point: Point, index: Index) -> dict[str, Any]:
    one, metric = point.one, METRICS[point.one.metric]
    found = ((name, index.get((point.prefix, one.implementation, name))) for name in SIZE_METRICS)
    sizes = {name: _short(size.value) for name, size in found if size}
    interval = _pair((point.factor.lo, point.factor.hi)) if point.factor else None
    return {
        "run": point.file,
        "case": one.case,
        "subject": subject(one),
        "implementation": one.implementation,
        "module": point.module,
        "role": one.role,
        "effect": one.effect,
        "metric": one.metric,
        "unit": metric.unit,
        "better": one.better,
        "workload": one.workload,
        "median": _short(point.value),
        "interval": _pair(point.spread),
        "interval_is": point.spread_is,
        "n": len(one.samples),
        "converged": one.converged,
        "stop_reason": one.stop_reason,
        "baseline": point.baseline.implementation,
        "factor": _short(point.factor.value) if point.factor else None,
        "factor_interval": interval,
        "settled": point.is_settled,
        "no_difference_seen": point.is_tied,
        "limit": {"value": _short(one.limit.value), "formula": one.limit.formula} if one.limit else None,
        "limit_share": None if point.share is None else _short(point.share),
        "quality": {"metric": one.quality.metric, "value": _short(one.quality.value)} if one.quality else None,
        "sizes": sizes if one.metric in QUALITY_METRICS else {},
        "energy_j": one.energy_j,
        "note": one.note,
        "papers": comparison.papers(point),
        "page": comparison.technique_href(point),
    }


def _short(value: float) -> float:
    return float(f"{value:.6g}")


def _pair(ends: tuple[float, float] | None) -> list[float] | None:
    return [_short(end) for end in ends] if ends else None


def _run_item(file: str, run: Run, record: str) -> dict[str, Any]:
    return {
        "file": file,
        "suite": run.suite,
        "machine": run.machine.name,
        "facts": machine_facts(run),
        "date": run.started.date().isoformat(),
        "code_commit": run.code.commit,
        "dirty": run.code.dirty,
        "command": run.command,
        "record": record,
    }


def _schema() -> dict[str, Any]:
    text, number, flag = {"type": "string"}, {"type": "number"}, {"type": "boolean"}
    maybe_text, maybe_number = {"type": ["string", "null"]}, {"type": ["number", "null"]}
    pair = {"type": ["array", "null"], "items": number, "minItems": 2, "maxItems": 2}
    run = {
        **dict.fromkeys(("file", "suite", "machine", "facts", "date", "code_commit", "command", "record"), text),
        "dirty": flag,
    }
    item = {
        **dict.fromkeys(("run", "case", "subject", "implementation", "effect", "metric", "unit", "baseline"), text),
        **dict.fromkeys(("interval_is", "stop_reason"), text),
        **dict.fromkeys(("module", "note", "page"), maybe_text),
        "role": {"enum": ["method", "baseline", "peer"]},
        "better": {"enum": ["higher", "lower", "neither"]},
        "workload": {"type": "object"},
        "median": number,
        "interval": pair,
        "n": {"type": "integer", "minimum": 1},
        **dict.fromkeys(("converged", "settled", "no_difference_seen"), flag),
        **dict.fromkeys(("factor", "limit_share", "energy_j"), maybe_number),
        "factor_interval": pair,
        "limit": _maybe({"value": number, "formula": text}),
        "quality": _maybe({"metric": text, "value": number}),
        "sizes": {"type": "object", "additionalProperties": number},
        "papers": {"type": "array", "items": text},
    }
    head = {
        "schema": text,
        "licence": text,
        "generated_at": {"type": "string", "format": "date-time"},
        "commit": maybe_text,
        "count": {"type": "integer"},
        "runs": {"type": "array", "items": _closed(run)},
        "evidence": {"type": "array", "items": _closed(item)},
    }
    dialect = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "FrugalFM evidence"}
    return dialect | _closed(head)


def _closed(properties: dict[str, Any]) -> dict[str, Any]:
    """An object with exactly these properties."""
    return {
        "type": "object",
        "required": sorted(properties),
        "properties": properties,
        "additionalProperties": False,
    }


def _maybe(properties: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [_closed(properties), {"type": "null"}]}


def _text(data: dict[str, Any]) -> str:
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")) + "\n"
