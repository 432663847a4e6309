"""The judging of pages: what is read of a report, what is refused, and how pages are served."""

import gzip
import json
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from scripts.lighthouse import CATEGORIES, LighthouseError, _served, judge, read_report, write_verdicts


def report(**scores: float | None) -> dict[str, Any]:
    """What Lighthouse prints, less what is not read; every category has one audit that failed in part."""
    wanted = dict.fromkeys(CATEGORIES, 1.0) | {name.replace("_", "-"): score for name, score in scores.items()}
    audits = {
        "slow": {"title": "Paints late", "score": 0.4, "displayValue": "3 s"},
        "fine": {"title": "Fine", "score": 1},
        "told": {"title": "Only told", "score": 0.1},
        "none": {"title": "Not applicable", "score": None},
    }
    weights = [("slow", 3), ("fine", 1), ("told", 0), ("none", 1)]
    references = [{"id": name, "weight": weight} for name, weight in weights]
    categories = {name: {"score": score, "auditRefs": references} for name, score in wanted.items()}
    return {"categories": categories, "audits": audits}


def test_scores_are_percent_and_only_what_cost_points_is_named() -> None:
    verdict = read_report("papers/", "mobile", report(performance=0.949))
    assert verdict.scores == {"performance": 95, "accessibility": 100, "best-practices": 100, "seo": 100}
    assert verdict.lost == [f"{name}: Paints late 3 s" for name in CATEGORIES]


@pytest.mark.parametrize(("score", "passed"), [(0.94, False), (0.95, True)])
def test_the_lowest_category_decides(score: float, passed: bool) -> None:
    assert read_report("", "mobile", report(best_practices=score)).passed is passed


def test_a_category_without_a_score_is_no_pass() -> None:
    with pytest.raises(LighthouseError, match=r"home \(desktop\): no score for seo"):
        read_report("", "desktop", report(seo=None))


def test_a_page_that_is_not_built_is_named(tmp_path: Path) -> None:
    (tmp_path / "public").mkdir()
    with pytest.raises(LighthouseError, match=r"public/papers.* holds no page; run `python -m scripts build`"):
        next(judge(tmp_path, ("papers/",), ("mobile",)))


def test_verdicts_are_written_whole(tmp_path: Path) -> None:
    write_verdicts(tmp_path / "scores.json", [read_report("", "mobile", report())])
    (stored,) = json.loads((tmp_path / "scores.json").read_text("utf-8"))
    assert stored["scores"]["seo"] == 100
    assert stored["form"] == "mobile"


def test_texts_are_served_compressed_and_other_files_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("<p>" + "word " * 1000)
    (tmp_path / "a.png").write_bytes(b"\x89PNG")
    with _served(tmp_path) as url:
        with urllib.request.urlopen(url) as page:
            assert page.headers["Content-Encoding"] == "gzip"
            assert gzip.decompress(page.read()) == (tmp_path / "index.html").read_bytes()
        with urllib.request.urlopen(url + "a.png") as image:
            assert image.headers["Content-Encoding"] is None
            assert image.read() == b"\x89PNG"
