"""Small real inputs for tests: a T5 with its tokenizer, and e-SNLI files."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration

from tests.nli import NLI, read_source
from tune_distill.records.examples import Example
from tune_distill.spec.plan import Identities, ResolvedStudy, Trial
from tune_distill.spec.profile import Profile, Student
from tune_distill.spec.settings import Setting
from tune_distill.spec.study import Study
from tune_distill.students.model import Model
from tune_distill.students.port import Untrained
from tune_distill.students.registry import read_student
from tune_distill.students.t5.model import T5
from tune_distill.students.tokenizer import tokenize
from tune_distill.students.tokens import Pairs, TokenPairs
from tune_distill.training.losses import example_losses, mean_loss


def save_tiny_t5(
    folder: Path, examples: list[Example], *, d_model: int = 32, seed: int = 0
) -> Path:
    """Save a two-layer T5 with a tokenizer trained on the examples, like save_pretrained."""
    texts = [NLI.source_text(e) for e in examples]
    texts += [
        NLI.target_text(replace(e, explanations=(text,)))
        for e in examples
        for text in e.explanations
    ]
    tokenizer = Tokenizer(models.BPE(byte_fallback=False))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=["<pad>", "</s>", "<unk>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    )
    wrapped.save_pretrained(folder)
    config = T5Config(
        vocab_size=len(wrapped),
        d_model=d_model,
        d_kv=d_model // 4,
        d_ff=2 * d_model,
        num_layers=2,
        num_heads=4,
        feed_forward_proj="gated-gelu",
        decoder_start_token_id=0,
        tie_word_embeddings=True,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        T5ForConditionalGeneration(config).save_pretrained(folder)
    return folder


def at(folder: Path) -> Student:
    """Return the student in a folder."""
    return Student(source=str(folder))


def write_csv(path: Path, examples: list[Example]) -> Path:
    """Write the examples in the authors' columns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(
            ["pairID", "gold_label", "Sentence1", "Sentence2"]
            + [f"Explanation_{n}" for n in (1, 2, 3)]
        )
        for e in examples:
            references = [*e.explanations, "", ""][:3]
            writer.writerow([e.example_id, e.label, e.inputs[0], e.inputs[1], *references])
    return path


def mini_examples(split: str, count: int) -> list[Example]:
    """Return the first examples of the built-in corpus."""
    corpus = read_source("mini-nli")
    return (corpus.train if split == "train" else corpus.validation)[:count]


def untrained(student: Student) -> Untrained:
    """Return the student before its training."""
    return read_student(student).untrained()


def load_student(student: Student) -> Any:
    """Return the student's model, in float32 on the CPU."""
    return untrained(student).model()


def load_tokenizer(student: Student) -> Any:
    """Return the student's tokenizer from transformers."""
    package: Any = read_student(student)
    return package.tokenizer


def tokenize_examples(tokenizer: Any, examples: Sequence[Example]) -> TokenPairs:
    """Return the tokens of the examples' sources and targets."""
    sources, targets = map(NLI.source_text, examples), map(NLI.target_text, examples)
    return TokenPairs(tokenize(tokenizer, [*sources]), tokenize(tokenizer, [*targets]))


def evaluation_loss(model: Model, pairs: Pairs) -> float:
    """Return the cross-entropy a target token over all pairs, without smoothing or dropout."""
    return mean_loss(example_losses(model, pairs))


def token_pairs(folder: Path, examples: list[Example]) -> Pairs:
    """Return the examples as tokens of the T5 in `folder`, without truncation."""
    tokens = tokenize_examples(load_tokenizer(Student(source=str(folder))), examples)
    count = len(examples)
    return Pairs(tokens.sources.rows(count, 1000), tokens.targets.rows(count, 1000))


def without_dropout(model: T5) -> T5:
    """Return the model without dropout: it learns faster, and independently of random draws."""
    config = replace(model.config, dropout_rate=0.0)
    for module in model.modules():
        if hasattr(module, "config"):
            module.config = config
    return model


def trial_of(profile: Profile, inputs: Identities, seed: int = 0) -> Trial:
    """Return the only trial of a study that varies nothing."""
    study = Study.model_validate(
        {"name": "one", "question": "Does it run?", "vary": {"train.label_smoothing": [0.1]}}
    )
    return ResolvedStudy(study, "tiny", profile, (seed,)).trial(Setting({}, {}), seed, inputs)
