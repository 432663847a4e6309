"""Hadamard matrices: entries of one size, rows at right angles, for rotations that spread outliers."""

import torch
from torch import Tensor


def hadamard(size: int, dtype: torch.dtype = torch.float32, device: torch.device | None = None) -> Tensor:
    """An orthogonal matrix with entries +-1/sqrt(size) where one can be built here, else in equal blocks.

    Built: products of Sylvester's order 2 and Paley's orders p + 1 (p prime, 3 modulo 4). Where a factor of the size is
    left over (43 of 11008), the matrix is block-diagonal: it mixes within blocks of the largest order that divides.
    -> (size, size)
    """
    order = max(found for found in _orders(size))
    block = torch.ones(1, 1, dtype=torch.float64)
    for factor in _orders(order)[order]:
        block = torch.kron(block, _SYLVESTER if factor == 2 else _paley(factor))
    whole: Tensor = torch.kron(torch.eye(size // order, dtype=torch.float64), block)
    return whole.div(order**0.5).to(device, dtype)


_SYLVESTER = torch.tensor([[1.0, 1.0], [1.0, -1.0]], dtype=torch.float64)


def _orders(size: int) -> dict[int, tuple[int, ...]]:
    """Every order that divides `size` and can be built, with the factors it is built of."""
    factors = [f for f in range(2, size + 1) if size % f == 0 and (f == 2 or (f % 4 == 0 and _is_prime(f - 1)))]
    built: dict[int, tuple[int, ...]] = {1: ()}
    for order in (d for d in range(2, size + 1) if size % d == 0):
        for factor in factors:
            if order % factor == 0 and order // factor in built:
                built.setdefault(order, (*built[order // factor], factor))
    return built


def _is_prime(number: int) -> bool:
    return number > 1 and all(number % d for d in range(2, int(number**0.5) + 1))


def _paley(order: int) -> Tensor:
    """Paley's first construction, of prime p = order - 1: (order, order) of +-1."""
    prime = order - 1
    squares = {value * value % prime for value in range(1, prime)}
    character = torch.tensor([0.0] + [1.0 if v in squares else -1.0 for v in range(1, prime)], dtype=torch.float64)
    index = torch.arange(prime)
    skew = torch.zeros(order, order, dtype=torch.float64)  # skew-symmetric, as p is 3 modulo 4
    skew[0, 1:], skew[1:, 0] = 1, -1
    skew[1:, 1:] = character[(index[:, None] - index) % prime]
    return skew + torch.eye(order, dtype=torch.float64)


def random_hadamard(size: int, generator: torch.Generator, dtype: torch.dtype = torch.float32) -> Tensor:
    """A Hadamard rotation of randomly signed inputs. -> (size, size), orthogonal, on the generator's device"""
    signs = torch.randint(0, 2, (size,), generator=generator, device=generator.device) * 2.0 - 1
    return signs.to(dtype)[:, None] * hadamard(size, dtype, generator.device)
