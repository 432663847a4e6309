"""The same papers as a plain mkdocs-material site, one simple Markdown page each: what our build is compared with."""

import json
import shutil
from pathlib import Path

from scripts.bibliography import export
from scripts.bibliography.names import printed
from scripts.catalogue.load import Catalogue, Entry


def write_plain_site(catalogue: Catalogue, folder: Path) -> dict[str, Path]:
    """Write the sources; -> the configurations without and with Material's search.

    The pages stand outside the navigation: inside it the build would be quadratic, which nobody would accept.
    """
    shutil.rmtree(folder, ignore_errors=True)
    papers = folder / "docs" / "papers"
    papers.mkdir(parents=True)
    for entry in catalogue.entries.values():
        (papers / f"{entry.key}.md").write_text(_page(entry), "utf-8")
    (folder / "docs" / "index.md").write_text("# Papers\n", "utf-8")
    plugins: dict[str, list[str]] = {"plain": [], "search": ["search"]}
    return {name: _configuration(folder, name, wanted) for name, wanted in plugins.items()}


def _configuration(folder: Path, name: str, plugins: list[str]) -> Path:
    config = {
        "site_name": "Papers",
        "docs_dir": "docs",
        "site_dir": f"site-{name}",
        "theme": {"name": "material"},
        "plugins": plugins,
        "nav": [{"Home": "index.md"}],
        "not_in_nav": "/papers/*",
    }
    path = folder / f"{name}.yml"
    path.write_text(json.dumps(config), "utf-8")  # JSON is YAML
    return path


def _page(entry: Entry) -> str:
    paper = entry.paper
    facts = {
        "Year": str(paper.year),
        "Venue": paper.venue,
        "arXiv": paper.arxiv,
        "DOI": paper.doi,
        "Technique": paper.techniques[0],
    }
    lines = [f"# {paper.title}", ""]
    if paper.authors:
        lines += [", ".join(map(printed, paper.authors)), ""]
    lines += [f"- {name}: {value}" for name, value in facts.items() if value]
    if paper.summary:
        lines += ["", paper.summary]
    return "\n".join([*lines, "", "```bibtex", export.bibtex(entry.key, paper) + "```", ""])
