"""What a T5 is made of, without torch: it travels from the driver to the workers."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from tune_distill.spec.errors import StudentError

ACTIVATIONS = ("gelu", "gelu_new", "relu", "silu")
"""The activations of feed-forward layers that students may have, by HF's names."""


@dataclass(frozen=True)
class Architecture:
    """A T5's sizes and habits, by the names of HF's configuration."""

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

    @classmethod
    def of(cls, config: Any, *, tied_head: bool) -> Architecture:
        """That of HF's configuration of a T5.

        Raises:
            StudentError: its activation is none that we compute.
        """
        if config.dense_act_fn not in ACTIVATIONS:
            raise StudentError(
                f"student.source: feed_forward_proj must be one of {', '.join(ACTIVATIONS)}, plain "
                f"or gated, got {config.feed_forward_proj!r}; use another T5"
            )
        names = {field.name for field in fields(cls)} - {"tied_head", "eos_token_ids"}
        eos = config.eos_token_id
        return cls(
            **{name: getattr(config, name) for name in names},
            tied_head=tied_head,
            eos_token_ids=(eos,) if isinstance(eos, int) else tuple(eos or ()),
        )
