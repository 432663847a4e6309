"""What lets a reader trust or mend a page: corrections, when it was checked, and reports that name their file."""

import html
import re
import struct
import zlib
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from scripts.catalogue.dump import SCHEMA_LINE
from scripts.website.social import HEIGHT, PALETTE, WIDTH, social_image
from tests.site.conftest import Site, run_build, small_checkout

MENDED = f"""{SCHEMA_LINE}title: Mended & checked
authors: [{{family: Doe, given: Jane}}]
year: 2024
techniques: [systems]
level: listed
checked: 2026-11-02
corrections:
  - {{date: 2026-11-02, what: "the year, by its first version", was: "2025 < b & c"}}
  - {{date: 2026-10-01, what: the title}}
"""


@pytest.fixture(scope="module")
def mended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """public/ of a small checkout in which one entry has been corrected twice and compared with its source."""
    root = small_checkout(tmp_path_factory.mktemp("mended") / "frugalfm", {"entries/2024/mended.yaml": MENDED})
    done = run_build(root, "--no-search")
    assert done.returncode == 0, done.stdout + done.stderr
    return root / "public"


def test_corrections_are_listed_newest_first_and_escaped(mended: Path) -> None:
    page = (mended / "corrections/index.html").read_text("utf-8")
    (listed,) = re.findall(r'<ol class="corrections".*?</ol>', page, re.DOTALL)
    assert re.findall(r'datetime="([\d-]+)"', listed) == ["2026-11-02", "2026-10-01"]
    assert listed.count('href="../papers/mended/"') == 2
    assert "2025 &lt; b &amp; c" in listed
    assert re.search(r"Of [\d,]+ records, 1 has been compared", page)


def test_a_paper_says_when_it_was_checked_and_what_was_corrected(mended: Path, site: Site) -> None:
    page = (mended / "papers/mended/index.html").read_text("utf-8")
    assert "<dt>Last checked</dt><dd>2026-11-02</dd>" in page
    assert "the year, by its first version" in page
    assert "<dt>Last checked</dt><dd>not yet by a person</dd>" in site.html("papers/gptqv2")


def reports(page: str) -> list[dict[str, str]]:
    """Title and body of every report that a page offers to write."""
    links = [html.unescape(link) for link in re.findall(r'href="([^"]+/issues/new\?[^"]+)"', page)]
    return [{name: values[0] for name, values in parse_qs(urlsplit(link).query).items()} for link in links]


def test_every_figure_can_be_reported_with_its_file_filled_in(site: Site) -> None:
    page = site.html("")
    figures = re.findall(r'data-figure="(?:\./)?([^"]+)"', page)
    files = [report["body"].splitlines()[0] for report in reports(page)]
    assert figures
    assert [file for file in figures if not any(line.startswith(f"File: {file}") for line in files)] == []


@pytest.mark.parametrize(
    ("href", "title"),
    [
        ("papers/superflow", "Claims of superflow"),
        ("papers/superflow", "Wrong data: superflow"),
        ("techniques/algorithms/model-compression/quantization", "Evidence on Quantization"),
    ],
)
def test_a_report_names_the_file_that_it_is_about(site: Site, href: str, title: str) -> None:
    found = {report["title"]: report["body"] for report in reports(site.html(href))}
    file = re.match(r"File: (\S+)", found[title])
    assert file
    assert (site.source / file.group(1)).exists()
    assert Path(href).name in file.group(1)


def test_the_picture_for_previews_is_a_png_of_the_mark(site: Site) -> None:
    image = (site.public / "assets/social.png").read_bytes()
    assert image == social_image()
    assert image[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", image[16:24]) == (WIDTH, HEIGHT)
    start = image.index(b"IDAT")
    (length,) = struct.unpack(">I", image[start - 4 : start])
    pixels = zlib.decompress(image[start + 4 : start + 4 + length])
    assert len(pixels) == (WIDTH + 1) * HEIGHT
    assert set(pixels) == set(range(len(PALETTE)))
    for page in ("", "papers/gptq", "techniques/systems"):
        assert '<meta property="og:image" content="https://' in site.html(page)
