"""Let a small model draft, and the large one verify: the same text in fewer passes.

Greedy speculative decoding changes nothing but the number of passes through the target.
"""

import torch

from reference_impls.models import tiny
from reference_impls.speculative_decoding import draft_model
from reference_impls.speculative_decoding.generate import generate

target, draft = tiny.load_target(), tiny.load_draft()
prompt = tiny.heldout_tokens(64)
drafter = draft_model.Drafter(draft, draft_model.Config(length=4))
result = generate(target, drafter, [prompt], new_tokens=32)

print(tiny.load_tokenizer().decode(torch.tensor(result.tokens[0])))
print(f"{result.tokens_per_pass:.2f} tokens a pass of the target")
assert result.tokens_per_pass > 1
