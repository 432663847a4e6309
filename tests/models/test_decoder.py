import json
from dataclasses import replace

import pytest
import torch
from torch import nn

from reference_impls.models.decoder import RMSNorm, rotate, rotation
from reference_impls.models.generate import pad_left, step_inputs
from reference_impls.models.shapes import SHAPES, parameter_count, random_model
from reference_impls.models.weights import config_to_hugging_face, load_hugging_face, save_hugging_face
from tests.models.conftest import SMALL, lively, seeded, some_tokens

# cached and parallel passes sum the same products in another order: a few hundred roundings of the dtype at most
TOLERANCE = {torch.float64: 1e-12, torch.float32: 5e-4}


@pytest.mark.parametrize("tied", [False, True])
def test_logits_equal_transformers(tmp_path, tied):
    transformers = pytest.importorskip("transformers")
    model = lively(replace(SMALL, tied=tied), torch.float32)
    save_hugging_face(model, tmp_path)
    theirs = transformers.LlamaForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    tokens = some_tokens(2, 40)
    expected = theirs(tokens).logits
    # float32 sums in another order, on logits of this scale
    assert torch.allclose(model(tokens), expected, atol=1e-5 * expected.abs().max().item(), rtol=0)


def test_transformers_writes_what_we_read(tmp_path):
    transformers = pytest.importorskip("transformers")
    fields = config_to_hugging_face(SMALL, torch.float32)
    theirs = transformers.LlamaForCausalLM(transformers.LlamaConfig(**fields)).eval()
    theirs.save_pretrained(tmp_path)
    model = load_hugging_face(tmp_path)
    assert model.config == SMALL, json.loads((tmp_path / "config.json").read_text())
    tokens = some_tokens(1, 30)
    assert torch.allclose(model(tokens), theirs(tokens).logits, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("pieces", [[1] * 40, [20, 1, 1, 18], [3, 37], [39, 1], [40]])
def test_cached_pass_equals_parallel_pass(dtype, pieces):
    model, tokens = lively(dtype=dtype), some_tokens(2, 40)
    cache = model.new_cache(batch=2, capacity=40)
    parts = [model(part, cache) for part in tokens.split(pieces, 1)]
    whole = model(tokens)
    assert torch.allclose(torch.cat(parts, 1), whole, atol=TOLERANCE[dtype] * whole.abs().max().item(), rtol=0)


def test_padded_batch_equals_each_row_alone():
    model = lively()
    prompts = [some_tokens(length, seed=length) for length in (3, 40, 17)]
    tokens, valid = pad_left(prompts)
    positions, mask = step_inputs(valid, 40)
    together = model(tokens, positions=positions, mask=mask)
    for row, prompt in enumerate(prompts):
        assert torch.allclose(together[row, -len(prompt) :], model(prompt[None])[0], atol=1e-11)


def test_padded_batch_stays_equal_in_decode():
    model = lively()
    rows = [some_tokens(length, seed=length) for length in (9, 21)]
    tokens, valid = pad_left([row[:-1] for row in rows])
    cache = model.new_cache(2)
    model(tokens, cache, *step_inputs(valid, tokens.shape[1]))
    valid = torch.cat([valid, torch.ones(2, 1, dtype=torch.bool)], 1)
    last = model(torch.stack([row[-1:] for row in rows]), cache, *step_inputs(valid, 1))
    for row, tokens in enumerate(rows):
        assert torch.allclose(last[row, 0], model(tokens[None])[0, -1], atol=1e-11)


def test_tree_mask_equals_each_branch_alone():
    """Two continuations of one prompt in one pass: each token sees the prompt and its own branch only."""
    model, prompt, left, right = lively(), some_tokens(1, 8), some_tokens(1, 2, seed=5), some_tokens(1, 3, seed=6)
    cache = model.new_cache()
    model(prompt, cache)
    positions = torch.tensor([8, 9, 8, 9, 10])
    mask = torch.zeros(5, 13, dtype=torch.bool)
    mask[:, :8] = True
    mask[0:2, 8:10] = torch.ones(2, 2).tril().bool()
    mask[2:5, 10:13] = torch.ones(3, 3).tril().bool()
    both = model(torch.cat([left, right], 1), cache, positions, mask)
    assert torch.allclose(both[:, :2], model(torch.cat([prompt, left], 1))[:, 8:], atol=1e-11)
    assert torch.allclose(both[:, 2:], model(torch.cat([prompt, right], 1))[:, 8:], atol=1e-11)


def test_later_tokens_change_nothing_before_them():
    model, tokens = lively(), some_tokens(1, 50)
    changed = tokens.clone()
    changed[0, 30] = (changed[0, 30] + 1) % SMALL.vocab
    before, after = model(tokens), model(changed)
    assert torch.equal(before[:, :30], after[:, :30])
    assert not torch.allclose(before[:, 30:], after[:, 30:])


def test_rope_products_depend_on_the_distance_only():
    queries, keys = torch.randn(2, 1, 1, 1, 10, dtype=torch.float64, generator=seeded())

    def product(query_at: int, key_at: int) -> torch.Tensor:
        at = [rotation(torch.tensor([position]), 10, 10_000.0) for position in (query_at, key_at)]
        return (rotate(queries, at[0]) * rotate(keys, at[1])).sum()

    # the angles are float32: at position 1000 they are right to 1000 * 2**-24 = 6e-5
    assert torch.allclose(product(7, 3), product(1004, 1000), atol=1e-3)
    assert not torch.allclose(product(7, 3), product(7, 4), atol=1e-3)


def test_rope_by_hand():
    """head_dim 4, theta 100: the pair (0, 2) turns by p, the pair (1, 3) by p / 10."""
    turned = rotate(torch.tensor([1.0, 1.0, 0.0, 0.0]).view(1, 1, 1, 4), rotation(torch.tensor([2]), 4, 100.0))
    # cos 2, cos 0.2, sin 2, sin 0.2
    expected = torch.tensor([-0.4161468, 0.9800666, 0.9092974, 0.1986693])
    assert torch.allclose(turned.flatten(), expected, atol=1e-6)


def test_rms_norm_by_hand():
    norm = RMSNorm(2, eps=0.0)
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([1.0, 2.0]))
    # root of (9 + 16) / 2 = 3.5355339
    assert torch.allclose(norm(torch.tensor([3.0, 4.0])), torch.tensor([0.8485281, 2.2627417]))


def test_too_many_positions_are_refused():
    model = lively()
    with pytest.raises(ValueError, match="128 positions, 129"):
        model(some_tokens(1, 129))


@pytest.mark.parametrize("change", [{"kv_heads": 4}, {"head_dim": 9}, {"layers": 0}])
def test_impossible_shapes_are_refused(change):
    with pytest.raises(ValueError, match=next(iter(change))):
        replace(SMALL, **change)


@pytest.mark.parametrize("config", [SMALL, replace(SMALL, tied=True), SHAPES["tiny-draft"]])
def test_parameter_count_is_that_of_the_modules(config):
    assert parameter_count(config) == sum(p.numel() for p in random_model(config, seeded()).parameters())


@pytest.mark.parametrize(
    ("name", "count"),
    [("smollm2-135m", 134_515_008), ("llama-3-8b", 8_030_261_248)],  # the published models' totals
)
def test_named_shapes_have_the_published_size(name, count):
    assert parameter_count(SHAPES[name]) == count


def test_random_model_is_its_generators():
    first, again, other = (random_model(SMALL, seeded(seed), torch.bfloat16) for seed in (4, 4, 5))
    assert torch.equal(first.head.weight, again.head.weight)
    assert not torch.equal(first.head.weight, other.head.weight)
    assert {p.dtype for p in first.parameters()} == {torch.bfloat16}


def test_tied_head_is_the_embedding():
    model = random_model(replace(SMALL, tied=True), seeded())
    assert model.head.weight is model.embedding.weight


def test_every_product_with_weights_is_a_linear():
    """Weight transforms look for nn.Linear: 7 in a block and the head."""
    assert sum(isinstance(module, nn.Linear) for module in lively().modules()) == 7 * SMALL.layers + 1


def test_attention_can_be_replaced_per_layer():
    model, tokens = lively(), some_tokens(1, 5)
    usual = model(tokens)
    model.blocks[1].attention.attend = lambda queries, keys, values, mask: torch.zeros_like(queries)
    assert not torch.allclose(model(tokens), usual)
