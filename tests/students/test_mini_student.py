"""The embedded student and its tokenizer are the same everywhere, lose no text and learn."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer, T5ForConditionalGeneration

from tune_distill.students.mini import mini_student
from tune_distill.students.mini_tokenizer import mini_tokenizer
from tune_distill.tasks.mini.corpus import mini_nli, vocabulary

SOURCE = "nli premise: a man is dancing. hypothesis: the man is asleep."

NO_TORCH_SCRIPT = """
import sys
from tune_distill.students.mini_tokenizer import mini_tokenizer
print(mini_tokenizer()("a man is dancing.").input_ids)
print("torch" in sys.modules)
"""

UNSEEN = [
    "Zürich’s naïve café 42",
    "two  spaces and a\ttab",
    "日本 😀",
    "A GUITAR-player (42 %) didn't!",
]


@pytest.fixture(scope="module")
def batch() -> dict[str, torch.Tensor]:
    """Return eight padded examples.

    They are input_ids_BS, attention_mask_BS and labels_BT (-100 is ignored).
    """
    tokenizer = mini_tokenizer()
    examples = mini_nli("train")[:8]
    sources = [f"nli premise: {row.inputs[0]} hypothesis: {row.inputs[1]}" for row in examples]
    targets = [f"{row.label} explanation: {row.explanations[0]}" for row in examples]
    encoded = tokenizer(sources, padding=True, return_tensors="pt")
    labels_BT = tokenizer(targets, padding=True, return_tensors="pt").input_ids
    labels_BT = labels_BT.masked_fill(labels_BT == tokenizer.pad_token_id, -100)
    return {
        "input_ids": encoded.input_ids,
        "attention_mask": encoded.attention_mask,
        "labels": labels_BT,
    }


def test_special_ids_follow_t5() -> None:
    tokenizer = mini_tokenizer()
    assert (tokenizer.pad_token_id, tokenizer.eos_token_id, tokenizer.unk_token_id) == (0, 1, 2)
    assert tokenizer("a man").input_ids[-1] == tokenizer.eos_token_id
    assert tokenizer("a man", add_special_tokens=False).input_ids[-1] != tokenizer.eos_token_id


def test_every_word_of_the_lexicon_is_one_piece() -> None:
    tokenizer = mini_tokenizer()
    for word in [*vocabulary(), "nli", "premise:", "hypothesis:", "explanation:", "neutral"]:
        assert tokenizer.tokenize(word) == [f"▁{word}"]


@pytest.mark.parametrize("text", [*UNSEEN, SOURCE])
def test_no_text_is_lost(text: str) -> None:
    tokenizer = mini_tokenizer()
    ids = tokenizer(text).input_ids
    assert tokenizer.unk_token_id not in ids
    assert tokenizer.decode(ids, skip_special_tokens=True) == text


def test_truncation_keeps_the_end_token() -> None:
    tokenizer = mini_tokenizer()
    ids = tokenizer(SOURCE, truncation=True, max_length=6).input_ids
    assert len(ids) == 6
    assert ids[-1] == tokenizer.eos_token_id


def test_most_sources_and_targets_have_the_intended_lengths() -> None:
    tokenizer = mini_tokenizer()
    rows = mini_nli("validation")
    sources = [f"nli premise: {row.inputs[0]} hypothesis: {row.inputs[1]}" for row in rows]
    targets = [f"{row.label} explanation: {row.explanations[0]}" for row in rows]
    source_lengths = [len(ids) for ids in tokenizer(sources).input_ids]
    target_lengths = [len(ids) for ids in tokenizer(targets).input_ids]
    assert sum(22 <= length <= 40 for length in source_lengths) > 0.9 * len(rows)
    assert sum(8 <= length <= 24 for length in target_lengths) > 0.9 * len(rows)
    assert 0.05 < sum(length > 32 for length in source_lengths) / len(rows) < 0.5


def test_the_tokenizer_needs_no_torch_and_no_hash_seed() -> None:
    answer = subprocess.run(
        [sys.executable, "-c", NO_TORCH_SCRIPT],
        env={**os.environ, "PYTHONHASHSEED": "12345"},
        capture_output=True,
        text=True,
        check=True,
    )
    ids = mini_tokenizer()("a man is dancing.").input_ids
    assert answer.stdout.splitlines() == [str(ids), "False"]


def test_a_saved_student_is_loaded_as_it_was(tmp_path: Path) -> None:
    tokenizer, model = mini_tokenizer(), mini_student()
    tokenizer.save_pretrained(tmp_path)
    model.save_pretrained(tmp_path)
    loaded_tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    loaded = T5ForConditionalGeneration.from_pretrained(tmp_path).eval()
    for text in [*UNSEEN, SOURCE]:
        ids = tokenizer(text).input_ids
        assert loaded_tokenizer(text).input_ids == ids
        assert loaded_tokenizer.decode(ids, skip_special_tokens=True) == text
    ids_BS = torch.tensor([tokenizer(SOURCE).input_ids])
    with torch.inference_mode():
        expected = model(input_ids=ids_BS, labels=ids_BS).logits
        assert torch.equal(loaded(input_ids=ids_BS, labels=ids_BS).logits, expected)


def test_every_call_builds_the_same_student_and_leaves_the_rng_alone() -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = mini_student()
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    second = mini_student()
    for name, weight in first.state_dict().items():
        assert torch.equal(weight, second.state_dict()[name]), name


def test_the_student_is_a_small_gated_t5_with_tied_embeddings() -> None:
    model = mini_student()
    assert 300_000 <= model.num_parameters() <= 1_000_000
    assert model.config.is_gated_act
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    assert model.config.decoder_start_token_id == model.config.pad_token_id == 0
    assert model.config.vocab_size == len(mini_tokenizer())


def test_the_first_loss_is_near_that_of_a_uniform_guess(batch: dict[str, torch.Tensor]) -> None:
    model = mini_student()
    with torch.inference_mode():
        loss = model(**batch).loss.item()
    uniform = torch.tensor(float(model.config.vocab_size)).log().item()
    assert loss == pytest.approx(uniform, rel=0.25)


def test_the_student_overfits_eight_examples(batch: dict[str, torch.Tensor]) -> None:
    model = mini_student().train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    for _ in range(80):
        loss = model(**batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    model.eval()
    with torch.inference_mode():
        output = model(**batch)
    known_BT = batch["labels"] != -100
    right = (output.logits.argmax(-1) == batch["labels"])[known_BT].float().mean().item()
    assert output.loss.item() < 0.2
    assert right > 0.95
