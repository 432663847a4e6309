"""The block "Who pays": which variants belong to which page's methods, and what it says of their gaps."""

from pathlib import Path

import pytest

from scripts.catalogue.load import load_catalogue
from scripts.website.derive import derive
from scripts.website.family import Families
from scripts.website.settings import read_settings
from scripts.website.who_pays import POWER, STUDY, Shift, known_methods, methods_of, who_pays
from tests.site.test_evidence import measurement, run_of

ROOT = Path(__file__).parents[2]
MODULES = {"quantization": ["rtn", "gptq"], "pruning": ["wanda", "layers"], "measurement": ["fairness"]}


def change(variant, attribute, value, margin=2.0, role="method"):
    quality = None if margin is None else {"metric": "group_gap_margin", "value": margin}
    work = {"model": "m", "gap": f"{attribute} one less the other"}
    fields = {"metric": "group_gap_change", "unit": "percentage points", "better": "neither", "quality": quality}
    fields["stop_reason"] = "deterministic"
    case = f"measurement/language/{attribute}/change/group_gap_change"
    module = "fairness" if role == "method" else None
    return measurement(variant, role, [value], case=case, workload=work, module=module, **fields)


def accuracy(variant, group, values):
    case = f"measurement/language/age/group-{group}/accuracy"
    role = "baseline" if variant == "float32" else "method"
    return measurement(variant, role, values, case=case, metric="accuracy", unit="%", better="higher")


def study(*more, **fields):
    base = [change("float32", attribute, 0.0, None, "baseline") for attribute in ("age", "origin")]
    found = [
        *base,
        change("rtn-4", "age", -5.0),
        change("rtn-4", "origin", 1.0),
        change("wanda-2-of-4", "age", 0.5),
        change("shortgpt-2", "age", 3.0, 4.0),
        accuracy("float32", 0, [80.0, 90.0]),
        accuracy("float32", 1, [75.0]),
        accuracy("rtn-4", 0, [70.0]),
        accuracy("rtn-4", 1, [50.0]),
    ]
    return run_of(*found, *more, suite="measurement", **fields)


def runs(**fields):
    pruning = run_of(measurement("shortgpt", "method", [1.0], module="layers"), suite="pruning")
    return {"results/mm/measurement.json": study(**fields), "results/mm/pruning.json": pruning}


def test_a_variant_belongs_to_the_longest_name_that_it_begins_with():
    known = {"awq": {("q", "awq")}, "awq-3": {("q", "other")}, "two-words": {("p", "two_words")}}
    assert methods_of("awq-3", known) == {("q", "other")}
    assert methods_of("awq-4", known) == {("q", "awq")}
    assert methods_of("two-words-50", known) == {("p", "two_words")}
    assert methods_of("awqx-3", known) == set()


def test_a_variant_of_several_methods_belongs_to_each_of_them():
    wanda, rtn, compose = ("pruning", "wanda"), ("quantization", "rtn"), ("pruning", "compose")
    known = {"wanda": {wanda}, "rtn": {rtn}, "wanda-rtn": {compose}, "oracle": {("speculative_decoding", "oracle")}}
    assert methods_of("wanda-50-rtn-4", known) == {wanda, rtn}
    assert methods_of("wanda-rtn-4", known) == {compose}
    assert methods_of("wanda-oracle-30", known) == {wanda}  # a word in its name, no method that was added
    assert methods_of("other-50-rtn-4", known) == set()  # whose first method is unknown is unknown


def test_n_of_m_kept_is_semi_structured_whoever_chose():
    known = {"wanda": {("p", "wanda")}, "semi-structured": {("p", "semi_structured")}}
    assert methods_of("wanda-2-of-4", known) == {("p", "wanda"), ("p", "semi_structured")}
    assert methods_of("wanda-50", known) == {("p", "wanda")}
    assert methods_of("other-2-of-4", known) == set()
    modules = {**MODULES, "pruning": ["wanda", "semi_structured"]}
    assert [row.variant for row in who_pays(runs(), modules, [("pruning", "semi_structured")]).rows] == ["wanda-2-of-4"]


def test_a_page_has_the_variants_of_its_methods_only():
    view = who_pays(runs(), MODULES, [("quantization", "rtn"), ("quantization", "gptq")])
    assert [row.variant for row in view.rows] == ["rtn-4"]
    assert view.gaps == [("age", "age one less the other"), ("origin", "origin one less the other")]
    assert [str(shift) for shift in view.rows[0].shifts] == ["−5.0\u00a0±\u00a02.0", "+1.0\u00a0±\u00a02.0"]
    assert [shift.is_seen for shift in view.rows[0].shifts] == [True, False]
    assert (view.dense, view.rows[0].accuracy) == (80.0, 60.0)  # 85 and 75; 70 and 50


def test_drawings_and_video_are_other_studies():
    video = change("rtn-4", "age", -9.0)
    video |= {"case": "measurement/video/light-10/size-by-int8/group_gap_change"}
    with_video = {"results/mm/measurement.json": study(video)}
    shown, expected = (who_pays(one, MODULES, [("quantization", "rtn")]) for one in (with_video, runs()))
    assert (shown.gaps, shown.rows) == (expected.gaps, expected.rows)
    only = {"results/mm/measurement.json": run_of(video, suite="measurement")}
    assert who_pays(only, MODULES, [("quantization", "rtn")]) is None


def test_a_name_that_is_no_module_is_found_through_the_method_that_was_recorded_under_it():
    view = who_pays(runs(), MODULES, [("pruning", "layers")])
    assert [row.variant for row in view.rows] == ["shortgpt-2"]
    assert [str(shift) for shift in view.rows[0].shifts] == ["+3.0\u00a0±\u00a04.0", "None"]
    alone = {file: run for file, run in runs().items() if "measurement" in file}
    assert who_pays(alone, MODULES, [("pruning", "layers")]) is None
    assert [row.variant for row in who_pays(alone, MODULES, [("pruning", "wanda")]).rows] == ["wanda-2-of-4"]


def test_the_power_is_that_of_the_margins():
    view = who_pays(runs(), MODULES, [("quantization", "rtn"), ("pruning", "layers")])
    assert view.power.startswith("finds a true change of 3 to 6 points")  # 1.43 times 2 and 4
    assert Shift(1.0, 2.0).detectable == pytest.approx(2 * POWER)
    assert pytest.approx((1.96 + 0.8416) / 1.96, abs=0.005) == POWER
    without = run_of(change("rtn-4", "age", 1.0, None), suite="measurement")
    assert "no interval" in who_pays({"f": without}, MODULES, [("quantization", "rtn")]).power


def test_without_a_study_or_a_method_in_it_there_is_no_block():
    assert who_pays({}, MODULES, [("quantization", "rtn")]) is None
    assert who_pays(runs(), MODULES, [("quantization", "gptq")]) is None
    assert who_pays({"f": run_of(measurement("a", "method", [1.0]))}, MODULES, [("quantization", "rtn")]) is None


def test_of_several_runs_the_fullest_is_shown():
    both = {"results/a/measurement.json": study(change("gptq-3", "age", 9.0)), **runs()}
    assert who_pays(both, MODULES, [("quantization", "gptq")]).file == "results/a/measurement.json"


def test_on_this_sites_pages_a_variant_stands_where_its_method_does():
    families = Families(derive(load_catalogue(ROOT)), read_settings(ROOT))
    assert STUDY in families.pages
    if not any(run.suite == "measurement" for run in families.runs.values()):
        pytest.skip("the study was not recorded")
    branch = "algorithms/model-compression"
    variants = {
        slug: [row.variant.partition("-")[0] for row in view.rows]
        for slug in families.pages
        if (view := families.who_pays(slug))
    }
    assert {"rtn", "gptq", "awq"} <= set(variants[f"{branch}/quantization/weight-only"])
    assert {"wanda", "sparsegpt"} <= set(variants[f"{branch}/pruning/unstructured"])
    assert "shortgpt" in variants[f"{branch}/pruning/structured"]
    assert "wanda" in variants[f"{branch}/pruning/semi-structured"]
    assert all(slug.startswith(branch) for slug in variants)


def test_every_variant_of_the_study_has_a_method_and_the_pages_of_compression_have_variants():
    """By name alone, so that the next recording of the study finds its places."""
    bench = pytest.importorskip("reference_impls.measurement.bench_fairness", reason="torch is not installed")
    families = Families(derive(load_catalogue(ROOT)), read_settings(ROOT))
    if not families.runs:
        pytest.skip("nothing was recorded")
    known = known_methods(families.runs, families.modules)
    found = {variant: methods_of(variant, known) for variant in bench.variants()}
    assert all(found.values()), found
    held = set().union(*found.values())
    for family, module in (
        ("pruning", "semi_structured"),
        ("pruning", "contextual"),
        ("low_rank", "activation_aware_svd"),
        ("quantization", "smoothquant"),
    ):
        assert (family, module) in held
    assert found["wanda-50-rtn-4"] == {("pruning", "wanda"), ("quantization", "rtn")}
