"""The layers of a T5, under HF's names.

Shape suffixes are those of `model.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn.functional import dropout, gelu, relu, silu

from tune_distill.students.t5.architecture import Architecture
from tune_distill.students.t5.kernels import attention_scores, product, rms_norm
from tune_distill.students.t5.layout import Layout

_FUNCTIONS: Mapping[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "gelu": gelu,
    "gelu_new": partial(gelu, approximate="tanh"),
    "relu": relu,
    "silu": silu,
}


class Matrix(nn.Module):
    """A matrix of weights, for products or for look-ups of its rows.

    It is not initialised; torch's own layers would draw random values in vain.
    """

    def __init__(self, rows: int, columns: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(rows, columns))


class Norm(nn.Module):
    def __init__(self, config: Architecture) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(config.d_model))
        self.epsilon = config.layer_norm_epsilon

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return rms_norm(x, self.weight, self.epsilon)


class Attention(nn.Module):
    """Attention with several heads; T5 does not scale the scores."""

    def __init__(self, config: Architecture, *, has_bias: bool = False) -> None:
        super().__init__()
        inner = config.num_heads * config.d_kv
        self.q = Matrix(inner, config.d_model)
        self.k = Matrix(inner, config.d_model)
        self.v = Matrix(inner, config.d_model)
        self.o = Matrix(config.d_model, inner)
        if has_bias:
            self.relative_attention_bias = Matrix(
                config.relative_attention_num_buckets, config.num_heads
            )
        self.config = config

    def split_heads(self, x_NX: torch.Tensor, parts: int, layout: Layout) -> torch.Tensor:
        """Split the result of one product into its parts, (parts, G, L, E)."""
        rows, length = layout.num_rows, layout.longest
        heads = layout.pad(x_NX).view(rows, length, parts, self.config.num_heads, self.config.d_kv)
        return heads.permute(2, 0, 3, 1, 4).reshape(parts, -1, length, self.config.d_kv)

    def look(
        self,
        q_GQE: torch.Tensor,
        k_GKE: torch.Tensor,
        v_GKE: torch.Tensor,
        bias_GQK: torch.Tensor,
        layout: Layout,
    ) -> torch.Tensor:
        """Return the attention's output, (N, D)."""
        scores_GQK = attention_scores(bias_GQK, q_GQE, k_GKE)
        shares_GQK = dropout(scores_GQK.softmax(-1), self.config.dropout_rate, self.training)
        read_BHQE = torch.bmm(shares_GQK, v_GKE).view(layout.num_rows, -1, *q_GQE.shape[1:])
        return product(layout.unpad(read_BHQE.transpose(1, 2).flatten(2)), self.o.weight)


class SelfAttentionLayer(nn.Module):
    def __init__(self, config: Architecture, *, has_bias: bool) -> None:
        super().__init__()
        self.SelfAttention = Attention(config, has_bias=has_bias)
        self.layer_norm = Norm(config)

    def forward(self, x: torch.Tensor, layout: Layout, bias_GQK: torch.Tensor) -> torch.Tensor:
        own = self.SelfAttention
        weight = torch.cat([own.q.weight, own.k.weight, own.v.weight])
        q, k, v = own.split_heads(product(self.layer_norm(x), weight), 3, layout)
        return own.look(q, k, v, bias_GQK, layout)


class CrossAttentionLayer(nn.Module):
    def __init__(self, config: Architecture) -> None:
        super().__init__()
        self.EncDecAttention = Attention(config)
        self.layer_norm = Norm(config)

    def forward(
        self,
        x: torch.Tensor,
        layout: Layout,
        keys_values: tuple[torch.Tensor, torch.Tensor],
        hidden_G1K: torch.Tensor,
    ) -> torch.Tensor:
        own = self.EncDecAttention
        [q] = own.split_heads(product(self.layer_norm(x), own.q.weight), 1, layout)
        return own.look(q, *keys_values, hidden_G1K, layout)


class Dense(nn.Module):
    def __init__(self, config: Architecture) -> None:
        super().__init__()
        if config.is_gated_act:
            self.wi_0 = Matrix(config.d_ff, config.d_model)
            self.wi_1 = Matrix(config.d_ff, config.d_model)
        else:
            self.wi = Matrix(config.d_ff, config.d_model)
        self.wo = Matrix(config.d_model, config.d_ff)
        self.config = config

    def forward(self, x: torch.Tensor, layout: Layout | None) -> torch.Tensor:
        activation = _FUNCTIONS[self.config.dense_act_fn]
        if self.config.is_gated_act:
            weight = torch.cat([self.wi_0.weight, self.wi_1.weight])
            gate, value = product(x, weight).chunk(2, dim=-1)
            inner = activation(gate) * value
        else:
            inner = activation(product(x, self.wi.weight))
        if layout is not None:
            inner = layout.dropout(inner, self.config.dropout_rate, self.training)
        return product(inner, self.wo.weight)


class FeedForwardLayer(nn.Module):
    def __init__(self, config: Architecture) -> None:
        super().__init__()
        self.DenseReluDense = Dense(config)
        self.layer_norm = Norm(config)

    def forward(self, x: torch.Tensor, layout: Layout | None = None) -> torch.Tensor:
        """Return the layer's output; without a layout there is no dropout."""
        result: torch.Tensor = self.DenseReluDense(self.layer_norm(x), layout)
        return result


class Block(nn.Module):
    layer: Any  # a ModuleList, whose members torch does not type

    def __init__(self, config: Architecture, *, is_decoder: bool, has_bias: bool) -> None:
        super().__init__()
        layers: list[nn.Module] = [SelfAttentionLayer(config, has_bias=has_bias)]
        if is_decoder:
            layers.append(CrossAttentionLayer(config))
        self.layer = nn.ModuleList([*layers, FeedForwardLayer(config)])
