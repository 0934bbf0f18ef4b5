"""A student's own settings for transformers' `generate`, which are honoured or refused.

`generate` obeys generation_config.json or, if there is none, the same fields of config.json. A
study's decode section replaces some of them, special tokens are honoured, and all others must have
no effect.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tune_distill.students.package_files import PackageError
from tune_distill.students.t5.config import StudentConfig

Token = Annotated[int, Field(ge=0)]

# Fields that change answers whatever the decode section says, each with the value that does not.
# Other fields are the decode section's own (num_beams, temperature, max_length ...) or change no
# answer (use_cache, output_scores ...).
WITHOUT_EFFECT: Mapping[str, Any] = {
    "begin_suppress_tokens": [],
    "bad_words_ids": [],
    "constraints": [],
    "diversity_penalty": 0.0,
    "dola_layers": None,
    "early_stopping": False,
    "encoder_no_repeat_ngram_size": 0,
    "encoder_repetition_penalty": 1.0,
    "epsilon_cutoff": 0.0,
    "eta_cutoff": 0.0,
    "exponential_decay_length_penalty": None,
    "force_bos_token_to_be_generated": False,
    "force_words_ids": [],
    "forced_bos_token_id": None,
    "forced_eos_token_id": None,
    "guidance_scale": 1.0,
    "length_penalty": 1.0,
    "max_time": None,
    "min_length": 0,
    "min_new_tokens": 0,
    "min_p": 0.0,
    "no_repeat_ngram_size": 0,
    "num_beam_groups": 1,
    "penalty_alpha": 0.0,
    "prompt_lookup_num_tokens": None,
    "assistant_early_exit": None,
    "remove_invalid_values": False,
    "repetition_penalty": 1.0,
    "sequence_bias": {},
    "speculation_type": None,
    "stop_strings": [],
    "suppress_tokens": [],
    "token_healing": False,
    "top_h": None,
    "typical_p": 1.0,
    "use_mtp": False,
    "watermarking_config": {},
}


class _Tokens(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="ignore")

    eos_token_id: Token | list[Token] | None = None
    pad_token_id: Token | None = None
    decoder_start_token_id: Token | None = None
    bos_token_id: Token | None = None


@dataclass(frozen=True)
class GenerationRules:
    """The special tokens of `generate`: those that end, fill up and start an answer."""

    ends: tuple[int, ...]
    pad: int
    start: int


def generation_rules(
    config: StudentConfig,
    raw_config: Mapping[str, Any],
    raw_generation: Mapping[str, Any] | None,
    eos: int | None,
    pad: int | None,
) -> GenerationRules:
    """Return the rules that the two configurations and the tokenizer's tokens give.

    Raises:
        PackageError: the files contradict each other, or set something that is not supported.
    """
    source = "config.json" if raw_generation is None else "generation_config.json"
    raw = raw_config if raw_generation is None else raw_generation
    _require_without_effect(source, raw)
    try:
        tokens = _Tokens.model_validate(dict(raw))
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        raise PackageError(
            f"{source}: {fault['loc'][0]} must be a token's number, got {fault['input']!r:.80}"
        ) from error
    ends = _ends(source, tokens, eos)
    _require_pad("config.json", raw_config.get("pad_token_id"), pad)
    _require_pad(source, tokens.pad_token_id, pad)
    assert pad is not None
    rules = GenerationRules(ends, pad, _start(config, raw_config, tokens, pad))
    for name, token in (("eos_token_id", max(ends)), ("decoder_start_token_id", rules.start)):
        if token >= config.vocab_size:
            raise PackageError(
                f"{source}: {name} must be below vocab_size, {config.vocab_size}, got {token}"
            )
    return rules


def _require_without_effect(source: str, raw: Mapping[str, Any]) -> None:
    for name, neutral in WITHOUT_EFFECT.items():
        value = raw.get(name)
        # In Python True equals 1, but these fields distinguish them.
        same = value == neutral and isinstance(value, bool) == isinstance(neutral, bool)
        if value is not None and not same and not (value in ([], {}) and not neutral):
            raise PackageError(
                f"{source}: {name} must be {neutral!r} or absent, got {value!r:.80}; a study's "
                "decode section alone says how answers are written, so remove it"
            )


def _ends(source: str, tokens: _Tokens, eos: int | None) -> tuple[int, ...]:
    if eos is None:
        raise PackageError(
            "the tokenizer has no end token (eos_token), with which training ends every text; set "
            "tokenizer.eos_token and save it again"
        )
    found = tokens.eos_token_id
    # Without duplicates, because beam search looks at more candidates for each end token.
    ends = (found,) if isinstance(found, int) else tuple(dict.fromkeys(found or ()))
    if eos not in ends:
        says = ", ".join(str(end) for end in ends[:5]) or "nothing"
        raise PackageError(
            f"{source}: eos_token_id must hold the tokenizer's end token, {eos}, with which "
            f"training ends every text, got {says}; correct the one that is wrong"
        )
    return ends


def _require_pad(source: str, given: int | None, pad: int | None) -> None:
    if pad is None:
        raise PackageError(
            "the tokenizer has no padding token (pad_token); set tokenizer.pad_token and save it "
            "again"
        )
    if given not in (None, pad):
        raise PackageError(
            f"{source}: pad_token_id must be the tokenizer's, {pad}, got {given}; correct the one "
            "that is wrong"
        )


def _start(config: StudentConfig, raw_config: Mapping[str, Any], tokens: _Tokens, pad: int) -> int:
    """Return the decoder's start token: `generate`'s, else config.json's, else T5's convention."""
    trained = config.decoder_start_token_id
    generated = tokens.decoder_start_token_id
    if generated is None:
        generated = tokens.bos_token_id
    if generated is None:
        return pad if trained is None else trained
    if raw_config.get("decoder_start_token_id") not in (None, generated):
        raise PackageError(
            f"config.json: decoder_start_token_id must be generation_config.json's, {generated}, "
            f"got {trained}; correct the one that is wrong"
        )
    return generated
