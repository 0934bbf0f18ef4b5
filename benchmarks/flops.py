"""The floating-point operations of a T5's training step, and the speed of matrix products.

A product of (m, k) by (k, n) counts as 2 m k n. Backward has two such products for each of
forward's. Attention's own products (queries by keys) are left out: at these lengths they are under
two per cent.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch

from benchmarks.workload import Shape
from tune_distill.students.t5.kernels import product

Multiply = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Product:
    """`count` products of (rows, inner) by (inner, columns)."""

    count: int
    rows: int
    inner: int
    columns: int

    @property
    def flops(self) -> float:
        return 2.0 * self.count * self.rows * self.inner * self.columns


def forward_products(shape: Shape, num_source: int, num_target: int) -> Iterator[Product]:
    """Yield the products of a forward pass over this many source and target tokens."""
    heads, layers = shape.num_heads * shape.d_kv, shape.num_layers
    # Encoder: q, k, v, o. Decoder: the same, and q and o of cross-attention.
    yield Product(3 * layers, num_source, shape.d_model, heads)
    yield Product(layers, num_source, heads, shape.d_model)
    yield Product(4 * layers, num_target, shape.d_model, heads)
    yield Product(2 * layers, num_target, heads, shape.d_model)
    # k and v of cross-attention are computed from the source.
    yield Product(2 * layers, num_source, shape.d_model, heads)
    for tokens in (num_source, num_target):
        yield Product(2 * layers, tokens, shape.d_model, shape.d_ff)
        yield Product(layers, tokens, shape.d_ff, shape.d_model)
    yield Product(1, num_target, shape.d_model, shape.vocab_size)


def step_flops(shape: Shape, num_source: int, num_target: int) -> float:
    """Return the operations of a forward and a backward pass."""
    return 3 * sum(product.flops for product in forward_products(shape, num_source, num_target))


def torch_limit(shape: Shape, num_source: int, num_target: int) -> float:
    """Return the operations a second of the step's products alone, as torch multiplies."""
    return _limit(shape, num_source, num_target, lambda left, right: left @ right.t())


def kernel_limit(shape: Shape, num_source: int, num_target: int) -> float:
    """Return the operations a second of the step's products alone, with our students' product."""
    return _limit(shape, num_source, num_target, product)


def _limit(shape: Shape, num_source: int, num_target: int, multiply: Multiply) -> float:
    spent_s = 0.0
    for each in forward_products(shape, num_source, num_target):
        x = torch.randn(each.rows, each.inner)
        weight = torch.randn(each.columns, each.inner)
        gradient = torch.randn(each.rows, each.columns)
        # y = x W', dx = dy W, dW = dy' x, as in linear layers.
        operands = ((x, weight), (gradient, weight.t()), (gradient.t(), x.t()))
        spent_s += each.count * sum(_seconds(multiply, *pair) for pair in operands)
    return step_flops(shape, num_source, num_target) / spent_s


def _seconds(
    multiply: Multiply, left: torch.Tensor, right: torch.Tensor, budget_s: float = 0.2
) -> float:
    multiply(left, right)
    times: list[float] = []
    started = time.perf_counter()
    while len(times) < 3 or time.perf_counter() - started < budget_s:
        before = time.perf_counter()
        multiply(left, right)
        times.append(time.perf_counter() - before)
    # The minimum, because this measures a limit.
    return min(times)
