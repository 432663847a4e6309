"""A decode step over shapes that never change, of which one block is compiled and called for every layer.

Paper: arXiv 2306.00978, section 4.2 (merging what lies between products); "Accelerating Generative AI with PyTorch II:
    GPT, Fast", a post of PyTorch's authors, for the cache of fixed size and the compiled step.
Idea: a small model's step at batch 1 is a thousand tiny operations, whose dispatch costs more than reading the weights;
    with a cache of fixed size every step has the same shapes, so a compiler can merge what lies between two products.
Symbols: as in models/decoder.py.
Simplified: one position a step, the same for the whole batch; prefill stays with the plain decoder (`load`).
Differs: one block is compiled in place of the whole step, which takes seconds and not most of a minute. Linear layers
    stay calls of their own kernels, one opaque operation each. Attention goes over the whole capacity and masks what
    is not yet written.
Cost: 4 products and as many merged loops a layer; attention reads `capacity` positions, however few are written.
Checked against: the plain decoder on the same weights, compiled and not, token after token behind a prefill.
"""

from collections.abc import Callable
from functools import cache
from typing import Any
from weakref import WeakValueDictionary

import torch
from torch import Tensor, nn
from torch.nn import functional

from reference_impls.models.cache import ContiguousCache
from reference_impls.models.decoder import Decoder, rotation
from reference_impls.quantization.fused import FusedAttention, fuse

Kind = tuple[torch.Size, torch.dtype, torch.device]
_LAYERS: "WeakValueDictionary[int, nn.Module]" = WeakValueDictionary()


def _linear_by_number(inputs: Tensor, numbers: Tensor, which: int, out: int) -> Tensor:  # noqa: ARG001 for the compiler
    """The layer that is registered under numbers[which]. inputs: (batch, in); numbers: (layers,) -> (batch, out)"""
    found: Tensor = _LAYERS[int(numbers[which])](inputs)
    return found


def _shape_of(inputs: Tensor, numbers: Tensor, which: int, out: int) -> Tensor:  # noqa: ARG001 only the shape
    return inputs.new_empty(inputs.shape[0], out)


@cache
def _define_operation() -> None:
    """Tell torch of the operation; with the first layer, since to define one takes an import of torch's compiler."""
    name = "frugalfm::linear_by_number"
    torch.library.define(name, "(Tensor inputs, Tensor numbers, int which, int out) -> Tensor")
    torch.library.impl(name, "CompositeExplicitAutograd", _linear_by_number)
    torch.library.register_fake(name, _shape_of)


def register(*layers: nn.Module) -> Tensor:
    """Numbers by which the operation finds the layers as long as they live: an argument that needs no compiling anew.

    -> (layers,)
    """
    _define_operation()
    for layer in layers:
        _LAYERS[id(layer)] = layer
    return torch.tensor([id(layer) for layer in layers])


def block_step(
    x: Tensor,
    cache: tuple[Tensor, Tensor],
    turns: tuple[Tensor, Tensor],
    position: Tensor,
    norms: tuple[Tensor, Tensor],
    numbers: Tensor,
    config: tuple[int, int, int, int, float],
) -> Tensor:
    """One decoder block for one new token a sequence.

    x: (batch, hidden); cache: keys and values, (batch, kv_heads, capacity, head_dim) each, written at `position`: (1,);
    turns: cos and sin, (capacity, head_dim / 2) each; norms: the weights of both, (hidden,) each;
    numbers: (4,), of the products; config: hidden, heads, kv_heads, ffn, eps -> as x
    """
    hidden, heads, kv_heads, ffn, eps = config
    head_dim = cache[0].shape[3]
    product = torch.ops.frugalfm.linear_by_number
    inputs = functional.rms_norm(x, (hidden,), norms[0], eps)
    states = product(inputs, numbers, 0, (heads + 2 * kv_heads) * head_dim).unflatten(-1, (-1, head_dim))
    mixed = attend(states, *cache, turns, position)
    x = x + product(mixed, numbers, 1, hidden)
    inputs = functional.rms_norm(x, (hidden,), norms[1], eps)
    gate, up = product(inputs, numbers, 2, 2 * ffn).chunk(2, -1)
    out: Tensor = x + product(functional.silu(gate) * up, numbers, 3, hidden)
    return out


def attend(states: Tensor, keys: Tensor, values: Tensor, turns: tuple[Tensor, Tensor], position: Tensor) -> Tensor:
    """Turn, store, attend; by sums in place of matrix products, so that they merge with what is around them.

    states: (batch, heads + 2 * kv_heads, head_dim), queries, keys, values; the others as in `block_step`
    -> (batch, heads * head_dim)
    """
    kv_heads, capacity, head_dim = keys.shape[1:]
    cos, sin = (turn[position] for turn in turns)
    low, high = states[:, :-kv_heads].chunk(2, -1)
    turned = torch.cat([low * cos - high * sin, high * cos + low * sin], -1).to(states.dtype)
    keys.index_copy_(2, position, turned[:, -kv_heads:, None])
    values.index_copy_(2, position, states[:, -kv_heads:, None])
    wide = torch.promote_types(states.dtype, torch.float32)
    queries = turned[:, :-kv_heads].reshape(len(states), kv_heads, -1, 1, head_dim).to(wide) * head_dim**-0.5
    scores = (queries * keys[:, :, None].to(wide)).sum(-1)  # (batch, kv_heads, groups, capacity)
    seen = torch.arange(capacity, device=keys.device) <= position
    shares = scores.masked_fill(~seen, -torch.inf).softmax(-1)
    mixed: Tensor = (shares[..., None] * values[:, :, None].to(wide)).sum(-2)  # (batch, kv_heads, groups, head_dim)
    return mixed.flatten(1).to(states.dtype)


@cache
def compiled_block(kinds: tuple[Kind, ...], config: tuple[int, int, int, int, float]) -> Callable[..., Tensor]:
    """`block_step` through torch's compiler, which on a CPU needs a C++ compiler; made once a process and shape.

    kinds: of the tensors in the order of `block_step`. The graph is traced and compiled directly, not by
    `torch.compile`: its guards ask at every call whether the arguments are still of these kinds, which takes longer
    than a small layer, and the decoder below passes no others. For the same reason the asserts on sizes are off.
    """

    from torch.fx.experimental.proxy_tensor import make_fx  # brings in the compiler: not with the module

    def flat(x: Tensor, *rest: Tensor) -> tuple[Tensor]:
        keys, values, cos, sin, position, first_norm, second_norm, numbers = rest
        norms = first_norm, second_norm
        return (block_step(x, (keys, values), (cos, sin), position, norms, numbers, config),)

    examples: list[Any] = [torch.empty(shape, dtype=dtype, device=device) for shape, dtype, device in kinds]
    with torch.no_grad():
        graph = make_fx(flat, tracing_mode="fake")(*examples)
        compiled = torch._inductor.compile(graph, examples, options={"size_asserts": False})
    # Its type says that it may be text too, which is for compiling ahead of time.
    call: Any = compiled

    # As block_step is called; the shapes are in the graph.
    return lambda x, cache, turns, position, norms, numbers, _: call(x, *cache, *turns, position, *norms, numbers)[0]


class StaticDecoder(nn.Module):
    """A decoder that holds a cache of fixed size and takes one token a sequence at a time."""

    def __init__(
        self, model: Decoder, capacity: int, batch: int = 1, compiled: bool = True, storage: Tensor | None = None
    ) -> None:
        """model: plain, or fused and then packed (`quantize_model(fuse(model), ..., effect="kernel")`);
        storage: that of a cache to go on with, (layers, 2, batch, kv_heads, capacity, head_dim), finite throughout.
        """
        super().__init__()
        found: Any = model
        self.model = found if isinstance(found.blocks[0].attention, FusedAttention) else fuse(model)
        blocks: Any = self.model.blocks
        c, weight = model.config, model.embedding.weight
        self.shape = (c.hidden, c.heads, c.kv_heads, c.ffn, c.norm_eps)
        self.numbers = [
            register(one.attention.query_key_value, one.attention.output, one.ffn.gate_up, one.ffn.down)
            for one in blocks
        ]
        cos, sin = rotation(torch.arange(capacity, device=weight.device), c.head_dim, c.rope_theta)
        self.turns = cos[0, 0].contiguous(), sin[0, 0].contiguous()
        shape = (c.layers, 2, batch, c.kv_heads, capacity, c.head_dim)
        if storage is not None and (storage.shape != shape or storage.dtype != weight.dtype):
            raise ValueError(
                f"storage: expected {weight.dtype} of {shape}, got {storage.dtype} of {tuple(storage.shape)}"
            )
        self.storage = torch.zeros(shape, dtype=weight.dtype, device=weight.device) if storage is None else storage
        self.caches = [(layer[0], layer[1]) for layer in self.storage]
        self.block = self._compiled(batch) if compiled else block_step

    def _compiled(self, batch: int) -> Callable[..., Tensor]:
        """The block for the kinds of tensors that every layer has."""
        first: Any = self.model.blocks[0]
        position = torch.zeros(1, dtype=torch.long, device=self.storage.device)
        norms = first.attention_norm.weight, first.ffn_norm.weight
        x = self.storage.new_empty(batch, self.shape[0])
        tensors = x, *self.caches[0], *self.turns, position, *norms, self.numbers[0]
        return compiled_block(tuple((one.shape, one.dtype, one.device) for one in tensors), self.shape)

    def load(self, held: ContiguousCache) -> None:
        """Take over what a prefill of the plain decoder left in its cache. Raises ValueError where it is too long."""
        room = self.storage.shape[4]
        if held.length > room:
            raise ValueError(f"the step's cache has {room} positions, {held.length} are to be held")
        self.storage[..., : held.length, :] = held.storage[..., : held.length, :]

    def forward(self, tokens: Tensor, position: Tensor) -> Tensor:
        """tokens: (batch,); position: (1,), below the capacity -> scores of the next token (batch, vocab)"""
        x = self.model.embedding(tokens)
        for block, cached, numbers in zip(self.model.blocks, self.caches, self.numbers, strict=True):
            norms = block.attention_norm.weight, block.ffn_norm.weight
            x = self.block(x, cached, self.turns, position, norms, numbers, self.shape)
        logits: Tensor = self.model.head(self.model.norm(x))
        return logits
