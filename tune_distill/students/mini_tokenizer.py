"""The embedded student's tokenizer: a Unigram model whose pieces are the words of `mini-nli`.

A word of the lexicon is one piece. Anything else is spelled with single characters, and characters
outside ASCII with their UTF-8 bytes, so no text is lost. Ids follow T5: `<pad>` 0, `</s>` 1,
`<unk>` 2, and `</s>` ends every text.
"""

from __future__ import annotations

import string

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from tune_distill.tasks.mini.corpus import LABELS, vocabulary

SPECIAL_PIECES = ("<pad>", "</s>", "<unk>")
PROMPT_WORDS = ("nli", "premise:", "hypothesis:", "explanation:")
SPACE = "▁"
MAX_LENGTH = 512

# Log-probabilities by which the most probable split uses whole words if it can, and else spells.
WORD_SCORE = -6.0
CHARACTER_SCORE = -12.0
BYTE_SCORE = -20.0


def mini_tokenizer() -> PreTrainedTokenizerFast:
    """Return a fast tokenizer that encodes any text without `<unk>`, always with the same ids."""
    return PreTrainedTokenizerFast(
        tokenizer_object=_unigram(),
        pad_token="<pad>",
        eos_token="</s>",
        unk_token="<unk>",
        model_max_length=MAX_LENGTH,
        clean_up_tokenization_spaces=False,
    )


def _unigram() -> Tokenizer:
    tokenizer = Tokenizer(
        models.Unigram(_pieces(), unk_id=SPECIAL_PIECES.index("<unk>"), byte_fallback=True)
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(SPACE, prepend_scheme="always")
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>",
        pair="$A </s> $B </s>",
        special_tokens=[("</s>", SPECIAL_PIECES.index("</s>"))],
    )
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Metaspace(SPACE, prepend_scheme="always"),
            decoders.ByteFallback(),
            decoders.Fuse(),
        ]
    )
    return tokenizer


def _pieces() -> list[tuple[str, float]]:
    """Return special pieces, words, characters, and the bytes that spell all other characters."""
    words = sorted({*vocabulary(), *LABELS, *PROMPT_WORDS})
    characters = SPACE + string.ascii_letters + string.digits + string.punctuation
    return [
        *((piece, 0.0) for piece in SPECIAL_PIECES),
        *((SPACE + word, WORD_SCORE) for word in words),
        *((character, CHARACTER_SCORE) for character in characters),
        *((f"<0x{byte:02X}>", BYTE_SCORE) for byte in range(256)),
    ]
