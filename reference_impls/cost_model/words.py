"""What the keys of a plan mean, in words: one place for the command line and the page."""

from typing import Final

LIMITS: Final = {
    "bandwidth": "memory bandwidth: the weights and the cache must be read",
    "compute": "arithmetic: the products take longer than reading their operands",
    "link": "the link to the host: weights that stay there are streamed in every step",
}
"""What bounds a pass."""

ADVICE: Final = {
    "fewer-weight-bits": "The weights alone are more than the usable memory. Take a format of fewer bits, a smaller"
    " model, a second device, or let what does not fit be streamed from the host, which is slow.",
    "fewer-kv-bits": "The cache is larger than the weights. Shorten the context, decode fewer sequences at once, or"
    " keep the cache in fewer bits.",
    "shorter": "Weights and cache together are too large by a little. Shorten the context, or take fewer bits for"
    " whichever of the two is larger.",
    "stop-streaming": "Every step waits for weights from the host. Fewer bits a weight until all of it fits gain the"
    " most; failing that, a larger batch shares each transfer.",
    "compute-bound": "Arithmetic bounds decoding, so fewer bits a weight gain nothing here. A smaller batch lowers the"
    " time a token takes; a lower precision of the products, where the machine has it, raises the rate.",
    "cache-bound": "Reading the cache takes most of a step. Keep it in fewer bits, shorten the context, or use a model"
    " with fewer key-value heads, a window or a latent cache.",
    "weights-bound": "Reading the weights takes most of a step. Fewer bits a weight shorten it in proportion.",
    "weights-bound-room": "Reading the weights takes most of a step, and memory is left. A larger batch yields more"
    " tokens a second at hardly any cost per step; for a single sequence, fewer bits or speculation help.",
}
"""What to change first."""

PARTS: Final = {
    "weight_bytes": "weights",
    "kv_bytes": "cache of keys and values",
    "work_bytes": "working memory (estimate)",
    "draft_bytes": "draft model (estimate)",
}
"""The parts of the memory, in the order in which they are stacked."""
