"""A trial trains once, resumes where it stopped, and stores numbers that can be recomputed."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from rouge_score.rouge_scorer import RougeScorer
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

from tests.records.made import LocalStore
from tests.tiny import mini_examples, trial_of, write_csv
from tune_distill.records.examples import Example
from tune_distill.records.runs import HistoryRow
from tune_distill.records.sealed import seal
from tune_distill.records.store import Store
from tune_distill.spec.errors import NonFiniteLossError
from tune_distill.spec.plan import Trial
from tune_distill.spec.profile import Profile
from tune_distill.students.machine import device_name, instruction_set
from tune_distill.training.encoders import Encoder
from tune_distill.training.inputs import Inputs
from tune_distill.training.trial import Progress, run_trial

NUM_STEPS = 10
TRAIN = {
    "num_epochs": 2,
    "batch_size": 8,
    "learning_rate": 1e-3,
    "eval_steps": 3,
    "logging_steps": 2,
}


class World:
    """One data source and one student, with trials of it in any store."""

    def __init__(self, folder: Path, student: Path, examples: list[Example]) -> None:
        write_csv(folder / "train.csv", examples)
        write_csv(folder / "validation.csv", mini_examples("validation", 12))
        self.student, self.source = str(student), str(folder)
        self.validation = mini_examples("validation", 12)
        self.inputs = Inputs()
        self.inputs.prepare([self.profile()], LocalStore(folder / "store"))
        # Workers have the inputs in this form.
        self.inputs = self.inputs.for_workers()

    def profile(self, **sections: dict[str, Any]) -> Profile:
        raw: dict[str, dict[str, Any]] = {
            "student": {"source": self.student},
            "data": {"source": self.source},
            "train": TRAIN,
            "decode": {"max_new_tokens": 24},
        }
        return Profile.model_validate(
            {name: fields | sections.get(name, {}) for name, fields in raw.items()}
        )

    def trial(self, seed: int = 0, **sections: dict[str, Any]) -> Trial:
        return trial_of(self.profile(**sections), self.inputs, seed)

    def run(self, trial: Trial, store: Store) -> list[Progress]:
        return list(run_trial(trial, self.inputs, store))


@pytest.fixture(scope="module")
def world(
    tmp_path_factory: pytest.TempPathFactory, taught_t5: Path, examples: list[Example]
) -> World:
    return World(tmp_path_factory.mktemp("world"), taught_t5, examples)


@pytest.fixture(scope="module")
def finished(world: World, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Return a store with the plain trial, run without interruption; tests may only add to it."""
    store = LocalStore(tmp_path_factory.mktemp("finished"))
    with torch.random.fork_rng(devices=[]):
        world.run(world.trial(), store)
    return store


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


def weights(store: Store, trial: Trial) -> bytes:
    return (store.student_dir(trial.run_key) / "model.safetensors").read_bytes()


def timeless(history: Sequence[HistoryRow]) -> list[HistoryRow]:
    return [replace(row, elapsed_s=0.0) for row in history]


def test_progress_comes_with_each_evaluation_and_the_metrics_last(
    world: World, store: Store
) -> None:
    progress = world.run(world.trial(), store)
    assert [each.step for each in progress] == [3, 6, 9, NUM_STEPS]
    assert [each.done for each in progress] == [False, False, False, True]
    assert [each.history[-1].step for each in progress] == [3, 6, 9, NUM_STEPS]
    for each in progress:
        assert (each.num_steps, each.resumed_step, each.trained) == (NUM_STEPS, 0, True)
        assert each.history[-1].eval_loss is not None
    assert [row.step for row in progress[-1].history] == [2, 3, 4, 6, 8, 9, 10]


def test_the_records_say_what_was_done(world: World, finished: Store) -> None:
    trial = world.trial()
    run, evaluation = finished.run(trial.run_key), finished.evaluation(trial.evaluation_key)
    assert run is not None
    assert evaluation is not None
    assert (run.num_train, run.num_steps, evaluation.num_validation) == (40, NUM_STEPS, 12)
    # They are equal to the last bit, although the evaluation reads the student from the store.
    assert run.eval_loss == evaluation.eval_loss == run.history[-1].eval_loss
    assert run.final_train_loss == run.history[-1].train_loss
    assert run.examples_per_s == pytest.approx(80 / run.training_time_s)
    on = (run.device, run.instruction_set, run.precision)
    assert on == (device_name(), instruction_set(), "fp32")
    assert (run.source_truncated_fraction, run.target_truncated_fraction) == (0.0, 0.0)
    assert dict(finished.identities()) == {trial.run_key: trial.run_identity}
    assert not finished.checkpoint_path(trial.run_key).exists()


def test_a_stored_trial_is_neither_trained_nor_decoded_again(
    world: World, finished: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = world.trial()
    stored = finished.evaluation(trial.evaluation_key)
    assert stored is not None
    monkeypatch.setattr("tune_distill.students.t5.model.T5.of", None)
    (progress,) = world.run(trial, finished)
    assert progress.done
    assert not progress.trained
    assert progress.metrics == stored.metrics
    assert progress.step == progress.num_steps == NUM_STEPS


def test_the_same_trial_gives_the_same_numbers_anywhere(
    world: World, finished: Store, store: Store
) -> None:
    trial, other = world.trial(), world.trial(seed=1)
    torch.manual_seed(123)
    metrics = world.run(trial, store)[-1].metrics
    stored = finished.evaluation(trial.evaluation_key)
    assert stored is not None
    assert metrics == stored.metrics
    assert weights(store, trial) == weights(finished, trial)
    world.run(other, store)
    assert weights(store, other) != weights(store, trial)


def test_a_bf16_trial_is_another_run_in_the_same_precision_throughout(
    world: World, finished: Store, store: Store
) -> None:
    trial = world.trial(train={"precision": "bf16"})
    assert trial.run_key != world.trial().run_key
    metrics = world.run(trial, store)[-1].metrics
    run, exact = store.run(trial.run_key), finished.run(world.trial().run_key)
    assert run is not None
    assert exact is not None
    assert run.eval_loss != exact.eval_loss
    assert run.eval_loss == pytest.approx(exact.eval_loss, rel=0.02)
    # The student read from the store computes as the trained one, to the last bit.
    path = store.predictions_path(trial.evaluation_key)
    answers = pd.read_parquet(path)
    store.discard_evaluation(trial.evaluation_key)
    (progress,) = world.run(trial, store)
    assert not progress.trained
    assert progress.metrics == metrics
    pd.testing.assert_frame_equal(pd.read_parquet(path), answers, check_exact=True)
    assert progress.final_eval_loss == run.eval_loss


def test_another_decoding_reuses_the_run(world: World, finished: Store) -> None:
    trial = world.trial(decode={"strategy": "sample", "num_samples": 3, "temperature": 1.5})
    assert trial.run_key == world.trial().run_key
    (progress,) = world.run(trial, finished)
    assert not progress.trained
    frame = pd.read_parquet(finished.predictions_path(trial.evaluation_key))
    assert len(frame) == 36
    assert list(frame["sample"]) == [0, 1, 2] * 12
    assert frame["example_id"].value_counts().eq(3).all()
    assert frame.groupby("example_id")["eval_loss"].nunique().eq(1).all()
    # The loss is that of the targets, and does not depend on decoding.
    plain = pd.read_parquet(finished.predictions_path(world.trial().evaluation_key))
    columns = ["example_id", "eval_loss", "num_target_tokens"]
    once = frame[frame["sample"] == 0].reset_index(drop=True)
    pd.testing.assert_frame_equal(once[columns], plain[columns], check_exact=True)


# Resuming


def abandon(world: World, trial: Trial, store: Store, after: int = 1) -> None:
    """Run the trial until its `after`-th progress, and abandon it."""
    steps = run_trial(trial, world.inputs, store)
    for _ in range(after):
        next(steps)
    del steps
    assert store.checkpoint_path(trial.run_key).is_file()
    assert store.run(trial.run_key) is None


@pytest.mark.parametrize("after", [1, 3])
def test_an_abandoned_trial_goes_on_to_the_same_end(
    world: World, finished: Store, store: Store, after: int
) -> None:
    trial = world.trial()
    abandon(world, trial, store, after)
    torch.manual_seed(77)
    progress = world.run(trial, store)
    steps = [3, 6, 9, NUM_STEPS]
    assert [each.step for each in progress] == steps[after - 1 :]
    assert {each.resumed_step for each in progress} == {3 * after}
    assert weights(store, trial) == weights(finished, trial)
    whole, resumed = finished.run(trial.run_key), store.run(trial.run_key)
    assert whole is not None
    assert resumed is not None
    assert timeless(resumed.history) == timeless(whole.history)
    assert resumed.eval_loss == whole.eval_loss
    assert progress[-1].trained
    assert not store.checkpoint_path(trial.run_key).exists()


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:1000])


def flip_one_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    path.write_bytes(content)


def spoil_random_state(path: Path) -> None:
    """Damage the random state, which shows only after the weights are restored."""
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    tensors = load_file(path) | {"rng.cpu": torch.zeros(1, dtype=torch.uint8)}
    save_file(tensors, path, metadata)


def another_runs(path: Path) -> None:
    """Replace the checkpoint by that of another run, which fits this run's model."""
    with safe_open(path, framework="pt") as file:
        record = json.loads(file.metadata()["record"])
    sealed = seal("checkpoint", {"run": "f" * 64}, record["content"])
    save_file(load_file(path), path, {"record": sealed.decode()})


@pytest.mark.parametrize("damage", [cut, flip_one_bit, spoil_random_state, another_runs])
def test_a_damaged_checkpoint_starts_the_training_again(
    world: World, finished: Store, store: Store, damage: Any, caplog: pytest.LogCaptureFixture
) -> None:
    trial = world.trial()
    abandon(world, trial, store)
    path = store.checkpoint_path(trial.run_key)
    damage(path)
    damaged = path.read_bytes()
    with caplog.at_level(logging.WARNING):
        progress = world.run(trial, store)
    assert [each.step for each in progress] == [3, 6, 9, NUM_STEPS]
    assert progress[0].resumed_step == 0
    aside = path.with_name(f"{path.name}.damaged-1")
    assert aside.read_bytes() == damaged
    (message,) = [record.getMessage() for record in caplog.records]
    assert message.startswith(f"{path}: ")
    assert message.endswith(f"set aside as {aside.name}")
    assert weights(store, trial) == weights(finished, trial)


def test_a_diverged_trial_leaves_no_run(world: World, store: Store) -> None:
    trial = world.trial(train={"learning_rate": 1e38})
    with pytest.raises(NonFiniteLossError):
        world.run(trial, store)
    assert store.run(trial.run_key) is None
    assert store.evaluation(trial.evaluation_key) is None


# The meaning of the numbers


def test_the_evaluation_loss_is_that_of_the_examples_at_hand(world: World, finished: Store) -> None:
    trial = world.trial(data={"num_validation": 5})
    assert trial.run_key == world.trial().run_key
    (progress,) = world.run(trial, finished)
    record, run = finished.evaluation(trial.evaluation_key), finished.run(trial.run_key)
    assert record is not None
    assert run is not None
    assert not progress.trained
    assert record.num_validation == 5
    folder = finished.student_dir(trial.run_key)
    model, tokenizer = (
        AutoModelForSeq2SeqLM.from_pretrained(folder).eval(),
        AutoTokenizer.from_pretrained(folder),
    )
    total, count, alone = 0.0, 0, []
    for example in world.inputs.validation(trial.profile.task, trial.profile.data):
        source, target = texts(example)
        labels = torch.tensor([[*tokenizer(target).input_ids, tokenizer.eos_token_id]])
        ids = torch.tensor([[*tokenizer(source).input_ids, tokenizer.eos_token_id]])
        with torch.no_grad():
            alone.append(float(model(input_ids=ids, labels=labels).loss))
        total += alone[-1] * labels.numel()
        count += labels.numel()
    frame = pd.read_parquet(finished.predictions_path(trial.evaluation_key))
    assert list(frame["eval_loss"]) == pytest.approx(alone, rel=1e-5)
    tokens = frame["num_target_tokens"]
    weighed = (frame["eval_loss"] * tokens).sum() / tokens.sum()
    assert record.eval_loss == pytest.approx(weighed, rel=1e-12)
    assert tokens.sum() == count
    assert record.eval_loss == pytest.approx(total / count, rel=1e-5)
    assert record.eval_loss != pytest.approx(run.eval_loss, rel=1e-3)


def texts(example: Example) -> tuple[str, str]:
    source = f"nli premise: {example.inputs[0]} hypothesis: {example.inputs[1]}"
    return source, f"{example.label} explanation: {example.explanations[0]}"


def test_the_metrics_are_those_of_the_stored_predictions(world: World, finished: Store) -> None:
    trial = world.trial()
    frame = pd.read_parquet(finished.predictions_path(trial.evaluation_key))
    record = finished.evaluation(trial.evaluation_key)
    assert record is not None
    examples = {e.inputs: e for e in world.validation}
    used = [
        examples[e.inputs] for e in world.inputs.validation(trial.profile.task, trial.profile.data)
    ]
    assert len(frame) == len(used) == 12
    scorer = RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=True)
    right: list[bool] = []
    scores: dict[str, list[float]] = {"rouge1": [], "rouge2": [], "rougeL": []}
    for prediction, example in zip(frame["prediction"], used, strict=True):
        label, _, explanation = prediction.partition("explanation:")
        right.append(label.strip() == example.label)
        for name, values in scores.items():
            values.append(
                max(scorer.score(text, explanation)[name].fmeasure for text in example.explanations)
            )
    assert list(frame["gold_label"]) == [example.label for example in used]
    assert list(frame["correct"]) == right
    assert 0 < sum(right) < 12
    assert record.metrics["label_accuracy"] == pytest.approx(sum(right) / 12)
    for name, values in scores.items():
        assert record.metrics[name] == pytest.approx(sum(values) / 12)
        assert sum(values) > 0
    assert record.metrics["faithfulness"] == pytest.approx(frame["faithful"].mean())
    assert record.metrics["bertscore"] is None


def test_a_metric_without_a_value_is_none(world: World, finished: Store) -> None:
    # One token can only be a label, so there is no explanation to ground.
    trial = world.trial(decode={"max_new_tokens": 1})
    metrics = world.run(trial, finished)[-1].metrics
    assert metrics is not None
    assert metrics["grounding"] is None
    assert metrics["rouge1"] == 0.0
    assert not any(value is not None and math.isnan(value) for value in metrics.values())


def test_bertscore_compares_with_every_reference(
    world: World, finished: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[list[str], list[tuple[str, ...]], Encoder]] = []

    def fake(
        explanations: list[str], references: list[tuple[str, ...]], encoder: Encoder
    ) -> list[float]:
        asked.append((explanations, references, encoder))
        return [number / 24 for number in range(24)]

    monkeypatch.setattr("tune_distill.training.bertscore.bertscore", fake)
    monkeypatch.setitem(world.inputs.encoders, "enc", Encoder("enc", "of its bytes", {}))
    sampled = world.trial(decode={"strategy": "sample", "num_samples": 2})
    profile = sampled.profile.model_copy(
        update={"metrics": sampled.profile.metrics.model_copy(update={"bertscore_model": "enc"})}
    )
    trial = trial_of(profile, world.inputs)
    assert trial.evaluation_key != sampled.evaluation_key
    metrics = world.run(trial, finished)[-1].metrics
    assert metrics is not None
    assert metrics["bertscore"] == pytest.approx(11.5 / 24)
    ((explanations, references, encoder),) = asked
    frame = pd.read_parquet(finished.predictions_path(trial.evaluation_key))
    assert explanations == list(frame["explanation"])
    expected = [
        e.explanations for e in world.inputs.validation(trial.profile.task, trial.profile.data)
    ]
    assert references == [each for each in expected for _ in range(2)]
    assert encoder.source == "enc"
    assert trial.evaluation_identity["metrics"]["bertscore_encoder"] == "of its bytes"


def test_truncation_is_counted_and_takes_place(world: World, store: Store) -> None:
    trial = world.trial(train={"max_source_length": 20, "max_target_length": 8, "num_epochs": 1})
    world.run(trial, store)
    run = store.run(trial.run_key)
    assert run is not None
    tokens = world.inputs.tokens[trial.profile.student, trial.profile.task, world.source].train
    for fraction, rows, longest in (
        (run.source_truncated_fraction, tokens.sources, 20),
        (run.target_truncated_fraction, tokens.targets, 8),
    ):
        assert fraction == sum(len(row) > longest for row in rows.rows(40, 1000)) / 40
        assert fraction > 0


def test_the_stored_student_answers_as_stored(world: World, finished: Store) -> None:
    trial = world.trial()
    folder = finished.student_dir(trial.run_key)
    model, tokenizer = (
        AutoModelForSeq2SeqLM.from_pretrained(folder),
        AutoTokenizer.from_pretrained(folder),
    )
    frame = pd.read_parquet(finished.predictions_path(trial.evaluation_key))
    answers = []
    for example in world.inputs.validation(trial.profile.task, trial.profile.data):
        ids = torch.tensor([[*tokenizer(texts(example)[0]).input_ids, tokenizer.eos_token_id]])
        output = model.generate(input_ids=ids, max_new_tokens=24)[0]
        answers.append(tokenizer.decode(output, skip_special_tokens=True))
    assert answers == list(frame["prediction"])
    assert len(set(answers)) > 6


def test_a_training_that_goes_on_forgets_losses_on_other_examples(
    world: World, store: Store
) -> None:
    running = run_trial(world.trial(), world.inputs, store)
    next(running)
    running.close()
    fewer = world.trial(data={"num_validation": 6})
    assert fewer.run_key == world.trial().run_key
    progress = world.run(fewer, store)
    undisturbed = world.run(fewer, LocalStore(store.root / "other"))
    losses = [row.eval_loss for row in progress[-1].history if row.step >= NUM_STEPS // 2]
    assert losses == [r.eval_loss for r in undisturbed[-1].history if r.step >= NUM_STEPS // 2]
    # Steps 2 and 3 preceded the interruption; only step 3 was evaluated, on twelve examples.
    assert [row.eval_loss for row in progress[-1].history[:2]] == [None, None]
    # A checkpoint with losses on other examples has nothing to report.
    assert progress[0].step == 6


def test_a_run_found_is_judged_by_its_own_validation_examples(
    world: World, finished: Store
) -> None:
    fewer = world.trial(data={"num_validation": 5})
    (found,) = world.run(fewer, finished)
    evaluation = finished.evaluation(fewer.evaluation_key)
    assert evaluation is not None
    assert found.eval_loss == evaluation.eval_loss
    assert found.eval_loss != world.run(world.trial(), finished)[-1].eval_loss
    assert {row.eval_loss for row in found.history} == {None}


@pytest.mark.parametrize("damage", [cut, flip_one_bit])
def test_a_student_damaged_in_the_store_is_reported_and_made_again(
    world: World,
    store: Store,
    caplog: pytest.LogCaptureFixture,
    damage: Callable[[Path], None],
) -> None:
    trial = world.trial()
    world.run(trial, store)
    before = weights(store, trial)
    damage(store.student_dir(trial.run_key) / "model.safetensors")
    beam = world.trial(decode={"strategy": "beam", "num_beams": 2})
    last = world.run(beam, store)[-1]
    assert last.done
    assert last.trained
    assert weights(store, trial) == before
    assert f"{store.run_dir(trial.run_key)}: damaged (" in caplog.text
    assert (store.root / "runs" / f"{trial.run_key}.damaged-1").is_dir()


def test_a_machine_that_fails_takes_no_finished_run_away(
    world: World, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.run(world.trial(), store)
    beam = world.trial(decode={"strategy": "beam", "num_beams": 2})

    def fail(*arguments: object, **settings: object) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr("tune_distill.students.t5.model.T5.of", fail)
    with pytest.raises(RuntimeError, match="allocate"):
        world.run(beam, store)
    monkeypatch.undo()
    assert not world.run(beam, store)[-1].trained
