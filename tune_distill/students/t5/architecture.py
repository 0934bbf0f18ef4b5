"""A T5's sizes and options, which the driver sends to the workers; imports no torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

from tune_distill.spec.errors import StudentError

ACTIVATIONS = ("gelu", "gelu_new", "relu", "silu")
"""The activations of feed-forward layers that students may have, by HF's names."""


@dataclass(frozen=True)
class Architecture:
    """A T5's sizes and options, by the names of HF's configuration."""

    vocab_size: int
    d_model: int
    d_kv: int
    d_ff: int
    num_layers: int
    num_decoder_layers: int
    num_heads: int
    relative_attention_num_buckets: int
    relative_attention_max_distance: int
    dropout_rate: float
    layer_norm_epsilon: float
    dense_act_fn: str
    is_gated_act: bool
    scale_decoder_outputs: bool
    tied_head: bool
    pad_token_id: int
    eos_token_ids: tuple[int, ...]
    decoder_start_token_id: int

    def __post_init__(self) -> None:
        """Raise StudentError if the activation is not supported."""
        if self.dense_act_fn not in ACTIVATIONS:
            gated = "gated-" if self.is_gated_act else ""
            raise StudentError(
                f"student.source: feed_forward_proj must be one of {', '.join(ACTIVATIONS)}, plain "
                f"or gated, got '{gated}{self.dense_act_fn}'; use another T5"
            )

    @classmethod
    def of(cls, config: Any, *, tied_head: bool) -> Architecture:
        """Return the architecture that HF's configuration of a T5 describes.

        Raises:
            StudentError: the activation is not supported.
        """
        names = {field.name for field in fields(cls)} - {"tied_head", "eos_token_ids"}
        eos = config.eos_token_id
        return cls(
            **{name: getattr(config, name) for name in names},
            tied_head=tied_head,
            eos_token_ids=(eos,) if isinstance(eos, int) else tuple(eos or ()),
        )

    def shapes(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        """Yield the name and shape of each weight, with HF's names and order; allocate nothing."""
        yield "shared.weight", (self.vocab_size, self.d_model)
        for stack, count in (("encoder", self.num_layers), ("decoder", self.num_decoder_layers)):
            for index in range(count):
                yield from self._block(f"{stack}.block.{index}.layer", stack, has_bias=index == 0)
            yield f"{stack}.final_layer_norm.weight", (self.d_model,)
        if not self.tied_head:
            yield "lm_head.weight", (self.vocab_size, self.d_model)

    def _block(
        self, prefix: str, stack: str, *, has_bias: bool
    ) -> Iterator[tuple[str, tuple[int, ...]]]:
        yield from self._attention(f"{prefix}.0.SelfAttention")
        if has_bias:
            buckets = self.relative_attention_num_buckets, self.num_heads
            yield f"{prefix}.0.SelfAttention.relative_attention_bias.weight", buckets
        yield f"{prefix}.0.layer_norm.weight", (self.d_model,)
        if stack == "decoder":
            yield from self._attention(f"{prefix}.1.EncDecAttention")
            yield f"{prefix}.1.layer_norm.weight", (self.d_model,)
        last = 2 if stack == "decoder" else 1
        for name in ("wi_0", "wi_1") if self.is_gated_act else ("wi",):
            yield f"{prefix}.{last}.DenseReluDense.{name}.weight", (self.d_ff, self.d_model)
        yield f"{prefix}.{last}.DenseReluDense.wo.weight", (self.d_model, self.d_ff)
        yield f"{prefix}.{last}.layer_norm.weight", (self.d_model,)

    def _attention(self, prefix: str) -> Iterator[tuple[str, tuple[int, ...]]]:
        inner = self.num_heads * self.d_kv
        for name in ("q", "k", "v"):
            yield f"{prefix}.{name}.weight", (inner, self.d_model)
        yield f"{prefix}.o.weight", (self.d_model, inner)
