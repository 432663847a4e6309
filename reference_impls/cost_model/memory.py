"""Bytes of weights, cache and working memory.

Paper: arXiv 2211.05102, section 3.3 (cache by kind of attention); 2305.14314, section 3 (scales rounded themselves).
Idea: codes plus what is shared by groups of codes; the cache grows with the context where attention sees all of it.
Symbols: nothing beyond the fields of the records.
Simplified: GGUF's K formats fall back to wider ones where a row is not a multiple of 256; that is not modelled.
    Blocks of a paged cache are taken as full. Working memory is an estimate.
Differs: nothing.
Cost: none to speak of.
Checked against: the bytes that this package's decoder, packed weights and caches take; the tensors of a GGUF file.
"""

from math import ceil

from reference_impls.cost_model.parameters import (
    attention_layers,
    embedding_weights,
    head_weights,
    linears,
    mixer_layers,
    small_weights,
)
from reference_impls.cost_model.records import KvFormat, Linear, Settings, Shape, WeightFormat

CHUNK = 2048  # tokens of a prompt that are taken through the model at once


def heavier_layers(layers: int) -> int:
    """Layers whose value and down projections llama.cpp's mixed formats keep wider: an eighth at each end, and of the
    rest every third.
    """
    first = layers // 8
    last = 7 * layers // 8
    return sum(1 for at in range(layers) if at < first or at >= last or (at - first) % 3 == 2)


def linear_bits(one: Linear, layers: int, form: WeightFormat) -> float:
    """Bits a weight, without scales that are counted by group."""
    share = heavier_layers(layers) / layers if form.heavy_bits > 0 and one.heavy else 0
    return share * form.heavy_bits + (1 - share) * form.bits


def matrix_bytes(one: Linear, layers: int, form: WeightFormat) -> float:
    """Bytes of one matrix: codes, one set of scales a group of a row, and what groups of scales share."""
    groups = one.rows * ceil(one.columns / form.group_size) if form.group_size > 0 else one.rows
    codes = one.rows * one.columns * linear_bits(one, layers, form)
    shared = ceil(groups / form.super_group) * form.super_bits if form.super_group > 0 else 0
    return (codes + groups * form.scale_bits + shared) / 8


def linear_bytes(shape: Shape, form: WeightFormat) -> float:
    """Bytes of all linear layers but the head."""
    layers = mixer_layers(shape)
    return sum(one.copies * matrix_bytes(one, layers, form) for one in linears(shape) if one.copies > 0)


def touched_linear_bytes(shape: Shape, form: WeightFormat, tokens: int) -> float:
    """Expected bytes of the linear layers that `tokens` tokens use together, if routing is even: of experts chosen
    with probability p by each token, 1 - (1 - p)^tokens.
    """
    layers = mixer_layers(shape)
    return sum(
        one.copies * (1 - (1 - one.share) ** tokens) * matrix_bytes(one, layers, form)
        for one in linears(shape)
        if one.copies > 0
    )


def head_bytes(shape: Shape, form: WeightFormat) -> float:
    """Bytes of the output projection, tied or not."""
    return head_weights(shape) * form.head_bits / 8


def weight_bytes(shape: Shape, form: WeightFormat) -> float:
    """Bytes of all weights. A tied table is stored once, as a head."""
    positions = shape.positions * shape.hidden * form.small_bits / 8
    table = 0 if shape.tied else (embedding_weights(shape) - shape.positions * shape.hidden) * form.embedding_bits / 8
    small = small_weights(shape) * form.small_bits / 8
    return linear_bytes(shape, form) + head_bytes(shape, form) + table + positions + small


def vector_bytes(length: int, form: KvFormat) -> float:
    """Bytes of one cached vector."""
    groups = ceil(length / form.group_size) if form.group_size > 0 else 1
    return (length * form.bits + groups * form.scale_bits) / 8


def kv_bytes_per_token(shape: Shape, form: KvFormat) -> float:
    """Bytes that one more token takes in one attention layer: keys and values of every kv head, or one latent."""
    if shape.kv_rank > 0:
        return vector_bytes(shape.kv_rank + shape.rope_dim, form)
    return 2 * shape.kv_heads * vector_bytes(shape.head_dim, form)


def state_bytes(shape: Shape) -> float:
    """Bytes of the state-space layers' states of one sequence: recurrent in 32 bits, convolution in 16."""
    return shape.state_layers * shape.state_inner * (4 * shape.state_size + 2 * shape.state_conv)


def kv_bytes(shape: Shape, form: KvFormat, context: float, batch: float) -> float:
    """Bytes of the cache of `batch` sequences of `context` tokens; a window keeps no more than it sees."""
    seen = min(context, shape.window)
    tokens = shape.global_layers * context + shape.window_layers * seen
    return batch * (tokens * kv_bytes_per_token(shape, form) + state_bytes(shape))


def work_bytes(shape: Shape, settings: Settings) -> float:
    """Estimate of working memory: one layer's activations of a chunk of the prompt in 16 bits, logits in 32 bits.

    Counted: two residual streams, queries, keys, values and what attention puts out, the widest feed-forward layer.
    """
    tokens = min(settings.batch * settings.context, max(CHUNK, settings.batch))
    attention = (2 * shape.heads + 2 * shape.kv_heads) * max(shape.head_dim + shape.rope_dim, shape.value_dim)
    experts = shape.active_experts * shape.expert_ffn + shape.shared_ffn
    wide = shape.ffn_matrices * max(shape.ffn, experts) + 2 * shape.state_inner
    mixed = attention if attention_layers(shape) > 0 else 0
    return 2 * tokens * (2 * shape.hidden + mixed + wide) + 4 * settings.batch * shape.vocab
