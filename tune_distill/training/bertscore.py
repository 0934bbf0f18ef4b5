"""BERTScore: how well the tokens of an explanation match a reference's in a BERT's embedding space.

Source: Zhang et al. 2020, equations 1 to 3: every token is matched with the most similar token of
the other text by cosine similarity; precision averages over the explanation, recall over the
reference. As in the authors' package bert-score, the special tokens around a text can be matched
but do not count in an average.

The package itself is not used, because bert-score 0.3.13 fails under transformers 5 on an empty
text and on every tokeniser without a maximum length, such as DeBERTa's. Deviations from its
defaults: the last layer instead of one tuned per model; padding is never matched, so that no score
depends on which texts share a batch; no space is put before a text for RoBERTa's tokeniser. As in
its defaults, there are no inverse document frequencies and no rescaling.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize
from transformers import (
    AutoConfig,
    AutoModel,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from tune_distill.students.precision import exact_products
from tune_distill.training.encoders import Encoder, unusable

BATCH_SIZE = 64

_MOST = {
    "hidden_size": 2**16,
    "num_hidden_layers": 1000,
    "num_attention_heads": 2**12,
    "vocab_size": 2**24,
}
"""The largest sizes that an encoder may have."""

CHUNK_SIZE = 1024
"""Explanations whose embeddings are in memory at once: about 0.4 GB at 1,024 dimensions."""


@dataclass(frozen=True, slots=True)
class _Embedded:
    """One embedded text. Shapes: T tokens including special ones, D embedding dimensions."""

    unit_TD: Tensor
    """float32, rows of length 1."""
    counts_T: Tensor
    """bool, False for special tokens."""


def bertscore(
    explanations: Sequence[str], references: Sequence[Sequence[str]], files: Encoder
) -> list[float]:
    """Return the BERTScore F1 of each explanation with its best reference; 0.0 if it is empty.

    Raises:
        MetricError: the encoder or its tokeniser cannot be loaded.
    """
    tokenizer, encoder = load_encoder(files)
    pairs = list(zip(explanations, references, strict=True))
    scores = []
    for start in range(0, len(pairs), CHUNK_SIZE):
        chunk = pairs[start : start + CHUNK_SIZE]
        texts = {text for explanation, others in chunk for text in (explanation, *others)}
        embedded = _embed(texts, tokenizer, encoder)
        scores += [
            max(_f1(embedded[explanation], embedded[other]) for other in others)
            for explanation, others in chunk
        ]
    return scores


def load_encoder(files: Encoder) -> tuple[PreTrainedTokenizerBase, PreTrainedModel]:
    """Return the tokeniser and the encoder in evaluation mode, on the accelerator if there is one.

    Raises:
        MetricError: a file is damaged or missing, or the model is not an encoder.
    """
    try:
        with files.folder() as folder:
            _require_sane(AutoConfig.from_pretrained(folder, trust_remote_code=False))
            tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
            encoder, told = AutoModel.from_pretrained(
                folder,
                use_safetensors=True,
                dtype=torch.float32,
                trust_remote_code=False,
                output_loading_info=True,
            )
        _require_whole(encoder, told)
    except Exception as error:  # parsers of damaged files raise errors of many kinds
        reason = " ".join(str(error).split())[:300]
        raise unusable(files.source, f"{type(error).__name__}: {reason}") from error
    # If the files of a tokeniser are missing, transformers makes one without words.
    if len(tokenizer) <= len(tokenizer.all_special_ids):
        raise unusable(files.source, "no tokeniser beside the model")
    if encoder.config.is_encoder_decoder or not hasattr(encoder.config, "max_position_embeddings"):
        raise unusable(files.source, f"a {encoder.config.model_type} model")
    return tokenizer, encoder.eval().to("cuda" if torch.cuda.is_available() else "cpu")


def _require_sane(config: Any) -> None:
    """Raise ValueError if the size of the encoder is absurd, before it is built."""
    for name, most in _MOST.items():
        size = getattr(config, name, 1)
        if not isinstance(size, int) or not 0 < size <= most:
            raise ValueError(f"config.json: {name} must be from 1 to {most}, got {size!r:.80}")


def _require_whole(encoder: PreTrainedModel, told: Mapping[str, Any]) -> None:
    """Raise ValueError if weights are missing, and would be random, or are not finite."""
    # The pooler's layer is not used.
    missing = sorted(name for name in told["missing_keys"] if not name.startswith("pooler."))
    if missing or told["mismatched_keys"]:
        named = missing or sorted(str(each[0]) for each in told["mismatched_keys"])
        raise ValueError(f"its weights must fit config.json, got none for {', '.join(named[:3])}")
    for name, weight in encoder.state_dict().items():
        if weight.is_floating_point() and not weight.isfinite().all():
            raise ValueError(f"its weights must be finite, got another in {name}")


@exact_products()
@torch.inference_mode()
def _embed(
    texts: set[str], tokenizer: PreTrainedTokenizerBase, encoder: PreTrainedModel
) -> dict[str, _Embedded]:
    """Embed each text once, in batches of similar length."""
    # RoBERTa's first two positions stand for padding; a tokeniser's own limit may be unset (1e30).
    longest = min(tokenizer.model_max_length, encoder.config.max_position_embeddings - 2)
    by_length = sorted(texts, key=lambda text: (len(text), text))
    embedded = {}
    for start in range(0, len(by_length), BATCH_SIZE):
        batch = by_length[start : start + BATCH_SIZE]
        tokens = tokenizer(
            batch,
            padding=True,
            truncation=True,
            max_length=longest,
            return_special_tokens_mask=True,
            return_tensors="pt",
        ).to(encoder.device)
        special_BT = tokens.pop("special_tokens_mask").bool()
        unit_BTD = normalize(encoder(**tokens).last_hidden_state.float(), dim=-1).cpu()
        for text, unit_TD, special_T, mask_T in zip(
            batch, unit_BTD, special_BT.cpu(), tokens["attention_mask"].bool().cpu(), strict=True
        ):
            embedded[text] = _Embedded(unit_TD[mask_T], ~special_T[mask_T])
    return embedded


def _f1(explanation: _Embedded, reference: _Embedded) -> float:
    """Return F1; 0.0 if a text has only special tokens, or if precision and recall cancel out."""
    if not (explanation.counts_T.any() and reference.counts_T.any()):
        return 0.0
    cosine_ER = explanation.unit_TD @ reference.unit_TD.T
    precision = float(cosine_ER.max(dim=1).values[explanation.counts_T].mean())
    recall = float(cosine_ER.max(dim=0).values[reference.counts_T].mean())
    if precision + recall == 0.0:
        return 0.0
    return 2 * precision * recall / (precision + recall)
