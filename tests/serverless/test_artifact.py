"""Every file gives back the model that was written; bytes fall as the variant says; snapshots change nothing."""

import pytest
import torch

from reference_impls.models.generate import generate
from reference_impls.models.shapes import SHAPES, random_model
from reference_impls.quantization.apply import weight_bytes
from reference_impls.serverless import EventError, artifact, prefix_snapshot
from reference_impls.serverless.handlers import Generate

TOKENS = [5, 17, 3, 900, 44, 2]
VARIANTS = ["float32", "bfloat16", "int8", "fp8", "int4", "nf4"]


@pytest.fixture(scope="module")
def model():
    from dataclasses import replace

    shape = replace(SHAPES["tiny-target"], layers=2, tied=True)
    return random_model(shape, torch.Generator().manual_seed(0)).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def files(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("artifacts")
    found = {}
    for variant in VARIANTS:
        for kind in ("safetensors", "pickle"):
            config = artifact.Config(variant, kind)
            path = folder / f"{variant}.{kind}"
            found[variant, kind] = path, artifact.write(model, path, config)
    return found


def logits(model):
    with torch.inference_mode():
        return model(torch.tensor(TOKENS)[None]).float()


@pytest.mark.parametrize("kind", ["safetensors", "pickle"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_a_file_gives_back_what_was_written(model, files, variant, kind):
    path, size = files[variant, kind]
    loaded = artifact.load(path, artifact.Config(variant, kind))
    assert torch.equal(logits(loaded), logits(artifact.convert(model, variant)))
    assert weight_bytes(loaded) == pytest.approx(size, rel=0.1)
    assert loaded.head.weight is loaded.embedding.weight


@pytest.mark.parametrize("variant", ["int8", "fp8", "int4", "nf4"])
def test_expanding_at_load_changes_where_the_time_goes_and_not_the_answer(files, variant):
    path, _ = files[variant, "safetensors"]
    packed, expanded = (artifact.load(path, artifact.Config(variant, expand=expand)) for expand in (False, True))
    assert torch.allclose(logits(packed), logits(expanded), atol=2e-2)  # a rounding to bfloat16 apart
    assert weight_bytes(expanded) > weight_bytes(packed)


@pytest.fixture(scope="module")
def smaller(model):
    """The same model with zeros, with two of each four weights, and as factors."""
    from reference_impls.low_rank import svd
    from reference_impls.low_rank.apply import factorize_model
    from reference_impls.pruning import magnitude, semi_structured
    from reference_impls.pruning.apply import prune_model

    return {
        "zeros": prune_model(model, "magnitude", magnitude.Config(sparsity=0.5)),
        "two-of-four": prune_model(model, "semi_structured", semi_structured.Config(), effect="packed"),
        "factors": factorize_model(model, "svd", svd.Config(kept=0.5)),
    }


@pytest.mark.parametrize("how", ["zeros", "two-of-four", "factors"])
def test_layers_of_another_kind_come_back_as_that_kind(smaller, how, tmp_path):
    for expand in (False, True):
        artifact.write(smaller[how], tmp_path / "file", artifact.Config("bfloat16"))
        loaded = artifact.load(tmp_path / "file", artifact.Config("bfloat16", expand=expand))
        assert torch.equal(logits(loaded), logits(artifact.convert(smaller[how], "bfloat16")))
        kept = type(loaded.blocks[0].ffn.up) is not torch.nn.Linear
        assert kept == (how == "factors" or (how == "two-of-four" and not expand))


def test_zeros_alone_save_no_byte(model, smaller, tmp_path):
    sizes = {
        name: artifact.write(one, tmp_path / name, artifact.Config("bfloat16"))
        for name, one in {"dense": model, **smaller}.items()
    }
    assert sizes["zeros"] == sizes["dense"]
    assert sizes["two-of-four"] < 0.75 * sizes["dense"]
    assert sizes["factors"] < 0.75 * sizes["dense"]


def test_a_gguf_file_is_read_and_never_written(model, tmp_path):
    config = artifact.Config("bfloat16", "gguf")
    with pytest.raises(ValueError, match="read and not written"):
        artifact.write(model, tmp_path / "file", config)
    with pytest.raises(ValueError, match="expanded to one of"):
        artifact.Config("int4", "gguf")


@pytest.mark.slow
def test_the_gguf_file_is_the_model_that_it_holds():
    from reference_impls.models import smollm2

    path = smollm2.smollm2_path()
    if path is None:
        pytest.skip(smollm2.HOW_TO_GET_IT)
    loaded = artifact.load(path, artifact.Config("float32", "gguf"))
    assert torch.equal(logits(loaded), logits(smollm2.load_smollm2()))


def test_fewer_bits_are_fewer_bytes(files):
    sizes = [files[variant, "safetensors"][1] for variant in ("float32", "bfloat16", "int8", "int4")]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] / sizes[1] == pytest.approx(2, rel=0.02)


def test_mapped_weights_share_the_files_pages_and_leave_it_alone(files):
    path, _ = files["float32", "safetensors"]
    before = path.read_bytes()
    loaded = artifact.load(path)
    with torch.no_grad():
        loaded.embedding.weight.zero_()
    assert path.read_bytes() == before


def test_loading_leaves_torchs_layers_as_they_were(files):
    before = torch.nn.Linear.reset_parameters, torch.nn.Embedding.reset_parameters
    artifact.load(files["float32", "safetensors"][0])
    assert (torch.nn.Linear.reset_parameters, torch.nn.Embedding.reset_parameters) == before


def test_a_file_with_other_tensors_is_refused(model, tmp_path):
    from reference_impls.models import safetensors_file

    path = tmp_path / "m.safetensors"
    artifact.write(model, path)
    state, notes = safetensors_file.read(path)
    safetensors_file.write(tmp_path / "n.safetensors", {**state, "other": torch.zeros(1)}, notes)
    with pytest.raises(ValueError, match="other"):
        artifact.load(tmp_path / "n.safetensors")
    state.pop("norm.weight")
    safetensors_file.write(tmp_path / "n.safetensors", state, notes)
    with pytest.raises(ValueError, match=r"norm\.weight"):
        artifact.load(tmp_path / "n.safetensors")


def test_a_pickle_that_would_run_code_is_refused(tmp_path):
    class Runs:
        def __reduce__(self):
            return (print, ("ran",))

    torch.save({"notes": {}, "state": Runs()}, tmp_path / "bad.pickle")
    with pytest.raises(Exception, match=r"weights_only|Unsupported"):
        artifact.load(tmp_path / "bad.pickle", artifact.Config(format="pickle"))


@pytest.fixture
def handler(files):
    made = Generate()
    made.load(str(files["float32", "safetensors"][0]), {})
    return made


def test_the_handler_generates_as_the_library_does(model, handler):
    expected = generate(model, torch.tensor(TOKENS)[None], 6)[0].tolist()
    event = {"tokens": TOKENS, "new_tokens": 6}
    assert [*handler.invoke(event)] == [*handler.invoke(event)] == expected


def test_a_snapshot_changes_no_token(model, files, tmp_path):
    path = tmp_path / "prefix.safetensors"
    prefix_snapshot.write(model, torch.tensor(TOKENS[:4]), path)
    plain, started = Generate(), Generate()
    plain.load(str(files["float32", "safetensors"][0]), {})
    started.load(str(files["float32", "safetensors"][0]), {"snapshot": str(path)})
    for tokens in (TOKENS, TOKENS[:4], [1, *TOKENS[1:]], TOKENS[:5]):
        event = {"tokens": tokens, "new_tokens": 5}
        assert [*plain.invoke(event)] == [*started.invoke(event)]
    cache, left = prefix_snapshot.restore(started.snapshot, model, torch.tensor(TOKENS), 20)
    assert (cache.length, left.tolist()) == (4, TOKENS[4:])


def test_a_snapshot_of_another_model_is_refused(model, tmp_path):
    other = random_model(SHAPES["tiny-draft"], torch.Generator().manual_seed(0))
    prefix_snapshot.write(other, torch.tensor(TOKENS), tmp_path / "other")
    with pytest.raises(ValueError, match="another model"):
        prefix_snapshot.read(tmp_path / "other", model)


@pytest.mark.parametrize(
    "event",
    [
        {},
        {"tokens": []},
        {"tokens": [1.5]},
        {"tokens": [True]},
        {"tokens": [1024]},
        {"tokens": [1], "new_tokens": 0},
        {"tokens": [1], "new_tokens": 999},
        {"tokens": [1] * 1020, "new_tokens": 5},
    ],
)
def test_events_that_make_no_sense_are_refused(handler, event):
    with pytest.raises(EventError):
        [*handler.invoke(event)]


def test_impossible_configs_are_refused():
    with pytest.raises(ValueError, match="variant"):
        artifact.Config("int3")
    with pytest.raises(ValueError, match="format"):
        artifact.Config(format="npz")
