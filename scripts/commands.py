"""The commands of `python -m scripts`. Each parses its arguments, calls the library and prints what came of it."""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from scripts.catalogue.problems import Problem

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__, pretty_exceptions_enable=False)
console = Console(stderr=True, highlight=False, soft_wrap=True)

Root = Annotated[Path, typer.Option("--root", help="The checkout.", file_okay=False, exists=True)]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for a program.")]
HERE = Path()


def _report(problems: list[Problem], as_json: bool, summary: dict[str, int]) -> None:
    """Print every problem, then the counts; leave with 1 if one of them is an error."""
    errors = sum(found.severity == "error" for found in problems)
    if as_json:
        print(json.dumps({"summary": summary, "problems": [found.as_json() for found in problems]}, indent=2))  # noqa: T201
    else:
        for found in problems:
            print(found)  # noqa: T201
        counts = ", ".join(f"{count:,} {name}" for name, count in summary.items())
        faults = f"{errors:,} error{'' if errors == 1 else 's'}"
        console.print(f"{counts}: [{'red' if errors else 'green'}]{faults if errors else 'no errors'}[/]")
    if errors:
        raise typer.Exit(1)


@app.command()
def check(
    paths: Annotated[list[str] | None, typer.Argument(help="Files or folders to report on; all by default.")] = None,
    as_json: Json = False,
    cache: Annotated[bool, typer.Option(help="Skip the parsing of files that passed before.")] = True,
    root: Root = HERE,
) -> None:
    """Check every entry, technique and result, alone and against each other."""
    from scripts.catalogue.check import check as run_check

    for path in paths or []:
        if not (root / path).exists():
            console.print(f"[red]{path}: no such file or folder[/]")
            raise typer.Exit(2)
    catalogue, problems = run_check(root, paths or (), use_cache=cache)
    results = len(catalogue.runs) + len(catalogue.submissions)
    summary = {"entries": len(catalogue.entries), "techniques": len(catalogue.pages), "results": results}
    _report(problems, as_json, summary)


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="A .bib or .csv file.", exists=True, dir_okay=False)],
    technique: Annotated[list[str] | None, typer.Option(help="Technique of works that name none; repeatable.")] = None,
    update: Annotated[bool, typer.Option("--update", help="Correct the facts of entries that exist.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done; write nothing.")] = False,
    as_json: Json = False,
    root: Root = HERE,
) -> None:
    """Create one entry for every new work of a bibliography."""
    from scripts.bibliography.importing import import_file, write
    from scripts.catalogue.load import load_catalogue

    catalogue = load_catalogue(root)
    unknown = [slug for slug in technique or [] if slug not in catalogue.pages]
    if unknown:
        console.print(f"[red]--technique {unknown[0]}: there is no page techniques/{unknown[0]}.md[/]")
        raise typer.Exit(2)
    try:
        result = import_file(file, catalogue, technique or (), update=update)
    except ValueError as error:
        console.print(f"[red]{error}[/]")
        raise typer.Exit(2) from None
    if not as_json:
        for line, title, key in result.known:
            console.print(f"{file}:{line}: known as {key}: {title}", markup=False)
        verb = "would write" if dry_run else "wrote"
        for key, paper in (result.added | result.updated).items():
            console.print(f"{verb} entries/{paper.year}/{key}.yaml", markup=False)
    if not dry_run:
        write(result, catalogue)
    no_authors = sum(not paper.authors for paper in result.added.values())
    summary = {
        "added": len(result.added),
        "updated": len(result.updated),
        "known": len(result.known) + len(result.unchanged),
        "without authors": no_authors,
    }
    _report(result.problems, as_json, summary)


@app.command()
def new(
    identifier: Annotated[str, typer.Argument(help="An arXiv id, a DOI, or nothing for a template.")] = "",
    key: Annotated[str, typer.Option(help="Name of the entry; made from the title by default.")] = "",
    title: Annotated[str, typer.Option(help="Title as published.")] = "",
    authors: Annotated[str, typer.Option(help='As in BibTeX: "Frantar, Elias and Alistarh, Dan".')] = "",
    year: Annotated[int | None, typer.Option(help="First public year; follows from an arXiv id.")] = None,
    technique: Annotated[list[str] | None, typer.Option(help="Path under techniques/; repeatable.")] = None,
    offline: Annotated[bool, typer.Option("--offline", help="Do not look the work up.")] = False,
    root: Root = HERE,
) -> None:
    """Write the file of a new paper: looked up where a network is at hand, else a template with blanks to fill."""
    from scripts.bibliography.new import NewEntryError, Wanted, create

    wanted = Wanted(identifier, key, title, authors, year, technique or [])
    if sys.stdin.isatty() and not (identifier or title):
        wanted = Wanted(
            typer.prompt("arXiv id or DOI (empty if none)", default="", show_default=False),
            key,
            typer.prompt("Title (empty to look it up or leave blank)", default="", show_default=False),
            typer.prompt("Authors, as in BibTeX (empty to leave blank)", default="", show_default=False),
            year,
            technique or [],
        )
    try:
        path, blanks = create(root, wanted, lookup=not offline)
    except NewEntryError as error:
        console.print(f"[red]{error}[/]", highlight=False)
        raise typer.Exit(1) from None
    print(path.relative_to(root).as_posix() if path.is_relative_to(root) else path)  # noqa: T201
    todo = f"fill in {', '.join(blanks)}, then" if blanks else "read it through, then"
    console.print(f"{todo} run: python -m scripts check {path.relative_to(root).as_posix()}")


@app.command()
def schema(root: Root = HERE) -> None:
    """Write entries/schema.json and the table of fields in CONTRIBUTING.md anew from the model."""
    from scripts.catalogue.schema import write_generated

    for path in write_generated(root):
        console.print(f"wrote {path}")


@app.command()
def build(
    search: Annotated[bool, typer.Option(help="Index the pages for the search.")] = True,
    as_json: Json = False,
    root: Root = HERE,
) -> None:
    """Build the site into public/."""
    from scripts.website.build import build as run_build
    from scripts.website.errors import BuildError, DataError

    with console.status("building") as status:
        try:
            report = run_build(root, search=search, say=status.update)
        except DataError as error:
            _report(error.problems, False, {})
        except BuildError as error:
            console.print(f"[red]{error}[/]")
            raise typer.Exit(1) from None
    if as_json:
        print(json.dumps(asdict(report)))  # noqa: T201
        return
    for name, seconds in report.seconds.items():
        console.print(f"{seconds:6.1f} s  {name}")
    records, prose = report.pages["from records"], report.pages["from prose"]
    console.print(f"public/ holds {records:,} pages from records and {prose} from prose")


@app.command()
def plan(
    model: Annotated[str, typer.Argument(help="A model of the table; without one, all names are listed.")] = "",
    machine: Annotated[str, typer.Argument(help="A machine of the table, or one that runs were recorded on.")] = "",
    context: Annotated[int, typer.Option(min=1, help="Tokens a sequence, those still to come included.")] = 4096,
    batch: Annotated[int, typer.Option(min=1, help="Sequences decoded together.")] = 1,
    weights: Annotated[str, typer.Option(help="How weights are stored.")] = "bf16",
    kv: Annotated[str, typer.Option(help="How the cache is stored.")] = "bf16",
    offload: Annotated[bool, typer.Option("--offload", help="Stream weights that do not fit from the host.")] = False,
    gamma: Annotated[int, typer.Option(min=0, max=64, help="Tokens drafted ahead; 0: no speculation.")] = 0,
    acceptance: Annotated[float, typer.Option(min=0, max=1, help="Chance that a draft is accepted.")] = 0.7,
    draft_cost: Annotated[float, typer.Option(min=0, max=10, help="A draft's step over the model's, in time.")] = 0.1,
    as_json: Json = False,
    root: Root = HERE,
) -> None:
    """Say whether a model fits a machine, and how fast it can be at most."""
    from reference_impls.cost_model import Settings, TableError
    from scripts import plan as planning

    tables, error = planning.tables_with_results(root)
    if not model:
        Console().print(planning.listing(tables))
        return
    settings = Settings(context, batch, offload, gamma, acceptance, draft_cost)
    try:
        found = planning.answer(tables, error, planning.Asked(model, machine, weights, kv, settings))
    except TableError as problem:
        console.print(f"[red]{problem}[/]")
        raise typer.Exit(2) from None
    if as_json:
        print(json.dumps(planning.as_json(found), indent=2))  # noqa: T201
    else:
        Console(highlight=False).print(planning.report(found))


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []})
def bench(context: typer.Context) -> None:
    """Run, list or verify the benchmarks: as `python -m scripts.bench`, which has the options; --help shows them."""
    try:
        from scripts.bench.__main__ import main as run_bench
    except ModuleNotFoundError as missing:
        console.print(f"[red]{missing.name} is not installed; the benchmarks need torch and numpy[/]")
        raise typer.Exit(2) from None
    raise typer.Exit(run_bench(context.args))


@app.command("site-speed")
def site_speed(
    entries: Annotated[str, typer.Option(help='Sizes to measure; "real" is this checkout.')] = "1000,real,10000",
    rounds: Annotated[int, typer.Option(min=1, help="Times that each measurement is made.")] = 3,
    plain: Annotated[bool, typer.Option(help="Measure plain mkdocs-material too, up to 3,000 entries.")] = True,
    full: Annotated[bool, typer.Option("--full", help="Measure it at every size: minutes.")] = False,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write every sample here.")] = None,
    root: Root = HERE,
) -> None:
    """Measure the build's speed and the site's size, and hold them against their bars."""
    from scripts.website.speed import REAL, measure
    from scripts.website.speed_report import judged, table

    labels = entries.split(",")
    if wrong := [label for label in labels if label != REAL and not (label.isdigit() and int(label))]:
        console.print(f'[red]--entries: expected numbers or "{REAL}", got "{wrong[0]}"[/]')
        raise typer.Exit(2)
    with console.status("measuring") as status:
        sizes = measure(root, labels, rounds, plain=plain, full=full, say=status.update)
    values = judged(sizes)
    Console().print(table(values))
    if json_file:
        json_file.write_text(json.dumps([asdict(size) for size in sizes], indent=2) + "\n", "utf-8")
    if any(value.passed is False for value in values):
        raise typer.Exit(1)


@app.command()
def links(as_json: Json = False, root: Root = HERE) -> None:
    """Check every address in the built site: each leads to a page, a place on it, or an http(s) or mail link out."""
    from scripts.website.links import check_links
    from scripts.website.settings import read_site_url

    public = root / "public"
    if not (public / "index.html").exists():
        console.print(f"[red]{public} holds no site; run `python -m scripts build` first[/]")
        raise typer.Exit(2)
    problems = check_links(public, read_site_url(root))
    _report(problems, as_json, {"pages": sum(1 for _ in public.rglob("*.html"))})


@app.command()
def lighthouse(
    pages: Annotated[list[str] | None, typer.Argument(help="Paths from the site's root.")] = None,
    form: Annotated[list[str] | None, typer.Option(help="mobile or desktop; both by default.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the scores here.")] = None,
    root: Root = HERE,
) -> None:
    """Judge pages of the built site by Lighthouse, which is installed into build/ on the first run."""
    from scripts.lighthouse import CATEGORIES, GOAL, PAGES, LighthouseError, judge, write_verdicts
    from scripts.node import NodeError

    verdicts = []
    try:
        for verdict in judge(root, tuple(pages or PAGES), tuple(form or ("mobile", "desktop"))):
            verdicts.append(verdict)
            scores = "  ".join(f"{name} {verdict.scores[name]:3}" for name in CATEGORIES)
            print(f"{verdict.page or 'home':60} {verdict.form:8} {scores}")  # noqa: T201
            for audit in verdict.lost:
                console.print(f"    {audit}", markup=False)
    except (LighthouseError, NodeError) as error:
        console.print(f"[red]{error}[/]")
        raise typer.Exit(2) from None
    write_verdicts(json_file or root / "build" / "lighthouse.json", verdicts)
    if not all(verdict.passed for verdict in verdicts):
        console.print(f"[red]the goal is {GOAL} in every category[/]")
        raise typer.Exit(1)


@app.command()
def serve(
    port: Annotated[int, typer.Option(help="Port on this machine; 0 takes a free one.")] = 8000,
    root: Root = HERE,
) -> None:
    """Serve the site on this machine and build it again when a source changes."""
    from scripts.serve import serve as run_serve

    try:
        run_serve(root, port, lambda line: console.print(line, markup=False))
    except OSError as error:
        console.print(f"[red]port {port} cannot be used: {error.strerror}; choose another with --port[/]")
        raise typer.Exit(1) from None


@app.command()
def setup(root: Root = HERE) -> None:
    """Install the browser libraries of package-lock.json into node_modules/."""
    from scripts.node import NodeError, install_packages

    try:
        install_packages(root)
    except NodeError as error:
        console.print(f"[red]{error}[/]")
        raise typer.Exit(1) from None


@app.command()
def lock(root: Root = HERE) -> None:
    """Write requirements/*.txt anew: the versions that pyproject.toml's ranges resolve to today."""
    from scripts.lock import lock as run_lock

    for path in run_lock(root):
        console.print(f"wrote {path}")
