"""The answers of an issue form, as the file that they ask for.

An issue is a stranger's text. Its headings are matched against the forms in .github/ISSUE_TEMPLATE/, its answers pass
the same rules as files do, no path is taken from it, and nothing that exists is overwritten but the one fact named.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pydantic import ValidationError

from reference_impls.cost_model.tables import TableError, load_tables
from scripts.bibliography.draft import Draft, first_reason, make_key, to_paper
from scripts.bibliography.importing import Index
from scripts.bibliography.names import parse_names
from scripts.bibliography.new import identifier_of
from scripts.catalogue.comments import with_comments
from scripts.catalogue.cross_checks import nearest_slug
from scripts.catalogue.dump import dump
from scripts.catalogue.files import write_atomically
from scripts.catalogue.load import Catalogue, load_catalogue
from scripts.catalogue.model import Correction, Paper, Run
from scripts.catalogue.text_rules import check_line
from scripts.catalogue.venues import canonical_venue
from scripts.catalogue.yaml_text import decode, read

FORMS = ".github/ISSUE_TEMPLATE"
NOTHING = "_No response_"
MAX_BYTES = 2**20
MACHINES = Path("reference_impls/cost_model/data/machines.json")
FIELDS = (
    *("title", "authors", "year", "code", "url"),
    *("preprint.arxiv", "published.venue", "published.year", "published.doi"),
)
_KEY = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_MODULE = re.compile(r"([a-z][a-z0-9_]{1,40})/([a-z][a-z0-9_]{1,40})")

Answers = Mapping[str, str]


class IssueError(ValueError):
    """The answers do not make a file; the message says which of them, and what is allowed."""


@dataclass
class Taken:
    """What came of an issue: the files, by path from the checkout, and what is left to do by hand."""

    files: dict[str, str] = field(default_factory=dict)
    todo: list[str] = field(default_factory=list)


def take(root: Path, body: bytes) -> Taken:
    """Read the body of an issue; -> the files that it asks for, not yet written. Raises IssueError."""
    if len(body) > MAX_BYTES:
        raise IssueError(f"the issue has {len(body):,} bytes; {MAX_BYTES:,} at most")
    try:
        text = decode(body.replace(b"\r\n", b"\n"), limit=MAX_BYTES)
    except ValueError as error:
        raise IssueError(f"the issue is no plain text: {error}") from None
    form, answers = recognise(text, read_forms(root))
    return HANDLERS[form](load_catalogue(root), answers)


def write(root: Path, taken: Taken) -> None:
    """Write the files, each whole or not at all."""
    for name, text in taken.files.items():
        write_atomically(root / name, text)


def read_forms(root: Path) -> dict[str, dict[str, tuple[str, bool]]]:
    """Form -> heading of each question -> (id, whether it must be answered)."""
    forms = {}
    for name in HANDLERS:
        items = read(decode((root / FORMS / f"{name}.yml").read_bytes())).data["body"]
        asked = [item for item in items if "id" in item]
        forms[name] = {
            item["attributes"]["label"]: (item["id"], bool(item.get("validations", {}).get("required")))
            for item in asked
        }
    return forms


def recognise(text: str, forms: Mapping[str, Mapping[str, tuple[str, bool]]]) -> tuple[str, dict[str, str]]:
    """The form that an issue was made with, and its answers by id."""
    answers = _answers(text)
    name = max(
        forms, key=lambda form: len(answers.keys() & forms[form].keys()) - len(answers.keys() - forms[form].keys())
    )
    labels = forms[name]
    if not answers.keys() & labels.keys():
        wanted = "its text holds a line `### Question` above each answer, as the form writes it"
        raise IssueError(f"the issue was made with none of the forms {', '.join(forms)}; {wanted}")
    missing = [label for label, (_, required) in labels.items() if required and not answers.get(label)]
    if missing:
        raise IssueError(f'"{missing[0]}" is not answered; the form {name} needs it')
    return name, {labels[label][0]: answer for label, answer in answers.items() if label in labels}


def _answers(text: str) -> dict[str, str]:
    """Heading -> answer, of the Markdown that a form becomes. A heading inside a code block is none."""
    found: dict[str, str] = {}
    label, fenced = "", False
    for line in text.split("\n"):
        fenced ^= line.startswith("```")
        if line.startswith("### ") and not fenced:
            label = line[4:].strip()
            if label in found:
                raise IssueError(f'"{label[:60]}" is answered twice')
            found[label] = ""
        elif label:
            found[label] += line + "\n"
    stripped = {label: answer.strip() for label, answer in found.items()}
    return {label: "" if answer == NOTHING else answer for label, answer in stripped.items()}


def _new_paper(catalogue: Catalogue, answers: Answers) -> Taken:
    paper = _drafted(catalogue, answers)
    index = Index(catalogue)
    if known := index.find(paper):
        raise IssueError(f"the work has an entry, {catalogue.entries[known].file}")
    key = make_key(paper, index.keys)
    return Taken({f"entries/{paper.year}/{key}.yaml": dump(paper)}, ["compare the facts with the source"])


def _drafted(catalogue: Catalogue, answers: Answers) -> Paper:
    slug = answers.get("technique", "").removeprefix("techniques/").removesuffix(".md").strip("/")
    if slug not in catalogue.pages:
        raise IssueError(f"there is no page techniques/{slug[:80]}.md; did you mean {nearest_slug(slug, catalogue)}?")
    year = answers.get("year", "")
    if year and not re.fullmatch(r"[0-9]{4}", year):
        raise IssueError(f'expected a year with four digits, got "{year[:20]}"')
    try:
        arxiv, doi = identifier_of(answers.get("identifier", ""))
        authors, cut = parse_names(answers.get("authors", ""))
        draft = Draft(
            line=0,
            title=check_line(answers["title"]),
            authors=authors,
            authors_cut=cut,
            year=int(year) if year else None,
            venue=answers.get("venue", ""),
            arxiv=arxiv,
            doi=doi,
            code=answers.get("code", ""),
            techniques=[slug],
            sources=["an issue form"],
        )
        return to_paper(draft)
    except ValueError as error:
        raise IssueError(first_reason(error)) from None


def _wrong_data(catalogue: Catalogue, answers: Answers) -> Taken:
    key = answers["entry"].rstrip("/").rpartition("/")[2]
    if not _KEY.fullmatch(key) or key not in catalogue.entries:
        raise IssueError(f'there is no entry "{key[:60]}"; its name is the last part of the page\'s address')
    entry, name = catalogue.entries[key], answers["field"]
    if name not in FIELDS:
        raise IssueError(f'"{name[:40]}" is not corrected by form; it can be one of {", ".join(FIELDS)}')
    data = entry.paper.model_dump(exclude_defaults=True)
    head, _, tail = name.partition(".")
    old = (data.get(head) or {}).get(tail) if tail else data.get(head)
    try:
        new = _value(name, answers["right"])
        data[head] = (data.get(head) or {}) | {tail: new} if tail else new
        said = f"{name}, by a report that names {answers['source']}"
        shown = old if isinstance(old, str | int) else None
        note = Correction(date=date.today(), what=said, was=None if shown is None else str(shown))
        data["corrections"] = [*data.get("corrections", []), note.model_dump(exclude_defaults=True)]
        paper = Paper.model_validate(data)
    except ValueError as error:
        raise IssueError(f"{name}: {first_reason(error)}") from None
    if old == new:
        raise IssueError(f"{name} says so already")
    text = with_comments((catalogue.root / entry.file).read_text("utf-8"), dump(paper))
    if text is None:
        raise IssueError(f"{entry.file} holds a comment without a place in the new text; correct it by hand")
    return Taken({entry.file: text}, [f"compare {name} with {answers['source'][:200]}"])


def _value(name: str, text: str) -> Any:
    if name in ("year", "published.year"):
        if not re.fullmatch(r"[0-9]{4}", text):
            raise ValueError(f'expected a year with four digits, got "{text[:20]}"')
        return int(text)
    if name == "authors":
        return [author.model_dump(exclude_defaults=True) for author in parse_names(text)[0]]
    if name == "published.venue":
        return canonical_venue(text) or text
    return check_line(text)


def _result(catalogue: Catalogue, answers: Answers) -> Taken:
    text = re.sub(r"\A```(json)?\n|\n```\Z", "", answers["run"])
    try:
        run = Run.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part)[:40] for part in first["loc"])
        raise IssueError(f"the results file: {where}: {first_reason(error)}") from None
    name = f"results/{run.machine.name}/{run.suite}.json"  # both pass the rule for keys, so the path stays below
    if name in catalogue.runs or name in catalogue.submissions:
        raise IssueError(f"{name} exists; a newer run of the same machine comes by pull request")
    return Taken({name: json.dumps(json.loads(text), indent=1) + "\n"}, ["python -m scripts check", "run it again"])


def _implementation(catalogue: Catalogue, answers: Answers) -> Taken:
    found = _MODULE.fullmatch(answers["module"])
    if not found:
        raise IssueError(f'expected a module such as quantization/gptq, got "{answers["module"][:60]}"')
    family, module = found.groups()
    if (catalogue.root / "reference_impls" / family / f"{module}.py").exists():
        raise IssueError(f"reference_impls/{family}/{module}.py exists")
    paper = _drafted(catalogue, answers)
    index = Index(catalogue)
    known = index.find(paper)
    files = {} if known else {f"entries/{paper.year}/{make_key(paper, index.keys)}.yaml": dump(paper)}
    todo = [
        f"reference_impls/{family}/{module}.py",
        f"tests/{family}/test_{module}.py",
        "a case in the family's bench.py",
    ]
    return Taken(files, [f"write {one}" for one in todo])


def _hardware(catalogue: Catalogue, answers: Answers) -> Taken:
    if not _KEY.fullmatch(answers["name"]):
        raise IssueError(f'expected a short name of a-z, 0-9 and hyphens, got "{answers["name"][:60]}"')
    if answers["name"] in load_tables().machines:
        raise IssueError(f"{answers['name']} is in the table; correct its row in {MACHINES}")
    machine = {
        "memory_bytes": int(_number(answers, "memory") * 2**30),
        "read_bytes_per_s": int(_number(answers, "bandwidth") * 1e9),
        "bfloat16_flops_per_s": int(_number(answers, "bfloat16") * 1e12),
    }
    machine |= {"float32_flops_per_s": int(_number(answers, "float32") * 1e12)} if answers.get("float32") else {}
    machine |= {"link_bytes_per_s": int(_number(answers, "host_link") * 1e9)} if answers.get("host_link") else {}
    row: dict[str, Any] = {name: answers[name] for name in ("name", "title", "kind", "source", "link")}
    row |= {"seen": "source", "machine": machine}
    text = (catalogue.root / MACHINES).read_text("utf-8").rstrip()
    end = "\n]\n}"
    if not text.endswith(end):
        raise IssueError(f"{MACHINES} does not end as its tools write it; add the row by hand: {json.dumps(row)}")
    new = f"{text.removesuffix(end)},\n{json.dumps(row, ensure_ascii=False)}{end}\n"
    _check_table(catalogue.root / MACHINES.parent, new)
    return Taken({MACHINES.as_posix(): new}, ["compare the figures with the document"])


def _number(answers: Answers, name: str) -> float:
    text = answers[name].replace(",", "")
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,6})?", text) or not float(text):
        raise IssueError(f'{name}: expected a number above 0 without a unit, got "{answers[name][:40]}"')
    return float(text)


def _check_table(folder: Path, text: str) -> None:
    """Whether the tables can still be read with the new one among them."""
    with TemporaryDirectory() as copy:
        for file in folder.glob("*.json"):
            (Path(copy) / file.name).write_text(
                text if file.name == MACHINES.name else file.read_text("utf-8"), "utf-8"
            )
        try:
            load_tables(Path(copy))
        except TableError as error:
            raise IssueError(str(error)) from None


HANDLERS: dict[str, Callable[[Catalogue, Answers], Taken]] = {
    "new-paper": _new_paper,
    "wrong-data": _wrong_data,
    "result": _result,
    "implementation": _implementation,
    "hardware": _hardware,
}
