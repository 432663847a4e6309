"""The sums on the pages of pruning, low rank, distillation and LoRA follow from the shapes and formulas they name."""

import re
from math import log
from pathlib import Path

import pytest

from tests.test_snippets import ROOT, SNIPPETS

PAGES = ROOT / "techniques/algorithms/model-compression"
LORA = ROOT / "techniques/algorithms/fine-tuning/re-parameter-tuning.md"

# Llama-3-8B: hidden 4,096, 32 heads and 8 kv_heads of 128, feed-forward 14,336.
ATTENTION = 2 * 4096 * 4096 + 2 * 4096 * 1024
NEURONS = 3 * 4096 * 14_336


def table(page: Path, first: str) -> list[list[str]]:
    """The rows of the table whose first header is `first`, as cells."""
    lines = page.read_text("utf-8").split("\n")
    [start] = [n for n, line in enumerate(lines) if line.startswith(f"| {first} |")]
    end = next(n for n in range(start, len(lines)) if not lines[n].startswith("|"))
    return [[cell.strip().replace("−", "-") for cell in line.strip("|").split("|")] for line in lines[start + 2 : end]]


@pytest.mark.parametrize("row", table(PAGES / "pruning/index.md", "sparsity"), ids=lambda row: row[0])
def test_stored_bits_follow_from_the_sparsity(row):
    kept = 1 - float(row[0])
    assert [float(cell) for cell in row[1:]] == pytest.approx([16 * kept + 1, 32 * kept, 48 * kept])


def test_break_even_is_where_the_formats_cross_dense_storage():
    text = (PAGES / "pruning/index.md").read_text("utf-8")
    assert "sparsity of 1/16" in text
    assert 16 * (1 - 1 / 16) + 1 == 16
    assert "16-bit indices only above one half, with 32-bit indices only above two thirds" in text
    assert 32 * (1 - 1 / 2) == 48 * (1 - 2 / 3) == pytest.approx(16)


def test_the_example_keeps_what_its_scores_say():
    page = PAGES / "pruning/index.md"
    weights = [2, -1, 0.5, 3]
    rows = {row[0]: row[1:] for row in table(page, "weight")}
    scores = [abs(w) * float(n) for w, n in zip(weights, rows["norm of its input"], strict=True)]
    assert [float(cell) for cell in rows["weight × norm"]] == scores
    for name, values in (("magnitude keeps", [abs(w) for w in weights]), ("Wanda keeps", scores)):
        kept = sorted(range(4), key=lambda place, values=values: -values[place])[:2]
        assert [cell == "yes" for cell in rows[name]] == [place in kept for place in range(4)]


@pytest.mark.parametrize("row", table(PAGES / "pruning/semi-structured.md", "bits of a value"), ids=lambda row: row[0])
def test_two_of_four_store_two_values_and_two_positions(row):
    bits = int(row[0])
    assert [int(row[1]), int(row[2])] == [4 * bits, 2 * bits + 4]
    assert row[3] == f"{4 * bits / (2 * bits + 4):.2f}"


def test_a_block_without_a_quarter_is_as_large_as_the_table_says():
    whole = ATTENTION + NEURONS
    sizes = [whole, ATTENTION + 0.75 * NEURONS, 0.75 * ATTENTION + NEURONS, 0.75 * whole, 0]
    for row, size in zip(table(PAGES / "pruning/structured.md", "removed"), sizes, strict=True):
        assert float(row[1]) == pytest.approx(size / 1e6, abs=0.05)
        assert float(row[2]) == pytest.approx(size / whole, abs=0.005)


def test_the_predictors_share_and_bound_are_those_of_the_text():
    text = (PAGES / "pruning/contextual.md").read_text("utf-8")
    share = 1024 * (4096 + 14_336) / NEURONS
    assert f"the predictor adds {share:.3f}" in text
    assert f"reads {100 * (0.3 + share):.0f} %" in text
    assert f"bound of {1 / (0.3 + share):.2f}" in text


@pytest.mark.parametrize("row", table(PAGES / "pruning/contextual.md", "batch"), ids=lambda row: row[0])
def test_a_batch_needs_the_union_of_its_tokens(row):
    assert row[1:] == [f"{1 - (1 - k) ** int(row[0]):.2f}" for k in (0.1, 0.3)]


@pytest.mark.parametrize("row", table(PAGES / "low-rank-decomposition.md", "matrix"), ids=lambda row: row[0])
def test_ranks_are_those_of_the_formula(row):
    out, width = map(int, row[0].split(" × "))
    whole = out * width / (out + width)
    assert [int(cell) for cell in row[1:]] == [int(whole * share) for share in (1, 0.8, 0.5)]


@pytest.mark.parametrize("row", table(PAGES / "knowledge-distillation.md", "teacher / student"), ids=lambda row: row[0])
def test_a_step_with_a_teacher_costs_what_the_table_says(row):
    assert row[1] == f"{(2 * int(row[0]) + 6) / 6:.2f}"


def test_both_divergences_are_computed_right():
    rows = {row[0]: list(map(float, row[1:])) for row in table(PAGES / "knowledge-distillation.md", "distribution")}
    teacher = rows["teacher"][:3]
    for name in ("spreads", "chooses"):
        student = rows[name][:3]
        forward = sum(p * log(p / q) for p, q in zip(teacher, student, strict=True))
        reverse = sum(q * log(q / p) for p, q in zip(teacher, student, strict=True))
        assert sum(student) == pytest.approx(1)
        assert rows[name][3:] == pytest.approx([forward, reverse], abs=0.0005)
    assert rows["spreads"][3] < rows["chooses"][3]
    assert rows["spreads"][4] > rows["chooses"][4]


@pytest.mark.parametrize("row", table(LORA, "rank"), ids=lambda row: row[0])
def test_trained_parameters_follow_from_the_rank(row):
    trained = int(row[0]) * (4096 + 4096)
    assert int(row[1].replace(",", "")) == trained
    assert row[2] == f"{100 * trained / 4096**2:.2f} %"


def test_the_bytes_of_a_training_run_are_those_of_the_formula():
    text, weights = LORA.read_text("utf-8"), 8e9
    trained = 0.005 * weights
    assert f"{(2 * weights + 16 * trained) / 1e9:.1f} GB in place of {16 * weights / 1e9:.0f} GB" in text
    assert f"in 4.13 bits it is {(4.13 / 8 * weights + 16 * trained) / 1e9:.1f} GB" in text


@pytest.mark.parametrize(
    ("family", "pages"),
    [
        ("pruning", "model-compression/pruning/"),
        ("low_rank", "model-compression/low-rank"),
        ("distillation", "model-compression/knowledge-distillation"),
        ("adaptation", "fine-tuning/"),
    ],
)
def test_every_method_is_shown_at_work_on_a_page_of_its_family(family, pages):
    package = pytest.importorskip(f"reference_impls.{family}")
    faces = ("methods", "model_methods", "text_methods", "updates")
    names = [name for face in faces if hasattr(package, face) for name in getattr(package, face)()]
    code = "\n".join(one.code for one in SNIPPETS if pages in one.file)
    assert names
    assert [name for name in names if not re.search(rf"\b{name}\b", code)] == []


@pytest.mark.parametrize(
    "page",
    [*PAGES.glob("pruning/*.md"), *PAGES.glob("[kl]*.md"), *LORA.parent.glob("*.md")],
    ids=lambda page: page.name,
)
def test_a_page_has_the_common_parts(page):
    text = page.read_text("utf-8")
    assert "\nfamily: " in text
    assert "## What it saves" in text
    assert "## When it pays" in text
    for part in re.split(r"\n## ", text):
        if "**Mechanism.**" in part:
            assert "**Pitfalls.**" in part or "**Cost.**" in part, part.split("\n")[0]


def test_claims_on_compressed_models_name_cases_and_implementations_that_exist():
    pytest.importorskip("torch")
    pytest.importorskip("tokenizers")
    from scripts.bench.cases import all_cases
    from scripts.catalogue.load import load_catalogue

    known = {case.id: {one.name for one in case.implementations} for case in all_cases()}
    branches = ("model-compression/pruning", "low-rank", "knowledge-distillation", "fine-tuning/")
    entries = load_catalogue(ROOT).entries.values()
    ours = [entry for entry in entries if any(branch in entry.paper.techniques[0] for branch in branches)]
    trials = [(entry.key, claim.test) for entry in ours for claim in entry.paper.claims if claim.test]
    assert len(trials) >= 10
    for key, trial in trials:
        named = {trial.implementation, *([trial.against] if trial.against else [])}
        assert named <= known.get(trial.case, set()), f"{key}: {trial.case} has no {named}"


FINE = ROOT / "techniques/algorithms/fine-tuning"
LLAMA = ATTENTION + NEURONS + 2 * 4096  # a block
WHOLE = 32 * LLAMA + 2 * 128_256 * 4096 + 4096


@pytest.mark.parametrize("row", table(FINE / "additive-tuning.md", "added"), ids=lambda row: row[0])
def test_added_parameters_follow_from_the_shape(row):
    size = int(row[0].rpartition("= ")[2])
    adapters, prompt, prefix = 64 * (2 * 4096 * size + 4096 + size), size * 4096, 32 * 2 * size * 8 * 128
    trained = {"adapters": adapters, "soft prompt": prompt, "prefix": prefix}[row[0].partition(",")[0]]
    assert int(row[1].replace(",", "")) == trained
    assert row[2] == f"{100 * trained / WHOLE:.3f} %"


@pytest.mark.parametrize("row", table(FINE / "selective-tuning.md", "trained, of 32 equal layers"), ids=lambda r: r[0])
def test_the_share_of_arithmetic_follows_from_where_the_trained_part_lies(row):
    above, trained = (float(cell.replace("about ", "")) for cell in row[1:3])
    assert float(row[3]) == pytest.approx((2 + 2 * above + 2 * trained) / 6, abs=0.005)


@pytest.mark.parametrize("row", table(FINE / "memory-efficient.md", "method"), ids=lambda row: row[0])
def test_bytes_a_parameter_are_the_sum_of_their_parts(row):
    parts = [cell.split("/") for cell in row[1:4] if "tensor" not in cell]
    total = sum(float(part[0]) / float(part[1] if len(part) > 1 else 1) for part in parts)
    assert float(row[4]) == pytest.approx(total, abs=0.005)
    assert f"{8 * 16} GB with Adam and {8 * 2} GB" in (FINE / "memory-efficient.md").read_text("utf-8")
