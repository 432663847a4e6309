"""From pydantic's complaints to sentences that say where, what was expected, and what to do."""

import difflib
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from scripts.catalogue.problems import Problem
from scripts.catalogue.yaml_text import Path, Spot

_KINDS = {
    str: "text",
    int: "a whole number",
    float: "a number",
    list: "a list",
    dict: "a mapping",
    type(None): "nothing",
}


def problems_of(
    error: ValidationError, model: type[BaseModel], file: str, spots: Mapping[Path, Spot]
) -> Iterator[Problem]:
    """Every complaint about one file, at the line of the field (or of the mapping that lacks it)."""
    for item in error.errors(include_url=False):
        path = item["loc"]
        if item["type"] != "extra_forbidden":  # an unknown field may have any name
            path = tuple(part for part in path if not isinstance(part, str) or _is_field(part))
        name = ".".join(str(part)[:60] for part in path)
        message, hint = _sentence(item, path, model, spots.get(path))
        spot = _nearest(path, spots)
        yield Problem(file, spot.line, spot.column, name, message, hint)


def _is_field(part: str) -> bool:
    # pydantic adds the branch of a union to the location ("int", "function-before[…]"); none of our fields is so named
    return part not in ("int", "float", "str") and "[" not in part


def _nearest(path: Path, spots: Mapping[Path, Spot]) -> Spot:
    while path and path not in spots:
        path = path[:-1]
    return spots.get(path, Spot(1, 1))


def _sentence(item: Any, path: Path, model: type[BaseModel], spot: Spot | None) -> tuple[str, str]:
    kind, value, context = item["type"], item["input"], item.get("ctx", {})
    if kind == "missing":
        return "is required", f"add `{path[-1]}: …`"
    if kind == "extra_forbidden":
        fields = sorted(_fields_at(model, path[:-1]))
        return "unknown field", _closest(str(path[-1]), fields, "allowed here")
    if kind == "literal_error":
        words = [word.strip().strip("'") for word in context["expected"].replace(" or ", ", ").split(", ")]
        return f"expected one of {', '.join(words)}, got {_shown(value, spot)}", _closest(
            str(value), words, "choose one"
        )
    if kind == "value_error":
        reason = context["error"]
        message, _, hint = str(reason.args[0]).partition("; ")
        if len(reason.args) > 1:
            return message, _closest(str(value), list(reason.args[1]), "known")
        return message, hint
    if kind in (
        "string_type",
        "list_type",
        "model_type",
        "model_attributes_type",
        "dict_type",
        "int_type",
        "bool_type",
    ):
        expected = {"string": "text", "list": "a list", "int": "a whole number", "bool": "true or false"}
        wanted = expected.get(kind.partition("_")[0], "a mapping")
        return f"expected {wanted}, got {_shown(value, spot)}", _repair(kind, value, wanted)
    if kind == "json_invalid":
        return f"not valid JSON: {context['error']}", "restore the file; the bench writes it, nobody by hand"
    if kind == "too_short":
        return "is empty", "name at least one"
    return f"{item['msg'].lower()}, got {_shown(value, spot)}", "see CONTRIBUTING.md"


def _repair(kind: str, value: Any, wanted: str) -> str:
    if kind == "string_type" and value is not None and not isinstance(value, list | dict):
        return "put it in quotes"
    if kind == "int_type" and isinstance(value, str) and value.isdecimal():
        return "take the quotes away"
    if kind == "list_type" and isinstance(value, str):
        return f"write [{value[:60]}]"
    return "write `field: value` lines" if wanted == "a mapping" else f"write {wanted} here"


def _shown(value: Any, spot: Spot | None) -> str:
    if isinstance(value, str):
        return f'"{value[:60]}"'
    if isinstance(value, bool):
        return str(value).lower()
    raw = spot.raw if spot and spot.raw is not None else None
    kind = _KINDS.get(type(value), "a date")
    return f"{kind}, {raw[:60]}" if raw else kind


def _closest(word: str, words: list[str], otherwise: str) -> str:
    close = difflib.get_close_matches(word.casefold(), {known.casefold(): known for known in words}, n=3, cutoff=0.65)
    by_fold = {known.casefold(): known for known in words}
    if close:
        return "did you mean " + " or ".join(by_fold[name] for name in close) + "?"
    listed = ", ".join(words)
    return f"{otherwise}: {listed}" if len(listed) < 400 else "see scripts/catalogue/ for the words allowed"


def _fields_at(model: type[BaseModel], path: Path) -> list[str]:
    """The fields of the (nested) model that a path leads to."""
    current: Any = model
    for part in path:
        if isinstance(part, str):
            current = current.model_fields[part].annotation
        while not (isinstance(current, type) and issubclass(current, BaseModel)):
            models = [arg for arg in getattr(current, "__args__", ()) if arg is not type(None)]
            if not models:
                return []
            current = models[0]
    return list(current.model_fields)
