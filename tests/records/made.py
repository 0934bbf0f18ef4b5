"""Studies, trials and records made without a student or a corpus."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tune_distill.records.examples import Example, content_ids
from tune_distill.records.places import Folder
from tune_distill.records.runs import EvaluationRecord, HistoryRow, RunRecord
from tune_distill.records.store import Store
from tune_distill.records.tables import write_predictions
from tune_distill.spec.keys import DataIdentity
from tune_distill.spec.plan import ResolvedStudy, Trial, planned_trials
from tune_distill.spec.profile import Data, Metrics, Student, Task
from tune_distill.spec.settings import study_profile
from tune_distill.spec.study import Study
from tune_distill.spec.task import TaskDescription
from tune_distill.spec.yaml_files import load_profile, load_study, shipped_task

METRICS = {
    "label_accuracy": 0.75,
    "parse_rate": 1.0,
    "rouge1": 0.5,
    "rouge2": 0.25,
    "rougeL": 0.4,
    "faithfulness": 0.6,
    "faithfulness_ceiling": 0.9,
    "grounding": None,
    "bertscore": None,
}


class LocalStore(Store):
    """A store in a folder, with the paths of its files."""

    def __init__(self, root: Path) -> None:
        super().__init__(Folder(root))
        self.root = root

    def run_dir(self, run_key: str) -> Path:
        return self.root / "runs" / run_key

    def student_dir(self, run_key: str) -> Path:
        """Return the folder of the finished run's student; an absent path if it is unfinished."""
        return next(self.run_dir(run_key).glob("student-*"), self.run_dir(run_key) / "student-")

    def checkpoint_path(self, run_key: str) -> Path:
        return self.run_dir(run_key) / "checkpoint.safetensors"

    def evaluation_dir(self, evaluation_key: str) -> Path:
        return self.root / "evaluations" / evaluation_key

    def predictions_path(self, evaluation_key: str) -> Path:
        return self.evaluation_dir(evaluation_key) / "predictions.parquet"

    def simulator_path(self, name: str) -> Path:
        return self.root / "simulators" / f"{name}.safetensors"

    def journal_path(self, search_key: str) -> Path:
        return self.root / "searches" / search_key / "optuna.journal"


class FakeInputs:
    """Inputs whose identities are the sources in the profile; the pool has 500 examples."""

    def __init__(self) -> None:
        self.prepared: list[Any] = []

    def student_identity(self, student: Student) -> Mapping[str, str]:
        return {"builtin": student.source}

    def data_identity(self, task: Task, data: Data) -> DataIdentity:
        num_pool, num_validation = data.num_train or 500, data.num_validation or 200
        num_train = round(num_pool * data.train_fraction)
        name = f"{data.source}-{num_pool}"
        return DataIdentity(
            train_digest=f"{name}-{num_train}",
            num_train=num_train,
            validation_digest=f"{data.source}-validation-{num_validation}",
            num_validation=num_validation,
            pool_digest=name,
        )

    def encoder_identity(self, metrics: Metrics) -> str | None:
        return metrics.bertscore_model

    def prepare(self, profiles: Any, store: Store) -> None:
        self.prepared = list(profiles)

    def for_workers(self) -> list[Any]:
        return self.prepared

    def description(self, task: Task) -> TaskDescription:
        return shipped_task("esnli")

    def validation(self, task: Task, data: Data) -> list[Example]:
        return [example(f"e{number}") for number in range(data.num_validation or 200)]


def example(example_id: str = "e1") -> Example:
    return Example(
        example_id,
        inputs=("a man plays", "he sits"),
        label="neutral",
        explanations=("he may sit", "or he may stand"),
    )


INPUTS = FakeInputs()


def resolved(study: str | Study = "smoothing", num_seeds: int = 1, **chosen: Any) -> ResolvedStudy:
    """Return the study on the mini profile with fields set, such as `train__num_epochs=1`."""
    if isinstance(study, str):
        study = load_study(study)
    fields = {name.replace("__", "."): value for name, value in chosen.items()}
    profile = study_profile(study, "mini", load_profile("mini"), fields)
    return ResolvedStudy(study, "mini", profile, tuple(range(num_seeds)))


def study_of(vary: Mapping[str, Any], **more: Any) -> Study:
    """Return a study that varies these parameters."""
    return Study.model_validate({"name": "own", "question": "What if?", "vary": vary, **more})


def trials_of(study: str | Study = "smoothing", num_seeds: int = 1, **chosen: Any) -> list[Trial]:
    """Return the trials of a grid or random study."""
    return planned_trials(resolved(study, num_seeds, **chosen), INPUTS)


def history(*eval_losses: float | None, step: int = 10) -> tuple[HistoryRow, ...]:
    """Return history rows at step, 2 step, ... with these eval losses."""
    return tuple(
        HistoryRow(
            step=number * step,
            epoch=number / 2,
            train_loss=3.0 / number,
            unsmoothed_train_loss=2.5 / number,
            eval_loss=loss,
            learning_rate=1e-3,
            elapsed_s=0.5 * number,
        )
        for number, loss in enumerate(eval_losses, start=1)
    )


def run_record(trial: Trial, **changes: Any) -> RunRecord:
    """Return the record of a finished run of the trial."""
    record = RunRecord(
        num_train=trial.run_identity["data"]["num_train"],
        num_steps=20,
        final_train_loss=1.5,
        eval_loss=1.25,
        validation_digest=trial.evaluation_identity["validation"]["digest"],
        training_time_s=1.0,
        examples_per_s=300.0,
        source_truncated_fraction=0.0,
        target_truncated_fraction=0.1,
        device="cpu",
        instruction_set="AVX2",
        precision="fp32",
        history=history(None, 1.25),
    )
    return replace(record, **changes)


def evaluation_record(**changes: Any) -> EvaluationRecord:
    return replace(EvaluationRecord(dict(METRICS), 1.25, 200, 0.25), **changes)


CONTENT_IDS = content_ids([example()] * 200)
"""The content ids of FakeInputs' examples e0, e1, ..., whose texts are equal."""


def prediction(example_id: str = CONTENT_IDS[0], **changes: Any) -> dict[str, Any]:
    """A row of the predictions table."""
    row = {
        "example_id": example_id,
        "sample": 0,
        "gold_label": "neutral",
        "predicted_label": "neutral",
        "correct": True,
        "prediction": "neutral explanation: he may sit",
        "explanation": "he may sit",
        "rouge1": 1.0,
        "rouge2": 0.5,
        "rougeL": 1.0,
        "faithful": True,
        "grounding": None,
        "eval_loss": 1.25,
        "num_target_tokens": 8,
    }
    assert changes.keys() <= row.keys()
    return row | changes


def finish_run(store: Store, trial: Trial, **changes: Any) -> None:
    """Store a complete run of the trial."""
    store.begin_run(trial.run_key, trial.run_identity)
    store.finish_run(
        trial.run_key,
        trial.run_identity,
        run_record(trial, **changes),
        lambda path: (path / "weights").write_text(trial.run_key),
    )


def finish(store: Store, trial: Trial, num_predictions: int = 1) -> None:
    """Store a complete run and evaluation of the trial."""
    finish_run(store, trial)
    rows = [prediction(CONTENT_IDS[number]) for number in range(num_predictions)]
    store.save_evaluation(
        trial.evaluation_key,
        trial.run_key,
        evaluation_record(),
        lambda path: write_predictions(path, rows),
    )
