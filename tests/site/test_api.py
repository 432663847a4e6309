"""What programs read of the site is valid, complete and says the same as the records."""

import gzip
import json
import re
import subprocess
from typing import Any
from xml.etree import ElementTree

import bibtexparser
import plotly.graph_objects as go
import pytest
from jsonschema import Draft202012Validator

from scripts.website.settings import read_site_url
from tests.site.conftest import ROOT, Site

LISTS = ("papers", "techniques", "claims", "ledger", "coverage")
SITE_URL = read_site_url(ROOT)
ATOM = "{http://www.w3.org/2005/Atom}"
SITEMAP = "{http://www.sitemaps.org/schemas/sitemap/0.9}"


def api(site: Site, name: str) -> dict[str, Any]:
    """A document of the interface; NaN and Infinity, which are no JSON, are refused."""

    def refuse(constant: str) -> None:
        raise ValueError(f"{name}: {constant} is no JSON")

    text = (site.public / "api/v1" / f"{name}.json").read_text("utf-8")
    document: dict[str, Any] = json.loads(text, parse_constant=refuse)
    return document


@pytest.mark.parametrize("name", LISTS)
def test_documents_follow_their_schema(site: Site, name: str) -> None:
    schema, document = api(site, f"{name}.schema"), api(site, name)
    Draft202012Validator.check_schema(schema)
    assert [error.message for error in Draft202012Validator(schema).iter_errors(document)] == []
    assert document["schema"] == f"{SITE_URL}api/v1/{name}.schema.json"


@pytest.mark.parametrize("name", LISTS)
def test_schemas_refuse_an_unknown_field(site: Site, name: str) -> None:
    document = api(site, name)
    document[name] = [document[name][0] | {"nonsense": 1}]
    assert list(Draft202012Validator(api(site, f"{name}.schema")).iter_errors(document))


@pytest.mark.parametrize("name", LISTS)
def test_counts_are_right(site: Site, name: str) -> None:
    assert api(site, name)["count"] == len(api(site, name)[name])


def test_every_record_is_there_once(site: Site) -> None:
    papers, techniques = api(site, "papers")["papers"], api(site, "techniques")["techniques"]
    assert sorted(paper["key"] for paper in papers) == sorted(site.paper_keys())
    pages = {path.relative_to(site.source / "techniques") for path in site.source.glob("techniques/**/*.md")}
    slugs = sorted(technique["slug"] for technique in techniques)
    assert slugs == sorted(path.with_suffix("").as_posix().removesuffix("/index") for path in pages)
    claims = [claim["id"] for claim in api(site, "claims")["claims"]]
    assert sorted(claims) == sorted(key for paper in papers for key in paper.get("claim_ids", ()))
    assert len(claims) == len(set(claims)) > 0


def test_every_page_named_exists(site: Site) -> None:
    pages = [item["page"] for name in ("papers", "techniques") for item in api(site, name)[name]]
    assert [url for url in pages if not (site.public / url.removeprefix(SITE_URL) / "index.html").exists()] == []


def test_the_time_is_that_of_the_commit(site: Site) -> None:
    head = api(site, "papers")
    if head["commit"] is None:
        pytest.skip("built outside git")
    command = ["git", "show", "-s", "--format=%cI", head["commit"]]
    date = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    assert head["generated_at"] == date


def test_counts_of_techniques_add_up(site: Site) -> None:
    papers = api(site, "papers")["papers"]
    for technique in api(site, "techniques")["techniques"]:
        slug = technique["slug"]
        below = [p for p in papers if any(f"{t}/".startswith(f"{slug}/") for t in p["techniques"])]
        assert (slug, technique["papers_below"]) == (slug, len(below))
        assert (slug, technique["papers"]) == (slug, sum(slug in paper["techniques"] for paper in papers))


def test_the_bibliography_parses_back_whole(site: Site) -> None:
    library = bibtexparser.parse_file(str(site.public / "papers.bib"))
    assert library.failed_blocks == []
    assert {entry.key for entry in library.entries} == site.paper_keys()
    assert [entry.key for entry in library.entries if "title" not in entry or "year" not in entry] == []


def listed(site: Site, page: str) -> list[str]:
    """Keys in the tables of papers of a page, in their order."""
    tables = re.findall(r'<table class="papers".*?</table>', site.html(page), re.DOTALL)
    return re.findall(r'papers/([^/"]+)/"', "".join(tables))


def bibliography(site: Site, page: str) -> list[str]:
    return re.findall(r"^@\w+\{([^,]+),", (site.public / page / "papers.bib").read_text("utf-8"), re.MULTILINE)


def test_partial_bibliographies_hold_what_their_page_lists(site: Site) -> None:
    compression = "techniques/algorithms/model-compression"
    for page in ("years/2022", "venues/iclr", f"{compression}/quantization/weight-only"):
        assert bibliography(site, page) == listed(site, page) != []


def test_the_page_of_a_branch_lists_the_newest_and_says_where_the_others_are(site: Site) -> None:
    page = "techniques/algorithms"
    shown, everything = listed(site, page), bibliography(site, page)
    assert shown == everything[: len(shown)]
    assert 100 <= len(shown) < len(everything)
    assert f"{len(everything) - len(shown)} older ones stand on the pages" in site.html(page)


def test_the_feed_is_atom(site: Site) -> None:
    feed = ElementTree.fromstring((site.public / "feed.xml").read_text("utf-8"))
    stamp = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d([+-]\d\d:\d\d|Z)"
    entries = feed.findall(f"{ATOM}entry")
    assert len(entries) == 50
    for element in (feed, *entries):
        assert all(element.findtext(ATOM + name) for name in ("id", "title", "updated"))
        assert re.fullmatch(stamp, element.findtext(f"{ATOM}updated") or "")
    ids = [entry.findtext(f"{ATOM}id") or "" for entry in entries]
    assert len(set(ids)) == 50
    assert all((site.public / url.removeprefix(SITE_URL) / "index.html").exists() for url in ids)
    assert all(entry.findtext(f"{ATOM}author/{ATOM}name") for entry in entries)


def test_the_sitemap_lists_every_page_once(site: Site) -> None:
    tree = ElementTree.fromstring((site.public / "sitemap.xml").read_text("utf-8"))
    urls = [found.text or "" for found in tree.iter(f"{SITEMAP}loc")]
    folders = (path.parent.relative_to(site.public) for path in site.public.rglob("index.html"))
    assert sorted(urls) == sorted(f"{SITE_URL}{folder.as_posix()}/".replace("/./", "/") for folder in folders)
    assert f"Sitemap: {SITE_URL}sitemap.xml" in (site.public / "robots.txt").read_text()


def test_the_map_for_language_models_names_every_technique(site: Site) -> None:
    text = (site.public / "llms.txt").read_text("utf-8")
    links = re.findall(r"\]\((\S+?)\)", text)
    assert text.startswith("# FrugalFM\n\n> ")
    assert {technique["page"] for technique in api(site, "techniques")["techniques"]} <= set(links)
    targets = [site.public / url.removeprefix(SITE_URL) for url in links]
    assert [str(path) for path in targets if not (path.is_file() or (path / "index.html").exists())] == []


def head_tags(site: Site, key: str) -> list[tuple[str, str]]:
    return re.findall(r'<meta name="(citation_\w+)" content="([^"]*)">', site.html(f"papers/{key}"))


def test_citation_managers_read_the_facts_of_a_paper(site: Site) -> None:
    assert head_tags(site, "gptq") == [
        ("citation_title", "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained Transformers"),
        ("citation_author", "Frantar, Elias"),
        ("citation_author", "Ashkboos, Saleh"),
        ("citation_author", "Hoefler, Torsten"),
        ("citation_author", "Alistarh, Dan"),
        ("citation_publication_date", "2023"),
        ("citation_conference_title", "International Conference on Learning Representations"),
        ("citation_arxiv_id", "2210.17323"),
        ("citation_pdf_url", "https://arxiv.org/pdf/2210.17323"),
    ]
    assert ("citation_journal_title", "ACM Transactions on Software Engineering and Methodology") in head_tags(
        site, "superflow"
    )


def linked_data(site: Site, key: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/ld\+json">(.*?)</script>', site.html(f"papers/{key}"), re.DOTALL)
    assert found
    data: dict[str, Any] = json.loads(found[1])
    return data


def test_linked_data_describes_the_work(site: Site) -> None:
    data = linked_data(site, "gptq")
    assert data["@context"] == "https://schema.org"
    assert (data["@type"], data["@id"]) == ("ScholarlyArticle", f"{SITE_URL}papers/gptq/")
    assert data["author"][1] == {"@type": "Person", "name": "Saleh Ashkboos"}
    assert data["datePublished"] == "2023"
    assert data["identifier"] == ["arXiv:2210.17323"]
    kinds = {paper["key"]: paper.get("kind", "paper") for paper in api(site, "papers")["papers"]}
    software = [key for key, kind in kinds.items() if kind == "software"]
    assert {linked_data(site, key)["@type"] for key in software} <= {"SoftwareSourceCode"}


def test_a_paper_as_ris(site: Site) -> None:
    lines = (site.public / "papers/gptq/gptq.ris").read_bytes().decode().split("\r\n")
    assert lines[0] == "TY  - CPAPER"
    assert lines[-2:] == ["ER  - ", ""]
    assert [line[6:] for line in lines if line.startswith("AU")] == [
        "Frantar, Elias", "Ashkboos, Saleh", "Hoefler, Torsten", "Alistarh, Dan",
    ]  # fmt: skip
    for line in ("PY  - 2023", "T2  - International Conference on Learning Representations", "AN  - arXiv:2210.17323"):
        assert line in lines


def test_a_paper_as_csl_json(site: Site) -> None:
    (item,) = json.loads((site.public / "papers/gptq/gptq.json").read_text("utf-8"))
    assert item == {
        "id": "gptq",
        "type": "paper-conference",
        "title": "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained Transformers",
        "author": [
            {"family": "Frantar", "given": "Elias"},
            {"family": "Ashkboos", "given": "Saleh"},
            {"family": "Hoefler", "given": "Torsten"},
            {"family": "Alistarh", "given": "Dan"},
        ],
        "issued": {"date-parts": [[2023]]},
        "container-title": "International Conference on Learning Representations",
        "number": "arXiv:2210.17323",
        "URL": "https://arxiv.org/abs/2210.17323",
    }


def test_the_data_page_names_only_files_that_exist(site: Site) -> None:
    named = re.findall(r"<code>((?:api|figures)/[\w./-]+\.\w+)</code>", site.html("data"))
    assert named
    assert [name for name in named if not (site.public / name).exists()] == []


def test_figures_are_small_and_have_their_numbers_beside_them(site: Site) -> None:
    figures = sorted(site.public.glob("figures/*.json"))
    assert figures
    for file in figures:
        assert json.loads(file.read_text("utf-8"))["data"]
        assert file.with_suffix(".csv").read_text("utf-8").count("\n") > 1
        assert (file.name, len(gzip.compress(file.read_bytes())) <= 6_000) == (file.name, True)


def test_figures_are_what_plotly_reads(site: Site) -> None:
    """One of every shape: plotly's own classes refuse a field or a value that they do not know."""

    def shape(value: object) -> object:
        if isinstance(value, dict):
            return tuple(sorted((key, shape(one)) for key, one in value.items()))
        return type(value).__name__

    kinds: dict[object, dict[str, Any]] = {}
    for path in site.public.rglob("*.json"):
        found = json.loads(path.read_text("utf-8"))
        if isinstance(found, dict) and found.keys() >= {"data", "layout"}:
            kinds.setdefault((frozenset(map(shape, found["data"])), shape(found["layout"])), found)
    assert len(kinds) > 10
    for one in kinds.values():
        go.Figure(one["data"], one["layout"])
    with pytest.raises(ValueError, match="Invalid property"):
        go.Figure([{"type": "scatter", "colour": "red"}])
