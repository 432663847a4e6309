"""Drawings beside technique pages: what may stand in one, and what a hostile or careless one is told."""

import re
from pathlib import Path

import pytest

from scripts.catalogue.check import check
from scripts.catalogue.drawing import CLASSES, ELEMENTS, SIZE_LIMIT, images, read_drawing
from scripts.website.idea import figure, with_figures
from tests.builders import REPOSITORY, checkout, complaints, page

HEAD = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 640 200">
<title>A title</title>
<desc>What is shown</desc>
"""
GOOD = (
    HEAD
    + """<defs><marker id="arrow" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" orient="auto">
<path class="ink" d="M0 0L10 5L0 10z"/></marker></defs>
<g transform="translate(10 20)"><line class="ink" x1="0" y1="0" x2="50.5" y2="-3" marker-end="url(#arrow)"/></g>
<rect class="c1 s2" x="1" y="2" width="30" height="4" rx="2" fill-opacity=".2"/>
<text class="muted" x="4" y="5" font-size="14">a &lt; b <tspan class="c3" font-weight="700">x</tspan></text>
</svg>
"""
)


def told(body: str, head: str = HEAD) -> str:
    """What the reader of one drawing says."""
    drawing, problems = read_drawing("techniques/a.svg", f"{head}{body}</svg>".encode())
    assert (drawing is None) == bool(problems)
    return "\n".join(map(str, problems))


def test_a_plain_drawing_passes_whole() -> None:
    drawing, problems = read_drawing("techniques/a.svg", GOOD.encode())
    assert problems == []
    assert drawing
    assert {element.name for element in drawing.root.elements()} >= {"marker", "line", "rect", "tspan"}


HOSTILE = {
    "script": ("<script>alert(1)</script>", "<script> is not allowed"),
    "script in a foreign namespace": ('<h:script xmlns:h="http://www.w3.org/1999/xhtml">x</h:script>', "<h:script> is"),
    "style sheet": ("<style>*{background:url(http://a.example/)}</style>", "<style> is not allowed"),
    "style attribute": ('<rect style="fill:red"/>', "the attribute style is not allowed on <rect>; colour by class"),
    "event handler": ('<rect onload="alert(1)"/>', "the attribute onload is not allowed"),
    "event handler in capitals": ('<rect ONCLICK="alert(1)"/>', "the attribute ONCLICK is not allowed"),
    "link": ('<a href="javascript:alert(1)"><text>x</text></a>', "<a> is not allowed"),
    "use of another file": ('<use href="http://a.example/x.svg#a"/>', "<use> is not allowed"),
    "xlink": ('<path xlink:href="#a" d="M0 0"/>', "the attribute xlink:href is not allowed"),
    "picture": ('<image href="http://a.example/x.png"/>', "<image> is not allowed"),
    "HTML": ("<foreignObject><iframe/></foreignObject>", "<foreignObject> is not allowed"),
    "animation": ('<animate attributeName="href" to="javascript:alert(1)"/>', "<animate> is not allowed"),
    "setting": ('<set attributeName="onmouseover" to="alert(1)"/>', "<set> is not allowed"),
    "address in a marker": ('<line marker-end="url(http://a.example/#m)"/>', "expected url(#the-id-of-a-marker)"),
    "address in a fill": ('<rect fill="url(http://a.example/)"/>', 'fill="none" alone is allowed'),
    "colour of its own": ('<rect fill="#ff0000"/>', "colour by class"),
    "unknown class": ('<rect class="c7"/>', 'unknown class "c7"; known: c1'),
    "class of the site": ('<rect class="md-header"/>', "class"),
    "words in a path": ("<path>words</path>", "words stand inside <path>"),
    "markup in the words": ("<text>&lt;script&gt;</text>", "the text holds markup"),
    "hidden characters": ("<text>a\u202eb</text>", "invisible character U+202E"),
    "endless nesting": ("<g>" * 25 + "</g>" * 25, "nested more than 20 deep"),
    "wrong place": ('<defs><rect width="1"/></defs>', "<rect> stands inside <defs>; <defs> holds marker"),
    "unit": ('<rect width="10px"/>', "expected a number without unit"),
    "far too wide a number": ('<rect width="1234567890"/>', "expected a number without unit"),
    "unreadable type": ('<text font-size="9">x</text>', "12 to 28"),
    "expression in a path": ('<path d="M0 0;alert(1)"/>', "expected plain coordinates"),
    "an id twice": ('<rect id="a"/><rect id="a"/>', 'the id "a" is given twice'),
    "a marker that is none": ('<rect id="a"/><line marker-end="url(#a)"/>', "which is no <marker> here; define it"),
    "a second title": ("<title>Other</title>", "needs one <title> with words"),
    "no end": ("<g>", "is no XML: mismatched tag"),
}


@pytest.mark.parametrize(("body", "message"), HOSTILE.values(), ids=HOSTILE)
def test_what_is_not_allowed_is_named(body: str, message: str) -> None:
    found = told(body)
    assert message in found
    assert re.match(r"techniques/a\.svg:[1-4]:\d+: ", found)
    assert "; " in found.splitlines()[0]  # each says what to do


HEADS = {
    "entities": ('<!DOCTYPE svg [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>' + HEAD, "holds a document type; delete"),
    "an outside file": ('<!DOCTYPE svg SYSTEM "file:///etc/passwd">' + HEAD, "holds a document type; delete"),
    "a style sheet": ('<?xml-stylesheet href="http://a.example/x.css"?>' + HEAD, "holds a processing instruction"),
    "no view box": (HEAD.replace(' viewBox="0 0 640 200"', ""), "lacks viewBox"),
    "a view box of another width": (HEAD.replace("640", "100"), 'expected "0 0 640 HEIGHT"'),
    "no namespace": (HEAD.replace(' xmlns="http://www.w3.org/2000/svg"', ""), "lacks xmlns"),
    "another namespace": (HEAD.replace("2000/svg", "1999/xhtml"), "expected http://www.w3.org/2000/svg"),
    "a size of its own": (HEAD.replace("<svg ", '<svg width="640" '), "the attribute width is not allowed on <svg>"),
    "no title": (HEAD.replace("<title>A title</title>", ""), "needs one <title> with words as element 1"),
    "an empty title": (HEAD.replace("A title", " "), "needs one <title> with words"),
    "no description": (HEAD.replace("<desc>What is shown</desc>", ""), "needs one <desc> with words as element 2"),
    "another root": ("<html>", "the element <html> is not allowed"),
}


@pytest.mark.parametrize(("head", "message"), HEADS.values(), ids=HEADS)
def test_what_a_drawing_begins_with(head: str, message: str) -> None:
    assert message in told("", head)


def test_entities_are_not_expanded() -> None:
    laughs = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 9))
    head = f'<!DOCTYPE svg [<!ENTITY l0 "ha">{laughs}]>{HEAD}'
    assert told("<text>&l8;</text>", head).count("\n") == 0


def test_what_is_no_text_or_too_large_is_refused() -> None:
    assert read_drawing("a.svg", GOOD.encode("utf-16"))[0] is None
    assert read_drawing("a.svg", b"")[0] is None
    declared = '<?xml version="1.0" encoding="utf-7"?>' + GOOD
    assert read_drawing("a.svg", declared.encode())[0] is not None  # read as UTF-8, whatever it says
    drawing, problems = read_drawing("a.svg", (HEAD + "<g/>" * SIZE_LIMIT + "</svg>").encode())
    assert drawing is None
    assert "bytes long; 20,000 at most" in str(problems[0])


def test_every_problem_is_told_in_one_run() -> None:
    found = told('<rect fill="red"/><script/><text class="bold">x</text>').splitlines()
    assert len(found) == 3


def test_the_style_sheet_knows_every_class() -> None:
    css = (REPOSITORY / "site/assets/evidence.css").read_text("utf-8")
    rules = "\n".join(line for line in css.splitlines() if ".idea" in line)
    assert {name for name in CLASSES if f".{name}" not in rules} == set()


def test_images_are_found_outside_code_only() -> None:
    body = "![one `x]` y](a.svg)\n\n`![two](b.svg)`\n\n```text\n![three](c.svg)\n```\ntext ![four](d.svg)\n![five][e]\n"
    found = [(one.caption, one.name, one.line, one.is_alone) for one in images(body)]
    assert found == [("one `x]` y", "a.svg", 0, True), ("four", "d.svg", 7, False), ("five", "", 8, True)]


SHOWN = "![A caption with `code`](idea.svg)"


def with_page(root: Path, *lines: str) -> Path:
    """A checkout of one area with a drawing, whose page has these lines."""
    files = {"techniques/systems/index.md": page("\n\n".join(lines)), "techniques/systems/idea.svg": GOOD}
    return checkout(root, files)


def test_a_page_with_its_drawing_passes(tmp_path: Path) -> None:
    assert complaints(with_page(tmp_path, SHOWN)) == []


WRONG = {
    "missing": (["![c](other.svg)", "![c](idea.svg)"], "there is no file techniques/systems/other.svg; draw it"),
    "shown twice": (["![c](idea.svg)", "![c](idea.svg)"], "techniques/systems/idea.svg is shown twice"),
    "in a sentence": (["See ![c](idea.svg)."], "stands among other words; give it a line of its own"),
    "indented": (["- x\n\n    ![c](idea.svg)"], "stands among other words"),
    "without caption": (["![](idea.svg)"], "the caption is empty"),
    "markup in the caption": (["![a <b>](idea.svg)"], "the caption holds markup"),
    "elsewhere": (["![c](idea.svg)", "![c](../../etc/idea.svg)"], "is no drawing beside the page"),
    "on another site": (["![c](idea.svg)", "![c](https://a.example/x.svg)"], "is no drawing beside the page"),
    "by reference": (["![c](idea.svg)", "![c][x]", "[x]: https://a.example/x.svg"], "is no drawing beside the page"),
    "unused": ([], "techniques/systems/idea.svg:1:1: is shown on no page; write ![caption](idea.svg)"),
}


@pytest.mark.parametrize(("lines", "message"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_with_an_image(tmp_path: Path, lines: list[str], message: str) -> None:
    found = complaints(with_page(tmp_path, *lines))
    assert any(message in one for one in found), found


def test_other_files_and_links_among_the_pages_are_reported(tmp_path: Path) -> None:
    root = with_page(tmp_path, SHOWN)
    (root / "techniques/systems/photo.png").write_bytes(b"\x89PNG")
    (root / "techniques/systems/link.svg").symlink_to("/etc/passwd")
    found = "\n".join(complaints(root))
    assert "photo.png:1:1: is not read: only names ending in .md or .svg are" in found
    assert "link.svg:1:1: is a symbolic link" in found


def test_the_figure_is_accessible_and_its_ids_are_its_own(tmp_path: Path) -> None:
    catalogue, _ = check(with_page(tmp_path, SHOWN), use_cache=False)
    drawings = {file: drawing for file, drawing in catalogue.drawings.items() if drawing}
    html = with_figures(catalogue.pages["systems"], drawings)
    assert 'role="img" aria-labelledby="idea-idea-title idea-idea-desc"' in html
    assert '<title id="idea-idea-title">A title</title><desc id="idea-idea-desc">What is shown</desc>' in html
    assert '<marker id="idea-idea-arrow"' in html
    assert 'marker-end="url(#idea-idea-arrow)"' in html
    assert "<figcaption>A caption with <code>code</code></figcaption>" in html
    assert "a &lt; b <tspan" in html
    assert "\n\n<figure" in html
    assert len(re.findall(r'id="([^"]+)"', html)) == len(set(re.findall(r'id="([^"]+)"', html)))


def test_a_caption_is_text() -> None:
    drawing, _ = read_drawing("a.svg", GOOD.encode())
    assert drawing
    assert '<figcaption>5 &lt; 6 &amp; "7"</figcaption>' in figure(drawing, "a", '5 < 6 & "7"')


def test_the_documentation_names_every_class_and_element() -> None:
    text = (REPOSITORY / "site/README.md").read_text("utf-8")
    assert {name for name in ELEMENTS if f"`{name}`" not in text} == set()
    assert {
        name for name in ("ink", "muted", "faint", "paper", "c1", "c6", "s1", "s6") if f"`{name}`" not in text
    } == set()
