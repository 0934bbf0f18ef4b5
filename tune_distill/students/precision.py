"""The arithmetic of a training and its decoding, whatever the settings of the process are.

With fp32 everything is float32, on a GPU too. With bf16 the inputs and results of matrix products
are bfloat16, and so is what a feed-forward layer computes between its two products. Embeddings,
residual sums, norms, softmax, dropout, losses, gradients of weights, the weights themselves and the
optimizer's state are float32. The same holds on a CPU, but bf16 is no faster there.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

from tune_distill.spec.profile import Precision


@contextmanager
def products_in(precision: Precision, device: torch.device) -> Iterator[None]:
    """Compute the matrix products of this block in this precision."""
    with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
        yield
    # Inside an outer autocast, torch caches casts of weights until the outer one ends. After the
    # next optimizer step, the cache would hold casts of the old weights.
    torch.clear_autocast_cache()


@contextmanager
def exact_products() -> Iterator[None]:
    """Make products in this block round neither their float32 inputs nor their sums to fewer bits.

    A process may allow both, by TF32 or autocast. Its settings are restored after the block.
    """
    matmul: Any = torch.backends.cuda.matmul
    sums = matmul.allow_bf16_reduced_precision_reduction
    matmul.allow_bf16_reduced_precision_reduction = False
    try:
        with ExitStack() as stack:
            stack.enter_context(_full_float32())
            for kind in ("cpu", "cuda"):
                if torch.is_autocast_enabled(kind):
                    stack.enter_context(torch.autocast(kind, enabled=False))
            yield
    finally:
        matmul.allow_bf16_reduced_precision_reduction = sums


@contextmanager
def _full_float32() -> Iterator[None]:
    backends: Any = torch.backends
    if not hasattr(backends.cuda.matmul, "fp32_precision"):  # before torch 2.9
        before = torch.get_float32_matmul_precision()
        torch.set_float32_matmul_precision("highest")
        try:
            yield
        finally:
            torch.set_float32_matmul_precision(before)
        return
    matmuls = (backends.cuda.matmul, backends.mkldnn.matmul)
    allowed = [matmul.fp32_precision for matmul in matmuls]
    for matmul in matmuls:
        matmul.fp32_precision = "ieee"
    try:
        yield
    finally:
        for matmul, value in zip(matmuls, allowed, strict=True):
            matmul.fp32_precision = value
