"""Take away half of all weights, by three rules.

Magnitude looks at the weights alone, Wanda at their inputs too, SparseGPT also moves the weights that stay.
"""

from reference_impls.models import tiny
from reference_impls.models.perplexity import token_perplexity
from reference_impls.pruning import magnitude, sparsegpt, wanda
from reference_impls.pruning.apply import prune_model, sparsity
from reference_impls.quantization.calibration import Calibration

model, tokens = tiny.load_target(), tiny.heldout_tokens(6144)
calibration = Calibration([*tokens[4096:].view(-1, 1, 256)])

for method in (magnitude, wanda, sparsegpt):
    pruned = prune_model(model, method, method.Config(sparsity=0.5), calibration)
    perplexity = token_perplexity(pruned, tokens[:2048], context_length=256)
    print(f"{method.__name__}: {sparsity(pruned):.0%} zeros, perplexity {perplexity:.1f}")
    assert abs(sparsity(pruned) - 0.5) < 0.01
