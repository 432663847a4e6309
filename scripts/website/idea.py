"""Idea figures: the drawing beside a technique's page, put into the page so that it takes the page's colours."""

import re
from collections.abc import Mapping
from html import escape
from posixpath import dirname

from scripts.catalogue.drawing import Drawing, Element, images
from scripts.catalogue.load import Page


def with_figures(page: Page, drawings: Mapping[str, Drawing]) -> str:
    """The page's Markdown with each `![caption](name.svg)` line replaced by its figure."""
    lines = page.body.split("\n")
    for image in images(page.body):
        drawing = drawings[f"{dirname(page.file)}/{image.name}"]
        lines[image.line] = f"\n{figure(drawing, image.name.removesuffix('.svg'), image.caption)}\n"
    return "\n".join(lines)


def figure(drawing: Drawing, name: str, caption: str) -> str:
    """One figure as HTML on a single line; ids begin with the drawing's name, so that they are the page's own."""
    prefix = f"idea-{name}-"
    words = {item.name: item for item in drawing.root.content if isinstance(item, Element)}
    spoken = "".join(
        f'<{part} id="{prefix}{part}">{escape(words[part].words(), quote=False)}</{part}>' for part in ("title", "desc")
    )
    inner = "".join(_serialized(item, prefix) for item in drawing.root.content if _is_drawn(item))
    labels = f'role="img" aria-labelledby="{prefix}title {prefix}desc"'
    box, kind = drawing.root.attributes["viewBox"], drawing.root.attributes.get("class")
    classes = f' class="{kind}"' if kind else ""
    svg = f'<svg viewBox="{box}"{classes} {labels} data-pagefind-ignore>{spoken}{inner}</svg>'
    shown = re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(caption, quote=False))
    # On a phone the drawing is wider than the screen and scrolls, which the keyboard must reach.
    area = f'<section class="idea__area" aria-label="{escape(words["title"].words())}" tabindex="0">{svg}</section>'
    return f'<figure class="idea" id="{prefix[:-1]}">{area}<figcaption>{shown}</figcaption></figure>'


def _is_drawn(item: Element | str) -> bool:
    return isinstance(item, Element) and item.name not in ("title", "desc")


def _serialized(item: Element | str, prefix: str) -> str:
    if isinstance(item, str):
        return escape(re.sub(r"\s+", " ", item), quote=False)
    given = "".join(f' {name}="{escape(_own(name, value, prefix))}"' for name, value in item.attributes.items())
    inner = "".join(_serialized(part, prefix) for part in item.content)
    return f"<{item.name}{given}>{inner}</{item.name}>" if inner else f"<{item.name}{given}/>"


def _own(name: str, value: str, prefix: str) -> str:
    """The value, with ids made the figure's own."""
    if name == "id":
        return prefix + value
    if name.startswith("marker-"):
        return value.replace("#", f"#{prefix}")
    return re.sub(r"\s+", " ", value)
