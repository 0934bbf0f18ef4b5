"""The operations that take most of a T5's time, faster than torch's own.

Results differ from torch's in the last digits, because the order of sums differs.

Shape suffixes: N rows (any number of leading dimensions), K values in, M values out.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.functional import linear


def _onednn_operator() -> Any:
    """Return oneDNN's product, or None if this torch lacks it or it takes other arguments.

    On x86, torch uses MKL for float32 products. On a processor that is not Intel's, MKL uses half
    of the vector units, and oneDNN all of them. torch has no public name for this operator; its
    compiler, Inductor, calls it too.
    """
    if not torch.backends.mkldnn.is_available():
        return None
    operator: Any = getattr(torch.ops.mkldnn, "_linear_pointwise", None)
    try:
        product_11 = operator(torch.ones(1, 1), torch.ones(1, 1), None, "none", [], "")
    except (TypeError, RuntimeError):
        return None
    return operator if product_11.tolist() == [[1.0]] else None


_ONEDNN = _onednn_operator()


def product(x_NK: torch.Tensor, weight_MK: torch.Tensor) -> torch.Tensor:
    """Return `x @ weight.T`, shape (N, M), with gradients for both; bfloat16 under autocast."""
    device = x_NK.device.type
    if _ONEDNN is None or device != "cpu" or torch.is_autocast_enabled(device):
        return linear(x_NK, weight_MK)
    if torch.is_grad_enabled() and (x_NK.requires_grad or weight_MK.requires_grad):
        result_NM: torch.Tensor = _Product.apply(x_NK, weight_MK)
        return result_NM
    return _onednn(x_NK, weight_MK)


def attention_scores(
    bias_GQK: torch.Tensor, q_GQE: torch.Tensor, k_GKE: torch.Tensor
) -> torch.Tensor:
    """Return `bias + q @ k.T`, float32 (G, Q, K); `bias` is float32, or broadcasts to it."""
    k_GEK = k_GKE.transpose(1, 2)
    if q_GQE.dtype == torch.float32:
        return torch.baddbmm(bias_GQK, q_GQE, k_GEK)
    # In bfloat16 the bias would lose most of its digits, and its mask of padding would be infinite.
    return torch.bmm(q_GQE, k_GEK).float() + bias_GQK


def rms_norm(x_NK: torch.Tensor, weight_K: torch.Tensor, epsilon: float) -> torch.Tensor:
    """Return `x / sqrt(mean(x**2) + epsilon) * weight` over the last dimension, shape (N, K)."""
    if torch.is_grad_enabled() and (x_NK.requires_grad or weight_K.requires_grad):
        result_NK: torch.Tensor = _RmsNorm.apply(x_NK, weight_K, epsilon)
        return result_NK
    return x_NK * _inverse_rms(x_NK, epsilon) * weight_K


def spread(x_NK: torch.Tensor, places_M: torch.Tensor, num_places: int) -> torch.Tensor:
    """Return (num_places, K): the first M rows at `places_M`, and zeros elsewhere.

    Places must be distinct. Rows after the first M are left out.
    """
    spread_PK: torch.Tensor = _Spread.apply(x_NK, places_M, num_places)
    return spread_PK


def gather(x_PK: torch.Tensor, places_M: torch.Tensor, num_rows: int) -> torch.Tensor:
    """Return (num_rows, K): the rows at `places_M`, then zeros. Places must be distinct."""
    gathered_NK: torch.Tensor = _Gather.apply(x_PK, places_M, num_rows)
    return gathered_NK


class _Spread(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x_NK: torch.Tensor, places_M: torch.Tensor, num_places: int
    ) -> torch.Tensor:
        ctx.save_for_backward(places_M)
        ctx.num_rows = len(x_NK)
        return _spread(x_NK, places_M, num_places)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (places_M,) = ctx.saved_tensors
        return _gather(gradients[0], places_M, ctx.num_rows), None, None


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x_PK: torch.Tensor, places_M: torch.Tensor, num_rows: int
    ) -> torch.Tensor:
        ctx.save_for_backward(places_M)
        ctx.num_places = len(x_PK)
        return _gather(x_PK, places_M, num_rows)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (places_M,) = ctx.saved_tensors
        return _spread(gradients[0], places_M, ctx.num_places), None, None


def _spread(x_NK: torch.Tensor, places_M: torch.Tensor, num_places: int) -> torch.Tensor:
    zeros_PK = x_NK.new_zeros(num_places, x_NK.shape[1])
    return zeros_PK.index_copy_(0, places_M, x_NK[: len(places_M)])


def _gather(x_PK: torch.Tensor, places_M: torch.Tensor, num_rows: int) -> torch.Tensor:
    gathered_NK = x_PK.new_empty(num_rows, x_PK.shape[1])
    torch.index_select(x_PK, 0, places_M, out=gathered_NK[: len(places_M)])
    gathered_NK[len(places_M) :].zero_()
    return gathered_NK


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x_NK: torch.Tensor, weight_MK: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x_NK, weight_MK)
        return _onednn(x_NK, weight_MK)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x_NK, weight_MK = ctx.saved_tensors
        gradient_NM = gradients[0].flatten(0, -2)
        for_x = for_weight = None
        if ctx.needs_input_grad[0]:
            for_x = _onednn(gradient_NM, weight_MK.t()).view_as(x_NK)
        if ctx.needs_input_grad[1]:
            for_weight = _onednn(gradient_NM.t(), x_NK.flatten(0, -2).t())
        return for_x, for_weight


class _RmsNorm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x_NK: torch.Tensor, weight_K: torch.Tensor, epsilon: float
    ) -> torch.Tensor:
        inverse_N1 = _inverse_rms(x_NK, epsilon)
        unit_NK = x_NK * inverse_N1
        ctx.save_for_backward(unit_NK, inverse_N1, weight_K)
        return unit_NK * weight_K

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        unit_NK, inverse_N1, weight_K = ctx.saved_tensors
        [gradient_NK] = gradients
        towards_NK = (gradient_NK * unit_NK).flatten(0, -2)
        share_N1 = torch.mv(towards_NK, weight_K).view_as(inverse_N1) / weight_K.numel()
        for_x = (gradient_NK * weight_K).sub_(unit_NK * share_N1).mul_(inverse_N1)
        return for_x, towards_NK.sum(0), None


def _onednn(x_NK: torch.Tensor, weight_MK: torch.Tensor) -> torch.Tensor:
    assert _ONEDNN is not None
    result_NM: torch.Tensor = _ONEDNN(x_NK, weight_MK, None, "none", [], "")
    return result_NM


def _inverse_rms(x_NK: torch.Tensor, epsilon: float) -> torch.Tensor:
    """Return `1 / sqrt(mean(x**2) + epsilon)`, shape (N, 1)."""
    norm_N1: torch.Tensor = torch.linalg.vector_norm(x_NK, dim=-1, keepdim=True)
    return norm_N1.square_().div_(x_NK.shape[-1]).add_(epsilon).rsqrt_()
