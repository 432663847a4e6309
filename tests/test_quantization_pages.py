"""The sums that the pages on quantization show follow from the shapes and formulas that they name."""

from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[1] / "techniques/algorithms/model-compression/quantization"

# Llama-3-8B: 32 layers, hidden 4,096, 8 kv_heads of 128, feed-forward 14,336, vocabulary 128,256, head not tied.
LINEAR = 32 * (2 * 4096 * 4096 + 2 * 4096 * 1024 + 3 * 4096 * 14_336)
EMBEDDED = 2 * 128_256 * 4096


def table(page: str, first: str) -> list[list[str]]:
    """The rows of the table whose first header is `first`, as cells."""
    lines = (FOLDER / page).read_text("utf-8").split("\n")
    [start] = [n for n, line in enumerate(lines) if line.startswith(f"| {first} |")]
    end = next(n for n in range(start, len(lines)) if not lines[n].startswith("|"))
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[start + 2 : end]]


def test_the_shape_is_as_large_as_the_text_says():
    text = (FOLDER / "index.md").read_text("utf-8")
    assert f"{LINEAR / 1e9:.2f} billion weights in linear layers and {EMBEDDED / 1e9:.2f} billion" in text


@pytest.mark.parametrize("row", table("index.md", "weights"), ids=lambda row: row[0])
def test_the_sizes_of_a_whole_model_follow_from_its_shape(row):
    bits = float(row[1])
    layers = LINEAR * bits / 8
    whole = layers + EMBEDDED * 2
    assert row[2:4] == [f"{layers / 1e9:.2f}", f"{whole / 1e9:.2f}"]
    smaller = (LINEAR + EMBEDDED) * 2 / whole
    assert row[4] == ("1" if bits == 16 else f"1/{smaller:.2f}")


@pytest.mark.parametrize("row", table("weight-only.md", "bits"), ids=lambda row: row[0])
def test_stored_bits_are_codes_and_scales(row):
    assert [float(cell) for cell in row[1:]] == [int(row[0]) + 32 / size for size in (128, 64, 32, 16)]


def test_the_outlier_leaves_the_codes_that_the_table_shows():
    values, codes, decoded = (row[1:] for row in table("weight-activation.md", "channel"))
    scale = 60 / 127
    numbers = [float(cell.replace("−", "-")) for cell in values]
    assert [int(cell.replace("−", "-")) for cell in codes] == [round(x / scale) for x in numbers]
    shown = [float(cell.replace("−", "-")) for cell in decoded]
    assert shown == pytest.approx([round(x / scale) * scale for x in numbers], abs=0.005)  # two decimals


@pytest.mark.parametrize(("layer_share", "factor", "gain"), [(0.7, 2, 1.54)])
def test_the_gain_of_a_part_is_that_of_the_text(layer_share, factor, gain):
    assert f"f = {layer_share} and k = {factor} that is {gain}" in (FOLDER / "weight-activation.md").read_text("utf-8")
    assert 1 / ((1 - layer_share) + layer_share / factor) == pytest.approx(gain, abs=0.005)


@pytest.mark.parametrize(("bits", "batch"), [(16, 100), (4, 25)])
def test_the_crossover_batch_of_the_text_is_where_both_bounds_are_equal(bits, batch):
    weights, bandwidth, flops = 1e9, 1.0, 100.0
    assert weights * bits / 8 / bandwidth == 2 * batch * weights / flops
    assert f"batch {batch}" in (FOLDER / "index.md").read_text("utf-8")
