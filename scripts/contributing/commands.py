"""The commands of contributors and maintainers; each parses its arguments, calls the library, prints."""

import json
import sys
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Annotated

import typer

from scripts.commands import HERE, Json, Root, app, console


@app.command()
def review(
    base: Annotated[str, typer.Argument(help="The commit to compare with, such as origin/main.")] = "origin/main",
    root: Root = HERE,
) -> None:
    """Print, as Markdown, what the changes of this checkout do to the site."""
    from scripts.contributing.review import ReviewError
    from scripts.contributing.review import review as run_review

    try:
        print(run_review(root, base))  # noqa: T201
    except ReviewError as error:
        console.print(f"[red]{error}[/]")
        raise typer.Exit(2) from None


@app.command()
def fix(
    paths: Annotated[list[str] | None, typer.Argument(help="Entries or folders; all of entries/ by default.")] = None,
    only_check: Annotated[bool, typer.Option("--check", help="Say what would change; write nothing.")] = False,
    root: Root = HERE,
) -> None:
    """Bring entries into the tools' form, comments kept, and put right what is plainly meant."""
    from scripts.catalogue.files import write_atomically
    from scripts.contributing.fix import fix_files

    top, names = root.resolve(), []
    for path in paths or []:
        place = (root / path).resolve()
        if not place.exists():
            console.print(f"{path}: no such file or folder", style="red", markup=False)
            raise typer.Exit(2)
        if not place.is_relative_to(top / "entries") or not (place.is_dir() or path.endswith(".yaml")):
            told = "only entries have one form: name .yaml files or folders below entries/"
            console.print(f"{path}: {told}", style="red", markup=False)
            raise typer.Exit(2)
        names.append(place.relative_to(top).as_posix())
    changed = problems = 0
    for name, fixed, content in fix_files(root, names):
        if fixed.problem:
            problems += 1
            print(f"{name}: {fixed.problem}")  # noqa: T201
        if fixed.text and fixed.text.encode() != content:
            changed += 1
            print(f"{name}: {'; '.join(fixed.changes)}")  # noqa: T201
            if not only_check:
                write_atomically(root / name, fixed.text)
    verb = "would change" if only_check else "changed"
    console.print(f"{changed:,} files {verb}, {problems:,} left for a person")
    if problems or (only_check and changed):
        raise typer.Exit(1)


@app.command()
def doctor(
    limit: Annotated[int, typer.Option(min=1, help="How many lines to show.")] = 30,
    kind: Annotated[str, typer.Option(help="Only this kind of gap, such as untested or stale.")] = "",
    as_json: Json = False,
    root: Root = HERE,
) -> None:
    """List what is missing or stale, what helps most first."""
    from scripts.contributing.doctor import WEIGHTS, work_list
    from scripts.website.errors import DataError

    if kind and kind not in WEIGHTS:
        console.print(f'[red]there is no kind "{kind[:40]}"; there are {", ".join(WEIGHTS)}[/]', highlight=False)
        raise typer.Exit(2)
    try:
        works = [work for work in work_list(root) if kind in ("", work.kind)]
    except DataError as error:
        console.print(f"[red]{len(error.problems)} errors come first: python -m scripts check[/]")
        raise typer.Exit(1) from None
    if as_json:
        print(json.dumps([asdict(work) for work in works], ensure_ascii=False, indent=1))  # noqa: T201
        return
    for work in works[:limit]:
        print(f"{work.value:7.1f}  {work.kind:18} {work.what}" + (f" ({work.remark})" if work.remark else ""))  # noqa: T201
    if len(works) > limit:
        console.print(f"and {len(works) - limit:,} more; --limit or --json shows them")


@app.command()
def merge(
    gone: Annotated[str, typer.Argument(help="Key of the entry that goes.")],
    kept: Annotated[str, typer.Argument(help="Key of the entry that stays.")],
    keep: Annotated[
        bool, typer.Option("--keep", help="Where the two differ, what the kept entry says stands.")
    ] = False,
    root: Root = HERE,
) -> None:
    """Make one entry of two that are the same work; the old address leads to the one that stays."""
    from scripts.contributing.merge import MergeError
    from scripts.contributing.merge import merge as run_merge

    try:
        merged, files = run_merge(root, gone, kept, date.today(), keep)
    except MergeError as error:
        console.print(f"[red]{error}[/]", highlight=False)
        raise typer.Exit(1) from None
    for file in files:
        print(file)  # noqa: T201
    console.print(f"taken over: {', '.join(merged.taken) or 'nothing'}")
    for line in merged.dropped:
        console.print(f"left out: {line}", markup=False)


@app.command("from-issue")
def from_issue(
    file: Annotated[str, typer.Argument(help="The issue's text; - for standard input.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the files; write nothing.")] = False,
    root: Root = HERE,
) -> None:
    """Turn the answers of an issue form into the file that they ask for."""
    from scripts.contributing.from_issue import IssueError, take, write

    try:
        taken = take(root, sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes())
    except (IssueError, OSError) as error:
        told = f"{file}: {error.strerror}" if isinstance(error, OSError) else str(error)
        console.print(told, style="red", markup=False, highlight=False)
        raise typer.Exit(1) from None
    for name, text in taken.files.items():
        print(f"--- {name}\n{text}" if dry_run else name)  # noqa: T201
    if not dry_run:
        write(root, taken)
    for line in taken.todo:
        console.print(f"then: {line}", markup=False)


@app.command()
def addresses(root: Root = HERE) -> None:
    """Add today's addresses to site/addresses.txt; from then on each must lead somewhere. Part of a release."""
    from scripts.catalogue.addresses import PUBLISHED, publish
    from scripts.catalogue.load import load_catalogue

    console.print(f"{publish(root, load_catalogue(root)):,} new addresses in {PUBLISHED}")


@app.command()
def archive(
    target: Annotated[Path, typer.Argument(help="Where to write it.")] = Path("dist/frugalfm.tar.gz"),
    wheels: Annotated[bool, typer.Option(help="Include the Python packages that a rebuild needs.")] = True,
    root: Root = HERE,
) -> None:
    """Write one file that holds the site, its data and its source, the same bytes for the same commit."""
    from scripts.contributing.archive import ArchiveError
    from scripts.contributing.archive import archive as run_archive
    from scripts.website.errors import BuildError

    with console.status("archiving") as status:
        try:
            digest = run_archive(root, target, wheels=wheels, say=status.update)
        except (ArchiveError, BuildError) as error:
            console.print(f"[red]{error}[/]")
            raise typer.Exit(1) from None
    print(f"{digest}  {target}")  # noqa: T201


@app.command("outside-links")
def outside_links(root: Root = HERE) -> None:
    """Ask every outside address of the data whether it still answers; prints a report and never fails."""
    from scripts.catalogue.load import load_catalogue
    from scripts.contributing import outside_links as links

    found = links.outside_links(load_catalogue(root))
    with console.status("asking") as status:

        def say(count: int) -> None:
            status.update(f"asked {count:,} of {len(found):,} addresses")

        print(links.report(links.ask_all(found, say=say)))  # noqa: T201


@app.command()
def wheel(
    torch: Annotated[
        list[str] | None, typer.Option(help='"here" (the default), "lowest", "newest" or a version; repeatable.')
    ] = None,
    tests: Annotated[bool, typer.Option(help="Run the families' fast tests against what was installed.")] = True,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write what was seen here.")] = None,
    root: Root = HERE,
) -> None:
    """Build the wheel twice, install it into fresh environments, and try it there away from the checkout."""
    from scripts.wheel import HERE as INSTALLED
    from scripts.wheel import WheelError, try_wheel

    trials = []
    try:
        with console.status("building") as status:
            for one in try_wheel(
                root.resolve(), root.resolve() / "build" / "wheel", torch or [INSTALLED], tests=tests, say=status.update
            ):
                trials.append(one)
                told = f"{one.facts['modules']} modules, import {one.facts['import_s'] * 1000:.0f} ms beyond torch"
                where = f"torch {one.facts['torch']}, numpy {one.facts['numpy']}, Python {one.facts['python']}"
                print(f"{where}: {told}" + (f"; {one.tests}" if tests else ""), flush=True)  # noqa: T201
                for problem in one.problems:
                    console.print(f"    {problem}", markup=False)
    except WheelError as error:
        console.print(f"[red]{error}[/]", markup=True, highlight=False)
        raise typer.Exit(2) from None
    if json_file:
        json_file.write_text(json.dumps([asdict(one) for one in trials], indent=1) + "\n", "utf-8")
    if any(one.problems for one in trials):
        raise typer.Exit(1)


@app.command("cluster-speed")
def cluster_speed(
    rounds: Annotated[int, typer.Option(min=1, help="Times that each measurement is made.")] = 3,
    record: Annotated[bool, typer.Option("--record", help="Keep it for the site's Measure page.")] = False,
    root: Root = HERE,
) -> None:
    """Measure what spreading over Ray costs a case and what a second processor gives a sweep; needs a quiet machine."""
    from scripts.bench.cluster import ClusterError
    from scripts.cluster_speed import OVERHEAD, SCALING, measure_speed, save_record

    try:
        with console.status("measuring") as status:
            found = measure_speed(root.resolve(), rounds=rounds, say=status.update)
    except (ClusterError, ModuleNotFoundError) as error:
        console.print(str(error), style="red", markup=False)
        raise typer.Exit(2) from None
    load = ", ".join(f"{one:.1f}" for one in found.machine["load_average"])
    print(f"{found.machine['name']}, Ray {found.ray}, load before: {load}")  # noqa: T201
    print(f"a case of {found.case_s:.1f} s takes {100 * found.overhead:+.1f} % ({OVERHEAD:.0%} at most)")  # noqa: T201
    told = f"{found.scaling:.2f} times as fast on {found.processors} processors ({SCALING} at least)"
    print(f"a sweep of {found.points} points is {told}; starting took {found.start_s:.1f} s")  # noqa: T201
    if record:
        console.print(f"wrote {save_record(root, found)}")
    if not found.passed:
        raise typer.Exit(1)
