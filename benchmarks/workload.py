"""Students and data that the benchmarks share: real shapes, random weights.

Speed does not depend on the weights, so every student is made here, with a tokenizer trained on the
data's own texts.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tune_distill.tasks.registry import task_of
from tune_distill.tasks.sources import read_source


@dataclass(frozen=True)
class Shape:
    """A T5's sizes: `vocab_size` of the embeddings, `num_pieces` of the tokenizer."""

    name: str
    vocab_size: int
    num_pieces: int
    d_model: int
    d_kv: int
    d_ff: int
    num_layers: int
    num_heads: int
    tied: bool


TINY = Shape("tiny", 3_000, 3_000, 96, 24, 192, 2, 4, True)
MID = Shape("mid", 8_000, 8_000, 256, 64, 512, 4, 4, True)
# google/flan-t5-small's own config.json; the tokenizer has only as many pieces as the data need.
FLAN_T5_SMALL = Shape("flan-t5-small", 32_128, 8_000, 512, 64, 1_024, 8, 6, False)
SHAPES = {shape.name: shape for shape in (TINY, MID, FLAN_T5_SMALL)}


@dataclass(frozen=True)
class Workload:
    """A training with the notebook's settings: its student, examples and epochs."""

    shape: Shape
    num_train: int
    num_validation: int
    num_epochs: int

    def fields(self) -> list[str]:
        """Return the study command's arguments for this workload."""
        values = {
            "data.num_train": self.num_train,
            "data.num_validation": self.num_validation,
            "train.num_epochs": self.num_epochs,
        }
        return [f"--set={name}={value}" for name, value in values.items()]


WORKLOADS = {
    "tiny": Workload(TINY, 500, 100, 3),
    "mid": Workload(MID, 320, 100, 1),
    "flan-t5-small": Workload(FLAN_T5_SMALL, 64, 16, 1),
}


def make_student(shape: Shape, data: str, folder: Path) -> Path:
    """Save a T5 of this shape with random weights and a tokenizer of the data's texts.

    Returns `folder`.
    """
    import torch
    from transformers import T5Config, T5ForConditionalGeneration

    tokenizer = _tokenizer(shape, _texts(data))
    config = T5Config(
        vocab_size=shape.vocab_size,
        d_model=shape.d_model,
        d_kv=shape.d_kv,
        d_ff=shape.d_ff,
        num_layers=shape.num_layers,
        num_decoder_layers=shape.num_layers,
        num_heads=shape.num_heads,
        feed_forward_proj="gated-gelu",
        tie_word_embeddings=shape.tied,
        pad_token_id=0,
        eos_token_id=1,
        decoder_start_token_id=0,
    )
    torch.manual_seed(0)
    model = T5ForConditionalGeneration(config)
    if not shape.tied:
        # HF ties the head to the embeddings unless a separate head is saved.
        head = torch.randn_like(model.shared.weight) * shape.d_model**-0.5
        model.lm_head.weight = torch.nn.Parameter(head)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _texts(data: str) -> list[str]:
    task = task_of("esnli")
    return [
        text
        for example in read_source(data, task).train
        for text in (task.source_text(example), task.target_text(example))
    ]


def _tokenizer(shape: Shape, texts: list[str]) -> Any:
    """Return a Unigram tokenizer like T5's."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    pieces = Tokenizer(models.Unigram())
    pieces.pre_tokenizer = pre_tokenizers.Metaspace()
    pieces.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=shape.num_pieces,
        special_tokens=["<pad>", "</s>", "<unk>"],
        unk_token="<unk>",
        show_progress=False,
    )
    pieces.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=pieces, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    )
