"""The records that the cost model computes with. All sizes are numbers of elements unless the name gives a unit."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Shape:
    """A decoder, described far enough to count its weights, its cache and its work.

    A model is a stack of mixers (attention over everything, attention over a window, a state-space layer) and of
    feed-forward layers (dense, or a mixture of experts); the numbers of each are independent.
    """

    hidden: int
    vocab: int
    tied: bool = False  # the head is the embedding's weight
    positions: int = 0  # rows of a learned table of positions
    # Attention
    global_layers: int = 0  # see the whole context
    window_layers: int = 0  # see the last `window` tokens
    window: int = 0
    heads: int = 0
    kv_heads: int = 0
    head_dim: int = 0  # of queries and keys; with latent attention the part without positions
    # Multi-head latent attention (kv_rank > 0): what is cached is one vector of kv_rank + rope_dim a token and layer
    kv_rank: int = 0
    query_rank: int = 0  # 0: queries are not compressed
    rope_dim: int = 0
    value_dim: int = 0
    # Feed-forward
    dense_layers: int = 0
    ffn: int = 0
    ffn_matrices: int = 3  # 3: gated, 2: not
    moe_layers: int = 0
    experts: int = 0
    active_experts: int = 0  # routed ones a token uses
    expert_ffn: int = 0
    shared_ffn: int = 0  # width of the experts that every token uses, together
    # State-space layers (Mamba): the state does not grow with the context
    state_layers: int = 0
    state_inner: int = 0
    state_size: int = 0
    state_conv: int = 0
    state_rank: int = 0
    # Small weights
    norm_vectors: int = 2  # vectors of length hidden a mixer layer: one a RMSNorm, two a LayerNorm with bias
    final_norm_vectors: int = 1
    qkv_bias: bool = False
    bias: bool = False  # every linear layer has one
    qk_norm: int = 0  # numbers in the norms of queries and keys, an attention layer
    extra: int = 0  # what nothing above counts


@dataclass(frozen=True)
class WeightFormat:
    """How linear layers, embedding, head and the rest are stored, and in which arithmetic products are computed.

    group_size: weights along a row that share `scale_bits` of scales and zero points; 0: the whole row.
    super_group: scales that share `super_bits` more, where scales are rounded themselves; 0: none.
    heavy_bits: bits of the value and down projections in the layers that the format keeps wider; 0: none.
    compute: "float32", "bfloat16" (also 16-bit floats), "float8" or "int8".
    """

    bits: float
    group_size: int = 0
    scale_bits: int = 0
    super_group: int = 0
    super_bits: int = 0
    heavy_bits: float = 0
    embedding_bits: float = 16
    head_bits: float = 16
    small_bits: int = 16
    compute: str = "bfloat16"


@dataclass(frozen=True)
class KvFormat:
    """How a vector of the cache is stored. group_size: numbers that share scale_bits; 0: the whole vector."""

    bits: int
    group_size: int = 0
    scale_bits: int = 0


@dataclass(frozen=True)
class Machine:
    """One accelerator or computer. A rate of 0 is not known (or not there), and then bounds nothing."""

    memory_bytes: float
    read_bytes_per_s: float
    float32_flops_per_s: float = 0
    bfloat16_flops_per_s: float = 0  # or float16: 16-bit inputs, dense
    float8_flops_per_s: float = 0
    int8_flops_per_s: float = 0
    link_bytes_per_s: float = 0  # host to device, one way; 0: memory is shared or there is no host
    usable_share: float = 0.9  # of the memory, what a model may take: the rest is runtime, system, fragments


@dataclass(frozen=True)
class Settings:
    """What is asked of the model.

    draft_length: tokens drafted ahead (gamma), 0: no speculation. acceptance: chance that a draft is accepted.
    draft_cost: time of one draft step over that of one step of the model (0 for a lookup).
    """

    context: int = 4096  # tokens a sequence, those still to come included
    batch: int = 1  # sequences decoded together
    offload: bool = False  # weights that do not fit are streamed from the host in every step
    draft_length: int = 0
    acceptance: float = 0.7
    draft_cost: float = 0.1


@dataclass(frozen=True)
class Linear:
    """`copies` equal matrices of rows x columns. share: of them, what one token uses (1 except for experts)."""

    rows: int
    columns: int
    copies: int
    share: float
    heavy: bool  # a value or down projection


@dataclass(frozen=True)
class Step:
    """One pass: bytes read from memory, bytes streamed over the link, operations, and the seconds each takes."""

    read_bytes: float
    link_bytes: float
    flops: float
    read_s: float
    link_s: float
    compute_s: float
    seconds: float  # the largest of the three: perfect overlap
    limit: str  # which: "bandwidth", "link" or "compute"


@dataclass(frozen=True)
class Plan:
    """The answer: bytes by part, whether they fit, and lower bounds on time."""

    parameters: float
    active_parameters: float
    weight_bytes: float
    kv_bytes: float
    work_bytes: float  # estimate
    draft_bytes: float  # estimate: draft_cost of the weights
    total_bytes: float
    usable_bytes: float
    streamed_bytes: float  # weights that stay on the host
    spare_bytes: float  # negative: so much is missing
    fits: bool
    prefill: Step
    decode: Step
    prefill_s: float  # time to first token, at least
    decode_s: float  # per output token of one sequence, at least, speculation included
    tokens_per_s: float  # of all sequences together, at most
    tokens_per_target_step: float
    speculation_speedup: float  # at most
    longest_context: float  # that fits at this batch; 0: the weights alone do not fit
    largest_batch: float  # that fits at this context
    advice: str  # what to change first


@dataclass(frozen=True)
class Option:
    """A pair of formats that fits, with its plan and the bits that order the list."""

    weights: str
    kv: str
    weight_bits: float
    kv_bits: float
    plan: Plan
