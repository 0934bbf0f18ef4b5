"""Losses and schedule are HF's; a training is deterministic, and reports where it diverged."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
import torch
from transformers import T5ForConditionalGeneration, get_linear_schedule_with_warmup

from tests.tiny import (
    evaluation_loss,
    load_student,
    mini_examples,
    token_pairs,
    tokenize_examples,
    without_dropout,
)
from tune_distill.records.examples import Example
from tune_distill.spec.errors import NonFiniteLossError
from tune_distill.spec.profile import Student, Train
from tune_distill.students.mini_tokenizer import mini_tokenizer
from tune_distill.students.model import Model
from tune_distill.students.tokens import Pairs
from tune_distill.training.loop import Training, learning_rate_at
from tune_distill.training.losses import batch_losses

Make = Callable[..., Training]

# Two epochs of twenty examples in batches of four are ten steps.
SMALL = {"batch_size": 4, "num_epochs": 2, "learning_rate": 1e-3, "label_smoothing": 0.1}


@pytest.fixture
def model(tiny_t5: Path) -> T5ForConditionalGeneration:
    return load_student(Student(source=str(tiny_t5)))


@pytest.fixture(scope="module")
def pairs(tiny_t5: Path, examples: list[Example]) -> Pairs:
    return token_pairs(tiny_t5, examples)


def part(pairs: Pairs, start: int, end: int) -> Pairs:
    return Pairs(pairs.sources[start:end], pairs.targets[start:end])


@pytest.fixture
def make(tiny_t5: Path, pairs: Pairs) -> Make:
    """Return a function that makes a training of a fresh student on the first twenty examples.

    Its settings are SMALL by default.
    """

    def training(seed: int = 0, **settings: Any) -> Training:
        torch.manual_seed(seed)
        student = load_student(Student(source=str(tiny_t5)))
        train = Train.model_validate({**SMALL, **settings})
        return Training(student, part(pairs, 0, 20), part(pairs, 20, 40), train, seed)

    return training


def finished(training: Training) -> Training:
    list(training.run())
    return training


def weights(training: Training) -> torch.Tensor:
    return torch.cat([value.detach().flatten() for value in training.model.parameters()])


# The schedule and the losses


@pytest.mark.parametrize(
    ("total", "warmup_fraction"), [(10, 0.0), (10, 0.3), (7, 0.25), (1, 0.0), (3, 0.9), (200, 0.06)]
)
def test_the_learning_rate_is_hf_s_linear_schedule(total: int, warmup_fraction: float) -> None:
    settings = Train(learning_rate=3e-4, warmup_fraction=warmup_fraction)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=3e-4)
    scheduler = get_linear_schedule_with_warmup(optimizer, round(total * warmup_fraction), total)
    for step in range(total):
        expected = scheduler.get_last_lr()[0]
        assert learning_rate_at(step, total, settings) == pytest.approx(expected, rel=1e-12)
        optimizer.step()
        scheduler.step()


# What a training learns


def test_it_overfits_eight_examples(tiny_t5: Path, pairs: Pairs) -> None:
    few = part(pairs, 0, 8)
    settings = Train(
        num_epochs=90, batch_size=8, learning_rate=1e-2, label_smoothing=0.0, eval_steps=90
    )
    training = Training(
        without_dropout(load_student(Student(source=str(tiny_t5)))), few, few, settings, 0
    )
    before = evaluation_loss(training.model, few)
    (row,) = training.run()
    assert row.eval_loss is not None
    assert row.eval_loss < 0.3 < 5 < before


def test_the_same_seed_gives_the_same_losses_and_weights(make: Make) -> None:
    first, again, other = (finished(make(seed, logging_steps=1)) for seed in (0, 0, 1))
    losses = [[row.train_loss for row in each.position.history] for each in (first, again, other)]
    assert losses[0] == losses[1]
    assert torch.equal(weights(first), weights(again))
    assert all(ours != theirs for ours, theirs in zip(losses[0], losses[2], strict=True))
    assert not torch.equal(weights(first), weights(other))


def test_every_example_is_trained_on_once_an_epoch(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[int]] = []

    def spy(model: Model, pairs: Pairs, indices: list[int], terms: Any) -> Any:
        seen.append(list(indices))
        return batch_losses(model, pairs, indices, terms)

    monkeypatch.setattr("tune_distill.training.loop.batch_losses", spy)
    finished(make())
    assert len(seen) == 10
    epochs = [sorted(index for batch in half for index in batch) for half in (seen[:5], seen[5:])]
    assert epochs == [list(range(20))] * 2
    assert seen[:5] != seen[5:]


def test_students_train_with_dropout(make: Make) -> None:
    first = finished(make(logging_steps=1)).position.history[0]
    training = make(logging_steps=1)
    without_dropout(training.model)
    assert finished(training).position.history[0].train_loss != first.train_loss


def test_weights_decay_and_norms_do_not(make: Make) -> None:
    training = make(weight_decay=0.5, learning_rate=0.1)
    before = {name: value.detach().clone() for name, value in training.model.named_parameters()}
    for parameter in training.model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    training.optimizer.step()
    for name, value in training.model.named_parameters():
        # Without gradients AdamW only decays weights, by learning rate times weight decay.
        free = name.endswith(("layer_norm.weight", "relative_attention_bias.weight"))
        factor = 1.0 if free else 1 - 0.1 * 0.5
        torch.testing.assert_close(value.detach(), before[name] * factor, msg=name)


@pytest.mark.parametrize("max_grad_norm", [1e-3, 1e6])
def test_gradients_are_clipped_together(make: Make, max_grad_norm: float) -> None:
    training = make(max_grad_norm=max_grad_norm)
    norms: list[float] = []

    def measure(*_: object) -> None:
        gradients = [p.grad for p in training.model.parameters() if p.grad is not None]
        norms.append(float(torch.cat([gradient.flatten() for gradient in gradients]).norm()))

    training.optimizer.register_step_pre_hook(measure)
    finished(training)
    assert len(norms) == 10
    if max_grad_norm < 1:
        assert norms == pytest.approx([max_grad_norm] * 10, rel=1e-2)
    else:
        assert min(norms) > 0.1


def test_ce_weight_scales_the_trained_loss_alone(make: Make) -> None:
    first = finished(make(logging_steps=1)).position.history[0]
    second = finished(make(logging_steps=1, ce_weight=2.5)).position.history[0]
    assert second.train_loss == pytest.approx(2.5 * first.train_loss, rel=1e-6)
    assert second.unsmoothed_train_loss == pytest.approx(first.unsmoothed_train_loss, rel=1e-6)


# Losses of the first recipe, which used transformers' own T5 and torch's own operations.
GOLDEN = {
    0.0: [6.755058, 6.618539, 5.832974, 5.793685, 5.263848, 5.307117, 4.721767, 4.653027],
    0.1: [6.808341, 6.684567, 5.991242, 5.946618, 5.490829, 5.517325, 4.995995, 4.928158],
}


@pytest.mark.parametrize("smoothing", GOLDEN)
def test_the_built_in_student_learns_as_it_always_did(smoothing: float) -> None:
    tokens = tokenize_examples(mini_tokenizer(), mini_examples("train", 96))
    train = Pairs(tokens.sources.rows(96, 128), tokens.targets.rows(96, 64))
    settings = Train(
        num_epochs=1,
        batch_size=8,
        learning_rate=2e-3,
        label_smoothing=smoothing,
        logging_steps=1,
        eval_steps=8,
        warmup_fraction=0.1,
        weight_decay=0.01,
    )
    training = Training(load_student(Student(source="mini")), train, train, settings, 0)
    next(training.run())
    losses = [row.train_loss for row in training.position.history]
    # Processors differ in the sixth digit, while another recipe differs in the second.
    assert losses == pytest.approx(GOLDEN[smoothing], rel=1e-4)


# Reports


def test_rows_stand_at_logging_and_evaluation_steps(make: Make) -> None:
    training = make(logging_steps=3, eval_steps=4)
    yielded = [(row.step, row) for row in training.run()]
    history = training.position.history
    assert [row.step for row in history] == [3, 4, 6, 8, 9, 10]
    # The last step is evaluated although it is not a multiple of four.
    assert [row.step for row in history if row.eval_loss is not None] == [4, 8, 10]
    assert yielded == [(row.step, row) for row in history if row.eval_loss is not None]
    assert [row.epoch for row in history] == pytest.approx([0.6, 0.8, 1.2, 1.6, 1.8, 2.0])
    elapsed = [row.elapsed_s for row in history]
    assert elapsed == sorted(elapsed)
    assert elapsed[0] > 0
    assert training.position.step == training.total_steps == 10


def test_train_loss_is_the_mean_since_the_row_before(make: Make) -> None:
    fine = finished(make(logging_steps=1, eval_steps=100)).position.history
    coarse = finished(make(logging_steps=3, eval_steps=4)).position.history
    start = 0
    for row in coarse:
        steps = fine[start : row.step]
        assert row.train_loss == pytest.approx(fmean(step.train_loss for step in steps), rel=1e-6)
        unsmoothed = fmean(step.unsmoothed_train_loss for step in steps)
        assert row.unsmoothed_train_loss == pytest.approx(unsmoothed, rel=1e-6)
        assert row.learning_rate == fine[row.step - 1].learning_rate
        start = row.step


def test_the_rates_used_are_the_schedule_s(make: Make) -> None:
    training = make(logging_steps=1, warmup_fraction=0.2)
    rates: list[float] = []
    training.optimizer.register_step_pre_hook(
        lambda optimizer, *_: rates.extend({group["lr"] for group in optimizer.param_groups})
    )
    finished(training)
    assert rates == pytest.approx([0.0, 5e-4, *(1e-3 * left / 8 for left in range(8, 0, -1))])
    assert [row.learning_rate for row in training.position.history] == rates


def test_evaluating_more_often_changes_no_weight(make: Make) -> None:
    often, once = (finished(make(eval_steps=steps)) for steps in (1, 100))
    assert torch.equal(weights(often), weights(once))


def test_time_that_the_caller_takes_is_not_training_time(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr("tune_distill.training.loop.time.perf_counter", lambda: now[0])
    training = make(eval_steps=5)
    training.optimizer.register_step_pre_hook(lambda *_: now.__setitem__(0, now[0] + 1.0))
    for _ in training.run():
        now[0] += 1000.0
    assert [row.elapsed_s for row in training.position.history] == [5.0, 10.0]


# Divergence


def poison(training: Training) -> None:
    with torch.no_grad():
        training.model.shared.weight.fill_(math.nan)


@pytest.mark.parametrize("logging_steps", [1, 3, 100])
def test_a_loss_that_is_not_finite_names_its_step(make: Make, logging_steps: int) -> None:
    training = make(logging_steps=logging_steps, eval_steps=4)
    steps = training.run()
    assert next(steps).step == 4
    poison(training)
    with pytest.raises(NonFiniteLossError, match="finite, got nan at step 5; try") as caught:
        list(steps)
    assert caught.value.step == 5
    assert math.isnan(caught.value.loss)


def test_a_student_that_overflows_by_itself_is_told_apart_from_a_training_that_diverges(
    make: Make,
) -> None:
    overflowing = make()
    poison(overflowing)
    with pytest.raises(NonFiniteLossError, match="at step 1; the student itself overflows"):
        list(overflowing.run())
    # The first update may ruin it, because the evaluation after step 1 sees changed weights.
    training = make(eval_steps=1)
    training.optimizer.register_step_post_hook(lambda *_: poison(training))
    with pytest.raises(NonFiniteLossError, match="at step 1; try a lower learning rate"):
        list(training.run())


def test_weights_ruined_by_the_last_step_are_noticed(make: Make) -> None:
    # The last step's loss is still finite, and no later step would show the damage.
    training = make(eval_steps=100)
    rates = []

    def after(optimizer: torch.optim.Optimizer, *_: object) -> None:
        rates.append(optimizer.param_groups[0]["lr"])
        if len(rates) == training.total_steps:
            poison(training)

    training.optimizer.register_step_post_hook(after)
    with pytest.raises(NonFiniteLossError) as caught:
        list(training.run())
    assert caught.value.step == training.total_steps


def test_an_enormous_learning_rate_diverges_at_one_step(make: Make) -> None:
    steps = []
    for logging_steps in (1, 100):
        with pytest.raises(NonFiniteLossError) as caught:
            finished(make(learning_rate=1e38, logging_steps=logging_steps, eval_steps=100))
        steps.append(caught.value.step)
    assert steps[0] == steps[1] > 1
