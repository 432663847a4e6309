"""Quantize a model to four bits, and count what it holds and loses.

GPTQ needs some text; the bytes are those of the packed codes, scales and zero points, so they are really saved.
"""

from reference_impls.models import tiny
from reference_impls.models.perplexity import token_perplexity
from reference_impls.quantization.apply import quantize_model, weight_bytes
from reference_impls.quantization.calibration import Calibration

model, tokens = tiny.load_target(), tiny.heldout_tokens(6144)
calibration = Calibration([*tokens[4096:].view(-1, 1, 256)])
smaller = quantize_model(model, "gptq", {"bits": 4, "group_size": 64}, calibration, effect="packed")

for name, one in (("float32", model), ("4 bits", smaller)):
    perplexity = token_perplexity(one, tokens[:4096], context_length=256)
    print(f"{name}: {weight_bytes(one):,} bytes, perplexity {perplexity:.2f}")
assert weight_bytes(smaller) < weight_bytes(model) / 4
