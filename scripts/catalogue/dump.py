"""Write a paper as its YAML file: the model's order of fields, one author a line, long prose folded.

`read(dump(paper))` gives the same paper back; tests prove it on generated papers.
"""

import json
import re
import textwrap
from datetime import date
from typing import Any

from scripts.catalogue.model import Paper

SCHEMA_LINE = "# yaml-language-server: $schema=../schema.json\n"
_WIDTH = 110
_PLAIN = re.compile(r"[A-Za-z][\w .()'/+*=;–—-]*[\w.)'*]|[A-Za-z]")
_PLAIN_URL = re.compile(r"https?://[\w./%~?=&+@:-]*[\w/]|10\.\d{4,9}/[\w./()-]*[\w)]")
# Words that YAML 1.1 readers (editors, other tools) take for booleans or nulls.
_TAKEN = {"y", "n", "yes", "no", "on", "off", "true", "false", "null"}


def dump(paper: Paper) -> str:
    """The text of entries/<year>/<key>.yaml."""
    fields = paper.model_dump(exclude_defaults=True)
    return SCHEMA_LINE + "".join(dump_field(name, value) for name, value in fields.items())


def dump_field(name: str, value: Any, indent: int = 0) -> str:
    """The lines of one field."""
    margin = " " * indent
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return f"{margin}{name}:\n" + "".join(_item(item, indent + 2) for item in value)
    if isinstance(value, list) and sum(len(_scalar(item)) + 2 for item in value) > _WIDTH - 20:
        return f"{margin}{name}:\n" + "".join(f"{margin}  - {_scalar(item)}\n" for item in value)
    if isinstance(value, list):
        return f"{margin}{name}: [{', '.join(_inside(item) for item in value)}]\n"
    if isinstance(value, dict):
        flow = f"{margin}{name}: {_flow(value)}\n"
        if len(flow) <= _WIDTH:
            return flow
        return f"{margin}{name}:\n" + "".join(dump_field(key, item, indent + 2) for key, item in value.items())
    if isinstance(value, str) and ("\n" in value or len(value) > _WIDTH) and _foldable(value):
        return f"{margin}{name}: >-\n{_folded(value, indent + 2)}\n"
    return f"{margin}{name}: {_scalar(value)}\n"


def _item(item: dict[str, Any], indent: int) -> str:
    margin = " " * indent
    flow = f"{margin}- {_flow(item)}\n"
    if set(item) <= {"family", "given"} or (len(flow) <= _WIDTH and len(item) <= 3):
        return flow
    lines = "".join(dump_field(name, value, indent + 2) for name, value in item.items())
    return f"{margin}- {lines.lstrip()}"


def _flow(mapping: dict[str, Any]) -> str:
    return "{" + ", ".join(f"{name}: {_inside(value)}" for name, value in mapping.items()) + "}"


def _inside(value: Any) -> str:
    """A scalar within brackets, where a `?` begins a key for readers that are not built on libyaml."""
    text = _scalar(value)
    return json.dumps(text, ensure_ascii=False) if "?" in text and text[0] != '"' else text


def _scalar(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, date):
        return value.isoformat()
    if not isinstance(value, str):
        return repr(value)
    plain = _PLAIN_URL if ":" in value or value[:1].isdigit() else _PLAIN
    if plain.fullmatch(value) and "  " not in value and value.casefold() not in _TAKEN:
        return value
    return json.dumps(value, ensure_ascii=False)


def _foldable(text: str) -> bool:
    """Whether folding gives the same text back: no line starts with a blank, no run of blanks."""
    return not re.search(r"  |\n | \n|^ | $|\t", text)


def _folded(text: str, indent: int) -> str:
    margin = " " * indent
    parts = re.split(r"(\n+)", text)
    wrap = textwrap.TextWrapper(_WIDTH - indent, break_long_words=False, break_on_hyphens=False)
    # In a folded scalar a run of n line breaks is written as n + 1.
    folded = "".join(part + "\n" if part[:1] == "\n" else wrap.fill(part) for part in parts)
    return "\n".join(margin + line if line else "" for line in folded.split("\n"))
