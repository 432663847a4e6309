"""The fused decoder is the plain one: same outputs, same cache, same codes."""

import pytest
import torch
from torch import nn

from reference_impls.quantization import gptq, rtn
from reference_impls.quantization.apply import quantize_model
from reference_impls.quantization.calibration import Calibration
from reference_impls.quantization.fused import fuse, stack
from reference_impls.quantization.packed import pack, unpack
from tests.quantization.cases import inputs_of, small_decoder, tokens_of, weight_of


def test_it_says_the_same_with_and_without_cache():
    plain = small_decoder(dtype=torch.float64)
    fused, tokens = fuse(plain), tokens_of()
    whole = plain(tokens)
    torch.testing.assert_close(fused(tokens), whole, rtol=1e-10, atol=1e-10)
    cache = fused.new_cache(2, 16)
    parts = torch.cat([fused(tokens[:, :5], cache), *(fused(tokens[:, i : i + 1], cache) for i in range(5, 12))], 1)
    # RoPE's angles are float32 in both
    torch.testing.assert_close(parts, whole, rtol=1e-6, atol=1e-6)
    assert cache.length == 12


def test_the_plain_decoder_is_left_as_it_was():
    plain = small_decoder()
    before = {name: tensor.clone() for name, tensor in plain.state_dict().items()}
    fuse(plain)
    assert all(torch.equal(tensor, before[name]) for name, tensor in plain.state_dict().items())


@pytest.mark.parametrize("method, config", [(rtn, rtn.Config(4, 16)), (gptq, gptq.Config(3, 16))])
def test_quantizing_rows_and_stacking_them_commute(method, config):
    model, calibration = small_decoder(), Calibration([tokens_of(8, 12)])
    one = fuse(model)
    first = quantize_model(one, method, config, calibration)
    then = quantize_model(model, method, config, calibration)
    block, other = first.blocks[0], then.blocks[0]
    apart = torch.cat([getattr(other.attention, name).weight for name in ("query", "key", "value")])
    torch.testing.assert_close(block.attention.query_key_value.weight, apart, rtol=1e-5, atol=1e-5)


def test_layers_with_bias_are_refused_and_others_stacked_in_order():
    with pytest.raises(ValueError, match="without bias"):
        stack(nn.Linear(4, 4), nn.Linear(4, 4))
    layers = [nn.Linear(8, out, bias=False) for out in (2, 5)]
    inputs = inputs_of(3, 8)
    torch.testing.assert_close(stack(*layers)(inputs), torch.cat([layer(inputs) for layer in layers], -1))


def test_packing_stacked_weights_is_stacking_packed_ones():
    weights = [weight_of(6, 32, seed=seed) for seed in (0, 1)]
    codes = [unpack(pack(rtn.quantize(weight, rtn.Config(4, 16)))).codes for weight in weights]
    whole = unpack(pack(rtn.quantize(torch.cat(weights), rtn.Config(4, 16)))).codes
    assert torch.equal(whole, torch.cat(codes))
