"""A student's config.json, checked field by field before anything is built from it.

Defaults and precedence are those of transformers' T5Config and MT5Config.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tune_distill.students.package_files import PackageError
from tune_distill.students.t5.architecture import Architecture

Size = Annotated[int, Field(ge=1, le=2**20)]
Layers = Annotated[int, Field(ge=1, le=1000)]
Token = Annotated[int, Field(ge=0, lt=2**24)]

# transformers accepts these other names of fields too.
_ALIASES = {
    "hidden_size": "d_model",
    "num_attention_heads": "num_heads",
    "num_hidden_layers": "num_layers",
    "head_dim": "d_kv",
}
# Fields that make from_pretrained do more than read a T5's weights, with the reason for refusal.
_REFUSED = {
    "quantization_config": "quantised weights cannot be trained; use the original student",
    "compression_config": "compressed weights cannot be trained; use the original student",
    "transformers_weights": "weights are read from model.safetensors or its index alone",
    "tie_encoder_decoder": "an encoder and a decoder of the same weights are not supported",
    "per_layer_config": "all layers must have the same sizes",
    "pruned_heads": "pruned heads are not supported",
}
# transformers derives these if they are absent, but not if they are null.
_NEVER_NULL = ("dense_act_fn", "is_gated_act", "scale_decoder_outputs")
_SHOWN = 80


class StudentConfig(BaseModel):
    """The fields of config.json on which a T5's results depend."""

    model_config = ConfigDict(strict=True, frozen=True, extra="ignore", allow_inf_nan=False)

    model_type: Literal["t5", "mt5"]
    vocab_size: Annotated[int, Field(ge=1, le=2**24)] = 32128
    d_model: Size = 512
    d_kv: Size = 64
    d_ff: Size = 2048
    num_layers: Layers = 6
    num_decoder_layers: Layers | None = None
    num_heads: Size = 8
    # The encoder halves them twice: for the two directions, and for near and far.
    relative_attention_num_buckets: int = Field(32, ge=4, le=2**16)
    relative_attention_max_distance: Size = 128
    dropout_rate: float = Field(0.1, ge=0, lt=1)
    layer_norm_epsilon: float = Field(1e-6, gt=0, lt=1)
    feed_forward_proj: str = Field("relu", pattern=r"^(gated-)?[^-]+$")
    is_encoder_decoder: bool = True
    pad_token_id: Token | None = 0
    eos_token_id: Token | list[Token] | None = 1
    decoder_start_token_id: Token | None = None
    bos_token_id: Token | None = None
    dense_act_fn: str | None = None
    is_gated_act: bool | None = None
    scale_decoder_outputs: bool | None = None
    tie_word_embeddings: bool | None = None

    @classmethod
    def of(cls, raw: Mapping[str, Any]) -> StudentConfig:
        """Return the checked fields of a config.json.

        Raises:
            PackageError: fields are faulty or not supported; the message names up to three.
        """
        for name, reason in _REFUSED.items():
            if raw.get(name):
                raise PackageError(f"config.json: {name} must be absent, got one; {reason}")
        for name in _NEVER_NULL:
            if name in raw and raw[name] is None:
                raise PackageError(
                    f"config.json: {name} must have a value or be absent, got null, which stands "
                    "for false; remove it"
                )
        defaults = _MT5_DEFAULTS if raw.get("model_type") == "mt5" else {}
        try:
            config = cls.model_validate({**defaults, **raw})
        except ValidationError as error:
            raise PackageError(_faults(error)) from error
        for alias, name in _ALIASES.items():
            if raw.get(alias, getattr(config, name)) != getattr(config, name):
                raise PackageError(
                    f"config.json: {alias} must be {name}'s value, {getattr(config, name)}, got "
                    f"{raw[alias]!r:.{_SHOWN}}; remove it"
                )
        exact = config.relative_attention_num_buckets // 2
        if config.relative_attention_max_distance <= exact:
            raise PackageError(
                f"config.json: relative_attention_max_distance must be above {exact}, half of the "
                f"buckets, got {config.relative_attention_max_distance}"
            )
        return config

    def architecture(
        self, *, tied_head: bool, ends: tuple[int, ...], pad: int, start: int
    ) -> Architecture:
        """Return the architecture with the tokens that end, fill up and start an answer.

        Raises:
            StudentError: the activation is not supported.
        """
        gated, _, activation = self.feed_forward_proj.rpartition("-")
        if self.feed_forward_proj == "gated-gelu":
            activation = "gelu_new"
        return Architecture(
            vocab_size=self.vocab_size,
            d_model=self.d_model,
            d_kv=self.d_kv,
            d_ff=self.d_ff,
            num_layers=self.num_layers,
            num_decoder_layers=self.num_decoder_layers or self.num_layers,
            num_heads=self.num_heads,
            relative_attention_num_buckets=self.relative_attention_num_buckets,
            relative_attention_max_distance=self.relative_attention_max_distance,
            dropout_rate=float(self.dropout_rate),
            layer_norm_epsilon=self.layer_norm_epsilon,
            dense_act_fn=activation if self.dense_act_fn is None else self.dense_act_fn,
            is_gated_act=gated == "gated" if self.is_gated_act is None else self.is_gated_act,
            scale_decoder_outputs=self._scales(),
            tied_head=tied_head,
            pad_token_id=pad,
            eos_token_ids=ends,
            decoder_start_token_id=start,
        )

    def _scales(self) -> bool:
        if self.model_type == "mt5":
            return False
        if self.scale_decoder_outputs is not None:
            return self.scale_decoder_outputs
        return self.tie_word_embeddings is not False


_MT5_DEFAULTS: Mapping[str, Any] = {
    "vocab_size": 250112,
    "d_ff": 1024,
    "num_layers": 8,
    "num_heads": 6,
    "feed_forward_proj": "gated-gelu",
    "decoder_start_token_id": 0,
}


def _faults(error: ValidationError) -> str:
    lines = []
    faults = error.errors(include_url=False)
    for fault in faults[:3]:
        field = ".".join(str(part) for part in fault["loc"][:1])
        rule = fault["msg"].removeprefix("Input ").replace("should", "must")
        lines.append(f"{field} {rule}, got {fault['input']!r:.{_SHOWN}}")
    more = f", and {len(faults) - 3} more" if len(faults) > 3 else ""
    return f"config.json: {'; '.join(lines)}{more}"
