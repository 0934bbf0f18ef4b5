"""Losses are HF's; an example's loss does not depend on other examples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import T5ForConditionalGeneration
from transformers.trainer_pt_utils import LabelSmoother

from tests.tiny import evaluation_loss, load_student, token_pairs
from tune_distill.records.examples import Example
from tune_distill.spec.profile import Student
from tune_distill.students.t5.model import T5
from tune_distill.students.tokens import Pairs
from tune_distill.training.losses import (
    CrossEntropy,
    ExampleLoss,
    batch_losses,
    example_losses,
    mean_loss,
)


@pytest.fixture
def model(tiny_t5: Path) -> T5:
    return load_student(Student(source=str(tiny_t5))).eval()


@pytest.fixture
def hf_model(tiny_t5: Path) -> T5ForConditionalGeneration:
    return T5ForConditionalGeneration.from_pretrained(tiny_t5).eval()


@pytest.fixture(scope="module")
def pairs(tiny_t5: Path, examples: list[Example]) -> Pairs:
    return token_pairs(tiny_t5, examples)


def hf_batch(pairs: Pairs, indices: range) -> dict[str, torch.Tensor]:
    """Return the examples padded like HF's collators do, with -100 in labels."""
    sources = [torch.from_numpy(pairs.sources[index]).long() for index in indices]
    targets = [torch.from_numpy(pairs.targets[index]).long() for index in indices]
    padded = torch.nn.utils.rnn.pad_sequence
    return {
        "input_ids": padded(sources, batch_first=True),
        "attention_mask": padded([torch.ones_like(row) for row in sources], batch_first=True),
        "labels": padded(targets, batch_first=True, padding_value=-100),
    }


def test_the_loss_is_that_of_hf_s_t5(
    model: T5, hf_model: T5ForConditionalGeneration, pairs: Pairs
) -> None:
    loss, unsmoothed = batch_losses(model, pairs, range(7), [CrossEntropy()])
    torch.testing.assert_close(loss, hf_model(**hf_batch(pairs, range(7))).loss)
    assert torch.equal(unsmoothed, loss)
    assert loss.requires_grad
    assert not unsmoothed.requires_grad


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.6])
def test_smoothing_and_its_gradients_are_hf_s_label_smoother(
    model: T5, hf_model: T5ForConditionalGeneration, pairs: Pairs, smoothing: float
) -> None:
    loss, unsmoothed = batch_losses(model, pairs, range(7), [CrossEntropy(smoothing)])
    batch = hf_batch(pairs, range(7))
    output = hf_model(**batch)
    expected = LabelSmoother(epsilon=smoothing)(output, batch["labels"])
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(unsmoothed, output.loss.detach())
    assert not unsmoothed.requires_grad
    if smoothing:
        assert not torch.isclose(loss, unsmoothed, rtol=1e-4)
    (2.5 * loss).backward()
    (2.5 * expected).backward()
    theirs: dict[str, Any] = dict(hf_model.named_parameters())
    for name, value in model.named_parameters():
        torch.testing.assert_close(value.grad, theirs[name].grad, rtol=1e-3, atol=1e-6, msg=name)


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_the_losses_of_examples_are_hf_s_of_each_alone(
    model: T5,
    hf_model: T5ForConditionalGeneration,
    pairs: Pairs,
    batch_size: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with torch.no_grad():
        alone = [
            float(hf_model(**hf_batch(pairs, range(index, index + 1))).loss)
            for index in range(len(pairs.sources))
        ]
    monkeypatch.setattr("tune_distill.training.losses._EVAL_BATCH_SIZE", batch_size)
    losses = example_losses(model, pairs)
    assert [loss.per_token for loss in losses] == pytest.approx(alone, rel=1e-5)
    assert [loss.num_tokens for loss in losses] == [len(row) for row in pairs.targets]
    assert len({len(row) for row in pairs.targets}) > 5
    # The loss of the whole set is the mean over all tokens, from the same numbers.
    total = sum(loss * len(row) for loss, row in zip(alone, pairs.targets, strict=True))
    mean = total / sum(len(row) for row in pairs.targets)
    assert mean_loss(losses) == pytest.approx(mean, rel=1e-5)
    assert evaluation_loss(model, pairs) == mean_loss(losses)


def test_a_long_target_weighs_more_than_a_short_one() -> None:
    assert mean_loss([ExampleLoss(2.0, 1), ExampleLoss(4.0, 7)]) == 0.75


@pytest.mark.parametrize("training", [True, False])
def test_evaluation_knows_no_dropout_and_leaves_the_mode(
    model: T5, pairs: Pairs, training: bool
) -> None:
    assert model.config.dropout_rate > 0
    model.train(training)
    random_state = torch.get_rng_state()
    assert evaluation_loss(model, pairs) == evaluation_loss(model, pairs)
    assert model.training == training
    assert torch.equal(torch.get_rng_state(), random_state)
