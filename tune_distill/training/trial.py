"""Runs one trial: trains unless the run is stored, decodes unless the evaluation is stored.

This module does not use Ray: a trial is an iterator of progress, which its caller may abandon.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from tune_distill.records.digests import DamagedError
from tune_distill.records.examples import Example, content_ids
from tune_distill.records.runs import EvaluationRecord, HistoryRow, RunRecord, without_eval_loss
from tune_distill.records.store import Store
from tune_distill.records.tables import write_predictions
from tune_distill.records.trials import comparable_history
from tune_distill.spec.errors import StoreError, StudentError
from tune_distill.spec.metrics import METRICS, function
from tune_distill.spec.plan import Trial
from tune_distill.spec.profile import Profile
from tune_distill.students.machine import device_name, instruction_set
from tune_distill.students.model import Model
from tune_distill.students.port import Untrained
from tune_distill.students.tokens import Pairs, TokenPairs
from tune_distill.tasks.answers import ExampleLoss
from tune_distill.tasks.scoring import Row, score_answers, summarize
from tune_distill.training.checkpoints import load_checkpoint, save_checkpoint
from tune_distill.training.encoders import Encoder
from tune_distill.training.inputs import Inputs, Tokens
from tune_distill.training.loop import Training
from tune_distill.training.losses import example_losses, mean_loss


@dataclass(frozen=True)
class Progress:
    """The progress of a trial: in training after an evaluation, or done with its metrics.

    `resumed_step` is the step of the checkpoint that this attempt started from, 0 without one;
    `final_eval_loss` comes with the metrics.
    """

    step: int
    num_steps: int
    history: tuple[HistoryRow, ...]
    resumed_step: int = 0
    trained: bool = True
    metrics: dict[str, float | None] | None = None
    final_eval_loss: float | None = None

    @property
    def done(self) -> bool:
        return self.metrics is not None

    @property
    def eval_loss(self) -> float | None:
        """The latest loss on the trial's own validation examples."""
        if self.final_eval_loss is not None:
            return self.final_eval_loss
        return next((r.eval_loss for r in reversed(self.history) if r.eval_loss is not None), None)


def run_trial(trial: Trial, inputs: Inputs, store: Store) -> Iterator[Progress]:
    """Yield progress after each evaluation of the training, and at last with the metrics.

    The run and the evaluation are in the store before the last yield. An abandoned iterator leaves
    a checkpoint, from which the same trial resumes.

    Raises:
        NonFiniteLossError: the training diverged.
        StoreError: what was stored cannot be read.
    """
    run, model = store.run(trial.run_key), None
    evaluation = store.evaluation(trial.evaluation_key)
    if run is not None and evaluation is None:
        model = _stored_student(trial, inputs, store)
        run = run if model is not None else None
    trained = run is None
    resumed_step, losses = 0, None
    if run is None:
        resumed_step, losses = yield from _train(trial, inputs, store)
        run = store.run(trial.run_key)
    if run is not None and evaluation is None:
        model = model or _stored_student(trial, inputs, store)
        run = run if model is not None else None
    if run is None:
        raise StoreError(
            f"{store.place.where()}: must keep what is written, got another content from run "
            f"{trial.run_key} right after its training; check the disk, or choose another --store"
        )
    if evaluation is None:
        assert model is not None
        evaluation = _evaluate(trial, model, inputs, store, losses)
    yield Progress(
        run.num_steps,
        run.num_steps,
        comparable_history(trial, run),
        resumed_step,
        trained,
        evaluation.metrics,
        evaluation.eval_loss,
    )


def _train(
    trial: Trial, inputs: Inputs, store: Store
) -> Generator[Progress, None, tuple[int, list[ExampleLoss]]]:
    """Train the run; return the step from which it resumed and its last validation losses."""
    profile = trial.profile
    data, tokens = inputs.data_identity(profile.task, profile.data), _tokens(inputs, profile)
    store.begin_run(trial.run_key, trial.run_identity)
    train = _pairs(tokens.train, data.num_train, profile)
    validation = _pairs(tokens.validation, data.num_validation, profile)
    student = inputs.untrained[profile.student]
    training = _training(trial, student, train, validation, store)
    resumed_step = training.position.step
    if any(row.eval_loss is not None for row in training.position.history):
        yield Progress(resumed_step, training.total_steps, training.position.history, resumed_step)
    for row in training.run():
        if row.step < training.total_steps:
            store.save_checkpoint(trial.run_key, _checkpoint_writer(training, trial.run_key))
            yield Progress(row.step, training.total_steps, training.position.history, resumed_step)
    lengths = profile.train
    last = training.position.history[-1]
    assert last.eval_loss is not None
    record = RunRecord(
        num_train=data.num_train,
        num_steps=training.total_steps,
        final_train_loss=last.train_loss,
        eval_loss=last.eval_loss,
        validation_digest=data.validation_digest,
        training_time_s=last.elapsed_s,
        examples_per_s=data.num_train * lengths.num_epochs / last.elapsed_s,
        source_truncated_fraction=tokens.train.sources.truncated_fraction(
            data.num_train, lengths.max_source_length
        ),
        target_truncated_fraction=tokens.train.targets.truncated_fraction(
            data.num_train, lengths.max_target_length
        ),
        device=device_name(),
        instruction_set=instruction_set(),
        precision=profile.train.precision,
        history=training.position.history,
    )
    store.finish_run(
        trial.run_key,
        trial.run_identity,
        record,
        lambda path: student.save(path, training.model),
    )
    return resumed_step, training.validation_losses


def _training(
    trial: Trial, student: Untrained, train: Pairs, validation: Pairs, store: Store
) -> Training:
    """Return the training, at the position of its checkpoint or at its start."""
    digest = trial.evaluation_identity["validation"]["digest"]

    def fresh() -> Training:
        torch.manual_seed(trial.seed)
        model = _on_device(student.model(), trial.profile)
        training = Training(model, train, validation, trial.profile.train, trial.seed)
        training.position = replace(training.position, validation_digest=digest)
        return training

    training = fresh()
    try:
        with store.checkpoint(trial.run_key) as path:
            position = load_checkpoint(path, training.model, training.optimizer, trial.run_key)
    except FileNotFoundError:
        return training
    except DamagedError as error:
        store.set_checkpoint_aside(trial.run_key, error)
        # Some weights may have been restored before the damage showed.
        return fresh()
    if position.validation_digest != digest:
        history = without_eval_loss(position.history)
        position = replace(position, history=history, validation_digest=digest)
    training.position = position
    return training


def _stored_student(trial: Trial, inputs: Inputs, store: Store) -> Model | None:
    """Return the run's student, or None; report a damaged one and set its run aside."""
    try:
        with store.student(trial.run_key) as folder:
            model = inputs.untrained[trial.profile.student].load(folder)
            return _on_device(model, trial.profile)
    except (DamagedError, FileNotFoundError, StudentError) as error:
        store.set_run_aside(trial.run_key, error)
        return None


def _evaluate(
    trial: Trial, model: Model, inputs: Inputs, store: Store, losses: list[ExampleLoss] | None
) -> EvaluationRecord:
    """Make and store the evaluation; `losses` are those of its examples, if they are known."""
    profile = trial.profile
    data = inputs.data_identity(profile.task, profile.data)
    pairs = _pairs(_tokens(inputs, profile).validation, data.num_validation, profile)
    student = inputs.untrained[profile.student]
    started = time.perf_counter()
    texts = model.generate(student.texts, pairs.sources, profile.decode)
    decode_time_s = time.perf_counter() - started
    examples = inputs.validation(profile.task, profile.data)
    losses = losses or example_losses(model, pairs)
    task, simulator = inputs.task(profile.task), inputs.simulator(profile.task, profile.data)
    rows = score_answers(task, examples, texts, losses, simulator)
    record = EvaluationRecord(
        metrics={
            **summarize(rows),
            "faithfulness_ceiling": inputs.ceiling(profile.task, profile.data),
            **_bertscore(rows, examples, inputs.encoder(profile.metrics)),
        },
        eval_loss=mean_loss(losses),
        num_validation=data.num_validation,
        decode_time_s=decode_time_s,
    )
    store.save_evaluation(
        trial.evaluation_key,
        trial.run_key,
        record,
        lambda path: write_predictions(path, rows),
    )
    return record


def _bertscore(
    rows: list[Row], examples: list[Example], encoder: Encoder | None
) -> dict[str, float | None]:
    """Return the mean BERTScore of the explanations, None if the profile names no encoder."""
    if encoder is None:
        return {"bertscore": None}
    ids = content_ids(examples)
    references = {name: each.explanations for name, each in zip(ids, examples, strict=True)}
    scores = function(METRICS["bertscore"].computed_by)(
        [row["explanation"] for row in rows],
        [references[row["example_id"]] for row in rows],
        encoder,
    )
    return {"bertscore": sum(scores) / len(scores)}


def _tokens(inputs: Inputs, profile: Profile) -> Tokens:
    return inputs.tokens[profile.student, profile.task, profile.data.source]


def _pairs(pairs: TokenPairs, count: int, profile: Profile) -> Pairs:
    lengths = profile.train
    return Pairs(
        pairs.sources.rows(count, lengths.max_source_length),
        pairs.targets.rows(count, lengths.max_target_length),
    )


def _checkpoint_writer(training: Training, run_key: str) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        save_checkpoint(path, training.model, training.optimizer, training.position, run_key)

    return write


def _on_device(model: Model, profile: Profile) -> Model:
    """Return the model on the device and in the precision of the profile's trials."""
    model.precision = profile.train.precision
    return model.cuda() if torch.cuda.is_available() else model
