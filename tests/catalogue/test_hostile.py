"""What strangers may send: every hostile or malformed file is refused with its place and a way out, or does nothing.

Each case gives the file and every problem as printed; one that begins with a colon is about `WORK`. In `entry` the
title stands in line 2, the year in 3, the techniques in 4, the level in 5, whatever is added in 6.
"""

# ruff: noqa: E501 - one case a line

import json
import os
import shutil
from datetime import date

import pytest
from typer.testing import CliRunner

from scripts.catalogue.check import check
from scripts.catalogue.problems import Problem
from scripts.commands import app
from tests.builders import WORK, checkout, complaints, entry, page

LAST = date.today().year + 1
P = "techniques/systems/a.md"
R = "results/box/suite.json"


def claims(**changes: str | None) -> str:
    fields: dict[str, str | None] = {
        "id": "faster", "says": "It is faster", "metric": "latency", "form": "ratio", "value": "2",
        "against": "plain", "where": "table 1", "seen": "source",
    }  # fmt: skip
    told = ", ".join(f"{name}: {value}" for name, value in (fields | changes).items() if value is not None)
    return f"[{{{told}}}]"


# fmt: off
ENTRIES: list[tuple[str, str | bytes, list[str]]] = [
    ('an anchor', entry(title="&a Paging"), [':2:8: uses an anchor or alias (& or *); write the value out, or put it in quotes']),
    ('an alias', entry(title="*a"), [':2:8: uses an anchor or alias (& or *); write the value out, or put it in quotes']),
    ('a billion laughs', "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n", [':1:4: uses an anchor or alias (& or *); write the value out, or put it in quotes']),
    ('a merge key', entry(note="{<<: {a: 1}}"), [':6:7: note: expected text, got a mapping; write text here']),
    ('deep flow nesting', entry(note="[" * 5000), [':6:15: nests deeper than 8 levels; no field needs that']),
    ('deep block nesting', entry(note="".join(f"\n{' ' * depth}a:" for depth in range(1, 60))), [':14:9: nests deeper than 8 levels; no field needs that']),
    ('a megabyte', entry(note="x" * 2**20), [':1:1: the file has 1,048,708 bytes; 262,144 at most; shorten it']),
    ('a long line', entry(note="x" * 501), [':6:7: note: is 501 characters long; 500 at most']),
    ('a long summary', entry(summary="x" * 4001), [':6:10: summary: is 4,001 characters long; 4,000 at most']),
    ('too many values', entry(sources="[" + "a," * 25_000 + "a]"), [':6:39987: holds more than 20,000 values; no entry needs that']),
    ('a long key', entry(**{"k" * 900: "1"}), [':6:903: kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk: unknown field; allowed here: also_titled, authors, authors_cut, checked, claims, code, corrections, distinct_from, kind, level, note, preprint, published, saves, sources, summary, techniques, title, url, year']),
    ('a python tag', entry(title="!!python/object/apply:os.system [id]"), [':2:8: uses the tag tag:yaml.org,2002:python/object/apply:os; write the plain value']),
    ('a tag of our own', entry(title="!env HOME"), [':2:8: uses the tag !env; write the plain value']),
    ('two documents', entry() + "---\ntitle: another\n", [':6:1: holds a second document; delete the line `---` and what follows']),
    ('a key twice', entry() + "year: 2023\n", [':6:1: the key "year" stands twice in one mapping; keep one of the two']),
    ('a nested key twice', entry(preprint='{arxiv: "2401.00001", arxiv: "2401.00002"}'), [':6:33: the key "arxiv" stands twice in one mapping; keep one of the two']),
    ('a list as key', entry() + "? [a]\n: b\n", [':6:3: uses a collection as a key; write a plain word before the colon']),
    ('an empty file', "", [':1:1: expected a mapping, got nothing; write `field: value` lines']),
    ('comments only', "# nothing\n", [':1:1: expected a mapping, got nothing; write `field: value` lines']),
    ('a list at the top', "- title: Paging\n", [':1:1: expected a mapping, got a list; write `field: value` lines']),
    ('text at the top', "Paging weights to flash\n", [':1:1: expected a mapping, got "Paging weights to flash"; write `field: value` lines']),
    ('tabs', "title:\n\t- Paging\n", [':2:1: not valid YAML: while scanning for the next token found character that cannot start any token; check indentation (blanks, no tabs), quotes and the space after each colon']),
    ('an open quote', entry(title='"Paging'), [':2:8: not valid YAML: while scanning a quoted scalar found unexpected end of stream; check indentation (blanks, no tabs), quotes and the space after each colon']),
    ('a colon in plain text', entry(title="Paging: weights to flash"), [':2:14: not valid YAML: mapping values are not allowed in this context; put text that holds a colon in quotes']),
    ('invalid UTF-8', entry().encode().replace(b"flash", b"fl\xe9sh"), [':2:28: byte 0xe9 is not UTF-8; save the file as UTF-8']),
    ('UTF-16', entry().encode("utf-16"), [':1:1: byte 0xff is not UTF-8; save the file as UTF-8']),
    ('NUL', entry(title="Pa\0ging"), [':2:10: holds the control character U+0000; delete it']),
    ('NUL, escaped', entry(title=r'"Pa\0ging"'), [':2:8: title: holds the invisible character U+0000 (unnamed); delete it']),
    ('an escape sequence of terminals', entry(title=r'"\e[2J"', level=r'"\e[2J"'), [':2:8: title: holds the invisible character U+001B (unnamed); delete it', ':5:8: level: expected one of listed, reviewed, got "\\x1b[2J"; choose one: listed, reviewed']),
    ('a C1 control', entry(title="Pa\x9bging"), [':2:10: holds the control character U+009B; delete it']),
    ('bidirectional controls', entry(title="Pa\u202eging"), [':2:8: title: holds the invisible character U+202E (right-to-left override); delete it']),
    ('a zero-width blank', entry(title="Pa\u200bging"), [':2:8: title: holds the invisible character U+200B (zero width space); delete it']),
    ('tag characters', entry(title="Paging\U000e0041"), [':2:8: title: holds the invisible character U+E0041 (tag latin capital letter a); delete it']),
    ('a noncharacter, escaped', entry(title=r'"Pa\uffffging"'), [':2:8: title: holds the invisible character U+FFFF (unnamed); delete it']),
    ('a lone surrogate, escaped', entry(title=r'"Pa\ud800ging"'), [':2:13: not valid YAML: while parsing a quoted scalar found invalid Unicode character escape code; check indentation (blanks, no tabs), quotes and the space after each colon']),
    ('a line break and a log command in a key', entry(**{r'"a\n::error::owned"': "1"}), [':6:22: a\\n::error::owned: unknown field; allowed here: also_titled, authors, authors_cut, checked, claims, code, corrections, distinct_from, kind, level, note, preprint, published, saves, sources, summary, techniques, title, url, year']),
    ('an unknown field', entry(tecniques="[systems]"), [':6:12: tecniques: unknown field; did you mean techniques?']),
    ('an unknown field named like a type', entry(int="1"), [':6:6: int: unknown field; allowed here: also_titled, authors, authors_cut, checked, claims, code, corrections, distinct_from, kind, level, note, preprint, published, saves, sources, summary, techniques, title, url, year']),
    ('an unknown field with brackets', entry(**{"a[b]": "1"}), [':6:7: a[b]: unknown field; allowed here: also_titled, authors, authors_cut, checked, claims, code, corrections, distinct_from, kind, level, note, preprint, published, saves, sources, summary, techniques, title, url, year']),
    ('a missing title', entry(title=None), [':2:1: title: is required; add `title: …`']),
    ('an empty title', entry(title="''"), [':2:8: title: is empty; write it, or leave the field out']),
    ('a blank title', entry(title='"  "'), [':2:8: title: is empty; write it, or leave the field out']),
    ('no title after the colon', entry(title=""), [':2:7: title: expected text, got nothing; write text here']),
    ('a number as title', entry(title="1984"), [':2:8: title: expected text, got a whole number, 1984; put it in quotes']),
    ('a date as title', entry(title="2024-01-01"), [':2:8: title: expected text, got a date, 2024-01-01; put it in quotes']),
    ('a boolean as title', entry(title="true"), [':2:8: title: expected text, got true; put it in quotes']),
    ('a list as title', entry(title="[a, b]"), [':2:8: title: expected text, got a list; write text here']),
    ('a title over two lines', entry(title=r'"Paging\nweights"'), [':2:8: title: holds a line break; write it on one line, or fold it with `>-`']),
    ('text as techniques', entry(techniques="systems"), [':4:13: techniques: expected a list, got "systems"; write [systems]']),
    ('no techniques', entry(techniques="[]"), [':4:13: techniques: is empty; name at least one']),
    ('a letter in the year', entry(year="2O24"), [':3:7: year: expected a whole number, got "2O24"; write a whole number here']),
    ('a quoted year', entry(year="'2024'"), [':3:7: year: expected a whole number, got "2024"; take the quotes away']),
    ('a medieval year', entry(year="1066"), [f':3:7: year: expected an integer from 1950 to {LAST}, got 1066; write the year with four digits']),
    ('a fractional year', entry(year="2024.5"), [':3:7: year: expected a whole number, got a number, 2024.5; write a whole number here']),
    ('a huge year', entry(year="9" * 30), [f':3:7: year: expected an integer from 1950 to {LAST}, got 999999999999999999999999999999; write the year with four digits']),
    ('an unquoted arXiv id', entry(preprint="{arxiv: 2401.10}"), [':6:19: preprint.arxiv: expected text, got a number, 2401.10; put it in quotes']),
    ('an arXiv id with version', entry(preprint="{arxiv: 2401.08092v2}"), [':6:19: preprint.arxiv: expected an id such as "2401.08092", got "2401.08092v2"; four digits, a dot, four or five more']),
    ('an arXiv id with month 13', entry(preprint='{arxiv: "2413.08092"}'), [':6:19: preprint.arxiv: expected an id such as "2401.08092", got "2413.08092"; four digits, a dot, four or five more']),
    ('an arXiv id in wide digits', entry(preprint='{arxiv: "２４01.08092"}'), [':6:19: preprint.arxiv: expected an id such as "2401.08092", got "２４01.08092"; four digits, a dot, four or five more']),
    ('a preprint as text', entry(preprint="2401.08092v1"), [':6:11: preprint: expected a mapping, got "2401.08092v1"; write `field: value` lines']),
    ('a DOI as address', entry(published="{doi: https://doi.org/10.1145/3624743}"), [':6:18: published.doi: expected a bare DOI such as 10.1145/3624743, got "https://doi.org/10.1145/3624743"; leave out https://doi.org/']),
    ("arXiv's own DOI", entry(published="{doi: 10.48550/arXiv.2401.08092}"), [":6:18: published.doi: this DOI is arXiv's own; give the id under preprint.arxiv and leave the DOI out"]),
    ('a publication that says nothing', entry(published="{year: 2024}"), [':6:12: published: says neither venue, doi nor url; leave `published` out for a preprint']),
    ('an unknown venue', entry(published="{venue: NeurlPS}"), [':6:20: published.venue: unknown venue "NeurlPS"; did you mean NeurIPS?']),
    ('an unknown level', entry(level="reviewd"), [':5:8: level: expected one of listed, reviewed, got "reviewd"; did you mean reviewed?']),
    ('a boolean for text', entry(note="true"), [':6:7: note: expected text, got true; put it in quotes']),
    ('text for a boolean', entry(authors_cut="yes"), [':6:14: authors_cut: expected true or false, got "yes"; write true or false here']),
    ('cut authors without authors', entry(authors_cut="true"), [':2:1: `authors_cut` says that names are missing from a list that is not there; leave it out']),
    ('an author as text', entry(authors="[Elias Frantar]"), [':6:11: authors.0: expected a mapping, got "Elias Frantar"; write `field: value` lines']),
    ('an author without family name', entry(authors="[{given: Elias}]"), [':6:11: authors.0.family: is required; add `family: …`']),
    ('a wrong date', entry(checked="2024-02-30"), [':6:10: checked: expected a date such as 2026-11-22, got "2024-02-30"; year-month-day']),
    ('reviewed without summary', entry(level="reviewed"), [':2:1: a reviewed entry needs `summary`; write two or three sentences of your own, or set level: listed']),
    ('a resource that is none', entry(saves="[memmory]"), [':6:9: saves.0: expected one of bandwidth, communication, compute, data, energy, latency, memory, money, storage, got "memmory"; did you mean memory?']),
    ('a javascript link', entry(url="'javascript:alert(1)'"), [':6:6: url: expected an http(s) link, got "javascript:alert(1)"; write https://…']),
    ('a data link', entry(url="'data:text/html,x'"), [':6:6: url: expected an http(s) link, got "data:text/html,x"; write https://…']),
    ('a file link', entry(code="file:///etc/passwd"), [':6:7: code: expected an http(s) link, got "file:///etc/passwd"; write https://…']),
    ('a link without scheme', entry(url="//example.org/x"), [':6:6: url: expected an http(s) link, got "//example.org/x"; write https://…']),
    ('credentials in a link', entry(url="https://user:secret@example.org/"), [':6:6: url: expected a link to a named host without credentials, got "https://user:secret@example.org/"; write https://host/path']),
    ('a blank in a link', entry(url="https://example.org/a b"), [':6:6: url: holds a blank, quote, bracket or hidden character, or is too long; percent-encode it']),
    ('a quote in a link', entry(url="'https://example.org/\"onload=x'"), [':6:6: url: holds a blank, quote, bracket or hidden character, or is too long; percent-encode it']),
    ('a numeric host', entry(url="http://127.0.0.1/"), [':6:6: url: expected a link to a named host without credentials, got "http://127.0.0.1/"; write https://host/path']),
    ('a bracketed host', entry(url="'http://[::1]/'"), [':6:6: url: expected a link to a named host without credentials, got "http://[::1]/"; write https://host/path']),
    ('a local host', entry(url="http://localhost:8000/"), [':6:6: url: expected a link to a named host without credentials, got "http://localhost:8000/"; write https://host/path']),
    ('port zero', entry(url="https://example.org:0/"), [':6:6: url: expected a link to a named host without credentials, got "https://example.org:0/"; write https://host/path']),
    ('a host that lacks a bracket', entry(url="'http://[::1/'"), [':6:6: url: is no address: Invalid IPv6 URL, in "http://[::1/"; write https://…']),
    ('a script in the title', entry(title='"<script>alert(1)</script>"'), [':2:8: title: holds markup, "<script>aler"; write plain text, a space after "<"']),
    ('a closing tag in an author', entry(authors='[{family: "</li>x"}]'), [':6:20: authors.0.family: holds markup, "</li>x"; write plain text, a space after "<"']),
    ('a comment in a former title', entry(also_titled='["<!-- x"]'), [':6:15: also_titled.0: holds markup, "<!-- x"; write plain text, a space after "<"']),
    ('a template in the summary', entry(summary="'{{ config }}'"), [':6:10: summary: holds markup, "{{ config }}"; write plain text, a space after "<"']),
    ('a template statement in a note', entry(note="'{% include x %}'"), [':6:7: note: holds markup, "{% include x"; write plain text, a space after "<"']),
    ('a template literal in a source', entry(sources="['${x}']"), [':6:11: sources.0: holds markup, "${x}"; write plain text, a space after "<"']),
    ('an entity in a correction', entry(corrections="[{date: 2024-01-01, what: '&lt;b'}]"), [':6:40: corrections.0.what: holds markup, "&lt;b"; write plain text, a space after "<"']),
    ('a template in a publication', entry(published="{venue: ICML, title: '{# x'}"), [':6:33: published.title: holds markup, "{# x"; write plain text, a space after "<"']),
    ('a path out of techniques', entry(techniques="[../../etc/passwd]"), [':4:14: techniques.0: expected the path of a page under techniques/, without .md, got "../../etc/passwd"; see CONTRIBUTING.md']),
    ('an absolute path', entry(techniques="[/etc/passwd]"), [':4:14: techniques.0: expected the path of a page under techniques/, without .md, got "/etc/passwd"; see CONTRIBUTING.md']),
    ('a backslash path', entry(techniques="[systems\\..\\x]"), [':4:14: techniques.0: expected the path of a page under techniques/, without .md, got "systems\\..\\x"; see CONTRIBUTING.md']),
    ('a technique that does not exist', entry(techniques="[system]"), [':4:14: techniques.0: there is no page techniques/system.md; did you mean systems?']),
    ('a technique twice', entry(techniques="[systems, systems]"), [':4:23: techniques.1: "systems" is named twice; keep one']),
    ('a path in distinct_from', entry(distinct_from="[../x]"), [':6:17: distinct_from.0: expected lower-case words of a-z and 0-9 joined by hyphens, 2 to 60 characters, got "../x"; see CONTRIBUTING.md']),
    ('a dangling distinct_from', entry(distinct_from="[other]"), [':6:17: distinct_from.0: there is no entry "other"; give the key of an entry']),
    ('an unknown metric', entry(claims=claims(metric="latencies")), [':6:51: claims.0.metric: unknown metric "latencies"; did you mean latency?']),
    ('a value with its unit', entry(claims=claims(value="2x")), [':6:80: claims.0.value: expected a number, or 1/number for a ratio below one, got "2x"; no unit, no "x"']),
    ('NaN', entry(claims=claims(value=".nan")), [':6:80: claims.0.value: expected a number, or 1/number for a ratio below one, got ".nan"; no unit, no "x"']),
    ('infinity', entry(claims=claims(value="1e999")), [':6:80: claims.0.value: expected a finite number; leave the claim out if the source gives no figure']),
    ('a boolean value', entry(claims=claims(value="true")), [':6:80: claims.0.value: expected a number, not a word, list or mapping; the unit follows from the metric']),
    ('a ratio of zero', entry(claims=claims(value="0")), [':6:10: claims.0: a ratio is above zero; method / baseline']),
    ('a ratio without baseline', entry(claims=claims(against=None)), [':6:10: claims.0: a ratio needs `against`: the baseline it is relative to']),
    ('a fraction that is no ratio', entry(claims=claims(form="absolute", value="1/5")), [':6:10: claims.0: only a ratio may be written 1/number; set `form: ratio` or write a plain number']),
    ('two claims of one id', entry(claims=claims()[:-1] + ", " + claims()[1:]), [':2:1: claim ids must differ, faster is used twice; rename one']),
    ('a dangling disagrees_with', entry(claims=claims(disagrees_with="[slower]")), [':2:1: claim faster: disagrees_with names slower; name other claims of this entry']),
    ('a claim that disagrees with itself', entry(claims=claims(disagrees_with="[faster]")), [':2:1: claim faster: disagrees_with names faster; name other claims of this entry']),
    ('an unknown field in a claim', entry(claims=claims(aganst="x")), [':6:137: claims.0.aganst: unknown field; did you mean against?']),
    ('a folder of another year', entry(year="2023"), [':3:7: year: is 2023, but the file stands in entries/2024/; move it to entries/2023/work.yaml']),
    ('an arXiv id of another year', entry(preprint='{arxiv: "2301.00001"}'), [':3:7: year: is 2024, but arXiv:2301.00001 is of 2023; the first public version counts: 2023']),
    ('a publication before the preprint', entry(preprint='{arxiv: "2401.00001"}', published="{venue: ICML, year: 2015}"), [':3:7: year: is 2024, but it was published in 2015; the first public version counts: 2015', ':6:19: preprint.arxiv: arXiv:2401.00001 is of 2024, but it was published in 2015; one of the two is wrong, or the id belongs to another paper']),
]

TREES: list[tuple[str, dict[str, str | bytes], list[str]]] = [
    ('one arXiv id twice', {WORK: entry(preprint='{arxiv: "2401.00001"}'), "entries/2024/other.yaml": entry(title="Quite another", preprint='{arxiv: "2401.00001"}')}, [':6:19: preprint.arxiv: 2401.00001 stands also in entries/2024/other.yaml; the same work twice: keep one entry, or correct the id']),
    ('one DOI twice, in another case', {WORK: entry(published="{doi: 10.1145/ABC}"), "entries/2024/other.yaml": entry(title="Quite another", published="{doi: 10.1145/abc}")}, [':6:18: published.doi: 10.1145/abc stands also in entries/2024/other.yaml; the same work twice: keep one entry, or correct the id']),
    ('nearly one title twice', {WORK: entry(), "entries/2024/other.yaml": entry(title="Paging Weights to Flash!")}, [':2:8: title: is nearly that of entries/2024/other.yaml, "Paging Weights to Flash!"; the same work twice: keep one entry; else add `distinct_from: [other]`']),
    ('one key in two years', {WORK: entry(), "entries/2023/work.yaml": entry(year="2023", title="Quite another")}, [':1:1: the key "work" is taken by entries/2023/work.yaml; rename one of the files; keys are permanent addresses']),
    ('a key of capitals and blanks', {"entries/2024/My Paper.yaml": entry()}, ['entries/2024/My Paper.yaml:1:1: the file name "My Paper" is no key; use lower-case words joined by hyphens, 2 to 60 of a-z, 0-9 and -; the name is the page\'s address']),
    ('a key that begins with dots', {"entries/2024/..yaml": entry()}, ['entries/2024/..yaml:1:1: the file name "." is no key; use lower-case words joined by hyphens, 2 to 60 of a-z, 0-9 and -; the name is the page\'s address']),
    ('another ending', {"entries/2024/work.yml": entry()}, ['entries/2024/work.yml:1:1: is not read: only names ending in .yaml are; rename it to end in .yaml']),
    ('a page without front matter', {P: "A page.\n"}, ['techniques/systems/a.md:1:1: has no front matter; begin the file with `---`, the fields, and another line `---`']),
    ('a page whose front matter is open', {P: "---\ntitle: A\n"}, ['techniques/systems/a.md:1:1: has no front matter; begin the file with `---`, the fields, and another line `---`']),
    ('a page with an unknown field', {P: page(savings="[memory]")}, ['techniques/systems/a.md:9:10: savings: unknown field; did you mean saves?']),
    ('a page with a broken field', {P: page().replace("order: 1", "order: first")}, ['techniques/systems/a.md:4:8: order: expected a whole number, got "first"; write a whole number here']),
    ('a page with a script', {P: page("A <script>alert(1)</script>.")}, ['techniques/systems/a.md:11:3: holds HTML; write Markdown; a `<` or `{` as a sign goes in backquotes, closed on the same line']),
    ('a page that hides HTML in backquotes', {P: page("`a``<img src=x onerror=alert(1)>`")}, ['techniques/systems/a.md:11:5: holds HTML; write Markdown; a `<` or `{` as a sign goes in backquotes, closed on the same line']),
    ('a page with HTML between two backquotes', {P: page("a `\n\n<b>x</b>\n\n` b")}, ['techniques/systems/a.md:13:1: holds HTML; write Markdown; a `<` or `{` as a sign goes in backquotes, closed on the same line']),
    ('a page with an event in an attribute list', {P: page('[x](index.md){ onclick="alert(1)" }')}, ['techniques/systems/a.md:11:14: holds an attribute list; write Markdown; a `<` or `{` as a sign goes in backquotes, closed on the same line']),
    ('a page with a javascript link', {P: page("[x](javascript:alert(1))")}, ['techniques/systems/a.md:11:3: link: expected an http(s) link, got "javascript:alert(1"; write https://…']),
    ('a page with a javascript reference', {P: page("[x][a]\n\n[a]: javascript:alert(1)")}, ['techniques/systems/a.md:13:1: link: expected an http(s) link, got "javascript:alert(1)"; write https://…']),
    ('a page that is too short', {P: page(words=20)}, ['techniques/systems/a.md:1:1: has 20 words of text; 80 at least; say what it is, saves, costs, is limited by']),
    ('a page with a dangling paper', {P: page("See [x](paper:nothing).")}, ['techniques/systems/a.md:11:7: the link paper:nothing leads to no entry; use the name of a file under entries/, without .yaml']),
    ('a page with a dangling page', {P: page("See [x](../nothing.md).")}, ['techniques/systems/a.md:11:7: the link "../nothing.md" leads to no page; give the path of an .md file, from the folder of this one']),
    ('a page out of the tree', {P: page("See [x](../../../etc/passwd).")}, ['techniques/systems/a.md:11:7: the link "../../../etc/passwd" leads to no page; give the path of an .md file, from the folder of this one']),
    ('a page without parent', {"techniques/systems/a/b.md": page()}, ['techniques/systems/a/b.md:1:1: its parent techniques/systems/a/index.md is missing; write the parent first']),
    ('a page of no area', {"techniques/sistems.md": page()}, ['techniques/sistems.md:1:1: "sistems" is no area; add it to AREAS in scripts/catalogue/vocabulary.py']),
    ('a page with a name of capitals', {"techniques/systems/My Page.md": page()}, ['techniques/systems/My Page.md:1:1: the path "systems/My Page" is no address; use lower-case words of a-z and 0-9 joined by hyphens; the path is the page\'s address']),
    ('two pages of one path', {"techniques/systems.md": page()}, ['techniques/systems.md:1:1: the key "systems" is taken by techniques/systems/index.md; rename one of the files; keys are permanent addresses']),
    ('a page that is not UTF-8', {P: page().encode() + b"\xff"}, ['techniques/systems/a.md:14:1: byte 0xff is not UTF-8; save the file as UTF-8']),
    ('a result that is not JSON', {R: "{not json"}, ['results/box/suite.json:1:1: not valid JSON: key must be a string at line 1 column 2; restore the file; the bench writes it, nobody by hand']),
    ('a result that is a list', {R: "[]"}, ['results/box/suite.json:1:1: expected a mapping, got a list; write `field: value` lines']),
    ('a result of deep nesting', {R: "[" * 100_000}, ['results/box/suite.json:1:1: not valid JSON: recursion limit exceeded at line 1 column 202; restore the file; the bench writes it, nobody by hand']),
]
# fmt: on

INERT: list[tuple[str, str | bytes, str]] = [
    ("CRLF line ends", entry(title="Paging").replace("\n", "\r\n"), "Paging"),
    ("a byte order mark", b"\xef\xbb\xbf" + entry(title="Paging").encode(), "Paging"),
    ("no line end at the end", entry(title="Paging").rstrip("\n"), "Paging"),
    ("the word no", entry(title="no"), "no"),
    ("a quoted date", entry(title="'2024-01-01'"), "2024-01-01"),
    ("a shell substitution", entry(title='"$(id) `id`; rm -rf /"'), "$(id) `id`; rm -rf /"),
    ("a formula of a spreadsheet", entry(title="'=HYPERLINK(1)'"), "=HYPERLINK(1)"),
    ("Markdown", entry(title="'[x](javascript:alert(1)) **b**'"), "[x](javascript:alert(1)) **b**"),
    ("a comparison", entry(title="When a < b and c > d & e"), "When a < b and c > d & e"),
    ("a percent format", entry(title="'%s %(x)s {0} {x}'"), "%s %(x)s {0} {x}"),
    ("right-to-left letters", entry(title="שלום"), "שלום"),
    ("an emoji of several code points", entry(title="👩\u200d💻 works"), "👩\u200d💻 works"),
]


def expected(lines: list[str]) -> list[str]:
    return sorted(WORK + line if line.startswith(":") else line for line in lines)


@pytest.mark.parametrize(("content", "lines"), [case[1:] for case in ENTRIES], ids=[case[0] for case in ENTRIES])
def test_a_bad_entry_is_refused_with_place_and_way_out(tmp_path, content, lines):
    assert lines and complaints(checkout(tmp_path, {WORK: content})) == expected(lines)


@pytest.mark.parametrize(("files", "lines"), [case[1:] for case in TREES], ids=[case[0] for case in TREES])
def test_a_bad_tree_is_refused_with_place_and_way_out(tmp_path, files, lines):
    assert lines and sorted(complaints(checkout(tmp_path, files))) == expected(lines)


@pytest.mark.parametrize(("content", "title"), [case[1:] for case in INERT], ids=[case[0] for case in INERT])
def test_what_only_looks_dangerous_is_kept_as_written(tmp_path, content, title):
    catalogue, problems = check(checkout(tmp_path, {WORK: content}), use_cache=False)
    assert not problems
    assert catalogue.entries["work"].paper.title == title


@pytest.mark.parametrize("target", ["/etc/passwd", "../../techniques/systems/index.md", "/nowhere"])
def test_a_symbolic_link_is_reported_and_not_followed(tmp_path, target):
    (checkout(tmp_path, {"entries/2024/x": ""}) / WORK).symlink_to(target)
    (tmp_path / "entries/2024/x").unlink()
    assert complaints(tmp_path) == [f"{WORK}:1:1: is a symbolic link; put the file itself here"]


def test_a_linked_folder_is_reported_and_not_followed(tmp_path):
    outside = checkout(tmp_path / "outside", {WORK: entry(title="{{")})
    inside = checkout(tmp_path / "inside", {"entries/schema.json": "{}"})
    (inside / "entries/2024").symlink_to(outside / "entries/2024")
    assert complaints(inside) == ["entries/2024:1:1: is a symbolic link; put the file itself here"]


@pytest.mark.parametrize("name", ["entries", "techniques", "results", "site/redirects.yaml", "site/addresses.txt"])
def test_what_all_is_read_from_may_be_no_link_either(tmp_path, name):
    outside = checkout(tmp_path / "outside", {"site/redirects.yaml": "root:x:0:0: a\n", "results/x": "", WORK: entry()})
    (outside / "site/addresses.txt").write_text("papers/secret/\n")
    inside = checkout(tmp_path / "inside", {"site/x": ""})
    shutil.rmtree(inside / name, ignore_errors=True)
    (inside / name).symlink_to(outside / name)
    what = "folder" if "/" not in name else "file"
    assert complaints(inside) == [f"{name}:1:1: is a symbolic link; put the {what} itself here"]


def test_a_file_that_cannot_be_read_is_a_problem_not_a_crash(tmp_path, monkeypatch):
    root = checkout(tmp_path, {WORK: entry()})
    read = type(root).read_bytes

    def refuse(path):
        if path.name == "work.yaml":
            raise PermissionError(13, "Permission denied")
        return read(path)

    monkeypatch.setattr(type(root), "read_bytes", refuse)
    assert complaints(root) == [f"{WORK}:1:1: cannot be read: Permission denied; look at its permissions"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such file names")
def test_a_file_name_cannot_forge_a_line_of_the_report(tmp_path):
    root = checkout(tmp_path, {"entries/2024/a\n::error::\x1b[2J.yaml": entry()})
    (printed,) = complaints(root)
    assert printed.startswith(r"entries/2024/a\n::error::\x1b[2J.yaml:1:1: the file name")
    assert printed.isprintable()


def test_every_printed_problem_is_one_printable_line():
    nasty = "".join(map(chr, [0, 10, 27, 0x9B, 0x202E, 0xD800, 0xE0041])) + "é漢"
    printed = str(Problem(nasty, 1, 1, nasty, nasty, nasty))
    assert printed.isprintable() and "é漢" in printed
    assert printed.encode("utf-8")


BROKEN = {
    "entries/2024/bb.yaml": entry(year="2O24", title="'{{ x }}'"),
    "entries/2024/aa.yaml": entry(techniques="[nothing]", title="Alone"),
    "entries/2023/cc.yaml": "a: [",
    "techniques/systems/z.md": page("[x](paper:none)", words=3),
    "results/box/suite.json": "1",
}
PLACES = [
    ("entries/2023/cc.yaml", 2),
    ("entries/2024/aa.yaml", 4),
    ("entries/2024/bb.yaml", 2),
    ("entries/2024/bb.yaml", 3),
    ("results/box/suite.json", 1),
    ("techniques/systems/z.md", 1),
    ("techniques/systems/z.md", 11),
]


def test_one_run_reports_all_problems_of_all_files_in_order(tmp_path):
    answer = CliRunner().invoke(app, ["check", "--root", str(checkout(tmp_path, BROKEN))])
    assert answer.exit_code == 1
    told = [line.split(":") for line in answer.stdout.splitlines()]
    assert [(file, int(line)) for file, line, *_ in told] == PLACES


def test_json_carries_the_same_problems(tmp_path):
    root = str(checkout(tmp_path, BROKEN))
    as_text = CliRunner().invoke(app, ["check", "--root", root]).stdout
    answer = CliRunner().invoke(app, ["check", "--root", root, "--json"])
    told = json.loads(answer.stdout)
    assert answer.exit_code == 1
    assert [str(Problem(**found)) for found in told["problems"]] == as_text.splitlines()
    assert told["summary"] == {"entries": 1, "techniques": 2, "results": 0}


def test_a_clean_checkout_passes(tmp_path):
    answer = CliRunner().invoke(app, ["check", "--root", str(checkout(tmp_path, {WORK: entry()}))])
    assert (answer.exit_code, answer.stdout) == (0, "")


@pytest.mark.parametrize("path", ["entries", "./entries/", "entries/2024/../2024", WORK, f"./{WORK}", "."])
def test_naming_a_path_in_any_spelling_reports_its_problems(tmp_path, path):
    root = checkout(tmp_path, {WORK: entry(year="1")})
    assert [line.split(":")[0] for line in complaints(root, path)] == [WORK]
    assert [line.split(":")[0] for line in complaints(root, str(root / path))] == [WORK]
    assert complaints(root, "techniques") == []
