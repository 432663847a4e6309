"""How many weights a decoder has, from its shape.

Paper: arXiv 2305.13245 (grouped queries); 2405.04434, section 2.1 (latent attention); 2312.00752, figure 3 (Mamba).
Idea: a model's weights are its matrices, counted, plus small vectors; experts count once each, but a token uses few.
Symbols: nothing beyond the fields of Shape.
Simplified: adapters, multi-token-prediction heads and vision towers are not counted.
Differs: nothing.
Cost: none to speak of.
Checked against: published totals (within 1 %, most to the last digit); this package's decoder; transformers' models.
"""

from reference_impls.cost_model.records import Linear, Shape


def attention_layers(shape: Shape) -> int:
    """Layers with attention, over everything or a window."""
    return shape.global_layers + shape.window_layers


def mixer_layers(shape: Shape) -> int:
    """Layers of the stack: attention and state-space ones."""
    return shape.global_layers + shape.window_layers + shape.state_layers


def attention_linears(shape: Shape) -> list[Linear]:
    """Queries, keys, values and output: heads * head_dim wide, keys and values kv_heads * head_dim."""
    layers = attention_layers(shape)
    hidden = shape.hidden
    if shape.kv_rank > 0:
        return latent_linears(shape)
    wide = shape.heads * shape.head_dim
    narrow = shape.kv_heads * shape.head_dim
    return [
        Linear(rows=wide, columns=hidden, copies=layers, share=1, heavy=False),
        Linear(rows=narrow, columns=hidden, copies=layers, share=1, heavy=False),
        Linear(rows=narrow, columns=hidden, copies=layers, share=1, heavy=True),
        Linear(rows=hidden, columns=wide, copies=layers, share=1, heavy=False),
    ]


def latent_linears(shape: Shape) -> list[Linear]:
    """Latent attention: down to the ranks and up to the heads; positions have rope_dim dimensions of their own."""
    layers = attention_layers(shape)
    hidden = shape.hidden
    heads = shape.heads
    queries = heads * (shape.head_dim + shape.rope_dim)
    width = shape.query_rank if shape.query_rank > 0 else hidden
    down = layers if shape.query_rank > 0 else 0
    return [
        Linear(rows=shape.query_rank, columns=hidden, copies=down, share=1, heavy=False),
        Linear(rows=queries, columns=width, copies=layers, share=1, heavy=False),
        Linear(rows=shape.kv_rank + shape.rope_dim, columns=hidden, copies=layers, share=1, heavy=False),
        Linear(
            rows=heads * (shape.head_dim + shape.value_dim), columns=shape.kv_rank, copies=layers, share=1, heavy=False
        ),
        Linear(rows=hidden, columns=heads * shape.value_dim, copies=layers, share=1, heavy=False),
    ]


def feed_forward_linears(shape: Shape) -> list[Linear]:
    """Dense layers, routed experts, and the experts that every token uses."""
    hidden = shape.hidden
    up = shape.ffn_matrices - 1
    moe = shape.moe_layers
    shared = moe if shape.shared_ffn > 0 else 0
    all_experts = moe * shape.experts
    share = shape.active_experts / shape.experts if shape.experts > 0 else 1
    return [
        Linear(rows=shape.ffn, columns=hidden, copies=up * shape.dense_layers, share=1, heavy=False),
        Linear(rows=hidden, columns=shape.ffn, copies=shape.dense_layers, share=1, heavy=True),
        Linear(rows=shape.expert_ffn, columns=hidden, copies=up * all_experts, share=share, heavy=False),
        Linear(rows=hidden, columns=shape.expert_ffn, copies=all_experts, share=share, heavy=True),
        Linear(rows=shape.shared_ffn, columns=hidden, copies=up * shared, share=1, heavy=False),
        Linear(rows=hidden, columns=shape.shared_ffn, copies=shared, share=1, heavy=True),
    ]


def state_linears(shape: Shape) -> list[Linear]:
    """A Mamba layer's matrices: in (twice the inner width), the input-dependent step and gates, out."""
    layers = shape.state_layers
    inner = shape.state_inner
    return [
        Linear(rows=2 * inner, columns=shape.hidden, copies=layers, share=1, heavy=False),
        Linear(rows=shape.state_rank + 2 * shape.state_size, columns=inner, copies=layers, share=1, heavy=False),
        Linear(rows=inner, columns=shape.state_rank, copies=layers, share=1, heavy=False),
        Linear(rows=shape.hidden, columns=inner, copies=layers, share=1, heavy=False),
    ]


def linears(shape: Shape) -> list[Linear]:
    """Every matrix but embedding, head and routers."""
    return [*attention_linears(shape), *feed_forward_linears(shape), *state_linears(shape)]


def linear_weights(shape: Shape) -> float:
    """Weights of all matrices of `linears`."""
    return sum(one.rows * one.columns * one.copies for one in linears(shape))


def active_linear_weights(shape: Shape) -> float:
    """Of those, what one token uses."""
    return sum(one.rows * one.columns * one.copies * one.share for one in linears(shape))


def embedding_weights(shape: Shape) -> int:
    """Tables of tokens and of learned positions."""
    return (shape.vocab + shape.positions) * shape.hidden


def head_weights(shape: Shape) -> int:
    """The output projection, tied or not."""
    return shape.vocab * shape.hidden


def bias_weights(shape: Shape) -> int:
    """Biases of linear layers."""
    if shape.bias:
        return sum(one.rows * one.copies for one in linears(shape))
    if shape.qkv_bias:
        return attention_layers(shape) * (shape.heads + 2 * shape.kv_heads) * shape.head_dim
    return 0


def small_weights(shape: Shape) -> float:
    """Norms, biases, routers, a state-space layer's vectors: what no format rounds."""
    norms = (shape.norm_vectors * mixer_layers(shape) + shape.final_norm_vectors) * shape.hidden
    inside = (shape.qk_norm + shape.kv_rank + shape.query_rank) * attention_layers(shape)
    routers = shape.moe_layers * shape.experts * shape.hidden
    # convolution with bias, decay (inner x size), skip, bias of the step
    state = shape.state_layers * shape.state_inner * (shape.state_conv + 1 + shape.state_size + 2)
    return norms + inside + routers + state + bias_weights(shape) + shape.extra


def total_parameters(shape: Shape) -> float:
    """All weights; a tied head counts once."""
    head = 0 if shape.tied else head_weights(shape)
    return linear_weights(shape) + embedding_weights(shape) + head + small_weights(shape)


def active_parameters(shape: Shape) -> float:
    """Weights that one token uses, the whole embedding counted, as publishers do."""
    return total_parameters(shape) - linear_weights(shape) + active_linear_weights(shape)
