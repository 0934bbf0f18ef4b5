"""Kernels compute what torch's own operations compute, and the same gradients."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch
from torch.nn.functional import linear

from tune_distill.students.t5 import kernels
from tune_distill.students.t5.kernels import product, rms_norm


def plain_norm(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * weight


@pytest.mark.parametrize("onednn", [True, False])
@pytest.mark.parametrize("shape", [(7, 5), (3, 4, 5), (1, 5)])
def test_products_and_norms_and_their_gradients(
    shape: tuple[int, ...], onednn: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not onednn:
        monkeypatch.setattr(kernels, "_ONEDNN", None)
    torch.manual_seed(0)
    cases: list[tuple[Callable[..., torch.Tensor], Callable[..., torch.Tensor], torch.Tensor]] = [
        (product, linear, torch.randn(6, 5)),
        (lambda x, weight: rms_norm(x, weight, 1e-6), plain_norm, torch.randn(5)),
    ]
    for ours, theirs, weight in cases:
        x = torch.randn(shape)
        found = []
        for compute in (ours, theirs):
            inputs = [value.clone().requires_grad_() for value in (x, weight)]
            result = compute(*inputs)
            (result * torch.arange(result.numel()).view_as(result)).sum().backward()
            found.append([result.detach(), *(value.grad for value in inputs)])
        torch.testing.assert_close(found[0], found[1], rtol=1e-4, atol=1e-4)
        with torch.inference_mode():
            torch.testing.assert_close(ours(x, weight), found[1][0], rtol=1e-4, atol=1e-5)


def test_products_go_through_onednn_here() -> None:
    if not torch.backends.mkldnn.is_available():
        pytest.skip("torch was built without oneDNN")
    assert kernels._ONEDNN is not None


@pytest.mark.parametrize("operator", ["missing", "other arguments", "refusing", "wrong"])
def test_without_its_operator_products_are_torchs_own(
    operator: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object) -> None:
        raise RuntimeError("not implemented")

    operators = {
        "other arguments": lambda x, weight: x @ weight.T,
        "refusing": refuse,
        "wrong": lambda *arguments: torch.zeros(1, 1),
    }
    found = {} if operator == "missing" else {"_linear_pointwise": operators[operator]}
    monkeypatch.setattr(kernels.torch.ops, "mkldnn", SimpleNamespace(**found))
    assert kernels._onednn_operator() is None
    monkeypatch.setattr(kernels, "_ONEDNN", kernels._onednn_operator())
    x, weight = torch.randn(3, 4), torch.randn(2, 4)
    assert torch.equal(product(x, weight), linear(x, weight))


def test_half_of_the_gradients_may_be_unwanted() -> None:
    x, weight = torch.randn(3, 4), torch.randn(2, 4, requires_grad=True)
    product(x, weight).sum().backward()
    torch.testing.assert_close(weight.grad, x.sum(0).expand(2, 4))
