"""Every recorded run has a page with all its tables, and technique pages lead to their cases there."""

import json
import re
from html import unescape

from tests.site.conftest import ROOT, Site

RESULTS = sorted(ROOT.glob("results/*/*.json"))
PRUNING = "techniques/algorithms/model-compression/pruning"


def test_every_run_has_a_page_with_every_case(site: Site) -> None:
    for path in RESULTS:
        run = json.loads(path.read_text("utf-8"))
        html = site.html(f"records/{path.parent.name}-{path.stem.replace('_', '-')}")
        cases = {one["case"] for one in run["measurements"] if one["role"] == "baseline"}
        shown = {unescape(found) for found in re.findall(r'<h2 id="case-[^"]+-name">(.*?) <small>', html)}
        assert shown <= cases
        assert shown
        assert run["command"] in unescape(html)
        assert run["code"]["commit"][:12] in html
        assert 'aria-current="true"' not in html


def test_the_header_leads_to_the_papers_from_everywhere(site: Site) -> None:
    for page in ("records/" + path.parent.name + "-" + path.stem.replace("_", "-") for path in RESULTS):
        assert re.search(r'<a href="\.\./\.\./papers/">Papers</a>', site.html(page))
    for page in ("years/2024", "venues/iclr", "papers/gptq"):
        assert re.search(r'<a href="\.\./\.\./papers/" aria-current="true">Papers</a>', site.html(page))


def test_a_technique_leads_to_its_cases(site: Site) -> None:
    found = re.findall(r'href="(?:\.\./)+(records/[^"#]+)#([^"]+)"', site.html(PRUNING))
    assert found
    for page, place in found:
        assert f'id="{place}"' in site.html(page)
