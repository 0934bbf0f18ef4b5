"""Results folders with known effects, to check the statistics.

Answers come from a latent ability: an answer is right if ability, the example's difficulty and
noise add up to more than zero. So settings and seeds agree on easy and hard examples, as real
students do, and each setting's true accuracy is known.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray
from scipy.stats import norm

from tests.nli import LABELS, NLI
from tests.records.made import INPUTS, METRICS, evaluation_record, history, resolved, run_record
from tune_distill.analysis.results import StudyResults
from tune_distill.analysis.scores import Scores
from tune_distill.records.schemas import PREDICTIONS, schema, trials_columns
from tune_distill.records.tables import write_examples, write_history, write_trials
from tune_distill.records.trials import TrialRecord, history_rows, trial_row
from tune_distill.spec.domains import Scalar
from tune_distill.spec.plan import ResolvedStudy, Trial
from tune_distill.spec.settings import baseline, domains, setting, settings
from tune_distill.spec.study import Study
from tune_distill.spec.yaml_files import dump_study

Real = NDArray[np.float64]

_QUALITY_SD = 0.15


@dataclass(frozen=True)
class Plant:
    """The true values of a planted study.

    `accuracy` is the true label accuracy of each setting, in the order of the study or of `points`,
    which name the settings of a search. `seed_sd` is the standard deviation by which seeds move the
    accuracy, the quality, and (as a factor) the loss. `difficulty`, `own` and `noise` are the
    standard deviations on an example that are shared by all trials, by all seeds of a setting, and
    within one trial. `quality` and `loss` are the true ROUGE-L and loss of each setting. `states`
    maps (setting, seed) to "failed" or "pruned". `answered` maps (setting, seed) to the number of
    examples that the trial answered, which are the last ones. `samples` maps a setting to its
    number of answers per example, if that is not `num_samples`. `groups` gives each setting a
    number: in settings with the same number, a seed moves the accuracy by the same amount. `noisy`
    maps a setting to how many times as far its seeds move it.
    """

    study: str | Study = "smoothing"
    accuracy: Sequence[float] = (0.7, 0.7, 0.7)
    points: Sequence[Mapping[str, Scalar]] = ()
    num_seeds: int = 3
    num_examples: int = 200
    num_samples: int = 1
    seed_sd: float = 0.01
    difficulty: float = 2.0
    own: float = 0.7
    noise: float = 1.0
    quality: Sequence[float] = ()
    loss: Sequence[float] = ()
    states: Mapping[tuple[int, int], str] = field(default_factory=dict)
    answered: Mapping[tuple[int, int], int] = field(default_factory=dict)
    samples: Mapping[int, int] = field(default_factory=dict)
    groups: Sequence[int] = ()
    noisy: Mapping[int, float] = field(default_factory=dict)
    chosen: Mapping[str, Any] = field(default_factory=dict)

    def samples_of(self, number: int) -> int:
        """Return the number of answers per example of this setting."""
        return self.samples.get(number, self.num_samples)


def plant(results: Path, what: Plant, seed: int = 0) -> Path:
    """Write all tables of the study, and return its folder in `results`.

    The same seed gives the same answers.
    """
    rng = np.random.default_rng(seed)
    ready = resolved(what.study, what.num_seeds, **what.chosen)
    folder = results / ready.study.name
    folder.mkdir(parents=True, exist_ok=True)
    chosen = _settings(ready, what)
    shared_E = rng.normal(0, what.difficulty, what.num_examples)
    gold_E = rng.integers(len(LABELS), size=what.num_examples)
    moves = _moves(rng, what)
    records = []
    columns = schema(PREDICTIONS)
    with pq.ParquetWriter(folder / "predictions.parquet", columns) as writer:
        for number, point in enumerate(chosen):
            own_E = shared_E + rng.normal(0, what.own, what.num_examples)
            for trial_seed in ready.seeds:
                trial = ready.trial(point, trial_seed, INPUTS)
                state = what.states.get((number, trial_seed), "complete")
                table = _answers(rng, what, number, own_E, gold_E, moves.get((number, trial_seed)))
                kept = what.answered.get((number, trial_seed), what.num_examples)
                table = table.slice((what.num_examples - kept) * what.samples_of(number))
                if state == "complete":
                    ids = pa.array([trial.trial_id] * table.num_rows)
                    writer.write_table(table.add_column(0, columns.field("trial_id"), ids))
                records.append(_record(trial, number, state, table, what))
    _write(folder, ready, records, what)
    return folder


def simulated(what: Plant, seeds: Iterable[int]) -> Iterator[StudyResults]:
    """Draw the study anew for each seed, in memory, without writing files.

    The results have only the metrics that `true_means` knows, and every trial is complete.
    """
    assert what.num_samples == 1
    assert not what.samples
    assert not what.states
    assert not what.answered
    ready = resolved(what.study, what.num_seeds, **what.chosen)
    trials = [
        (number, ready.trial(point, trial_seed, INPUTS))
        for number, point in enumerate(_settings(ready, what))
        for trial_seed in ready.seeds
    ]
    frame = pd.DataFrame(
        {
            "trial_id": [trial.trial_id for _, trial in trials],
            "state": "complete",
            "error": None,
            "seed": [trial.seed for _, trial in trials],
            "setting": [number for number, _ in trials],
            "num_train": [trial.run_identity["data"]["num_train"] for _, trial in trials],
            "run_key": [trial.run_key for _, trial in trials],
            "training_time_s": 1.0,
            "decode_time_s": 0.5,
        }
    )
    chosen = [point.values for point in _settings(ready, what)]
    meant = baseline(ready.study, ready.profile)
    assert meant is not None
    for seed in seeds:
        results = StudyResults(
            Path(ready.study.name),
            ready.study,
            ready.profile,
            frame,
            chosen,
            chosen.index(meant.values),
            "",
        )
        results.__dict__["scores"] = _scores(
            np.random.default_rng(seed), what, list(frame.trial_id)
        )
        yield results


def _scores(rng: np.random.Generator, what: Plant, trial_ids: list[str]) -> Scores:
    shared_E = rng.normal(0, what.difficulty, what.num_examples)
    gold_E = rng.integers(len(LABELS), size=what.num_examples)
    moves = _moves(rng, what)
    drawn = []
    for number in range(len(trial_ids) // what.num_seeds):
        own_E = shared_E + rng.normal(0, what.own, what.num_examples)
        drawn += [
            _draw(rng, what, number, own_E, gold_E, moves.get((number, trial_seed)))
            for trial_seed in range(what.num_seeds)
        ]
    tokens = np.stack([one.num_tokens for one in drawn])
    losses = np.stack([one.losses for one in drawn])
    loss = np.average(losses, axis=1, weights=tokens)[:, None]
    values = {
        "label_accuracy": np.stack([one.correct for one in drawn]).astype(np.float64),
        "rougeL": np.stack([one.rouge for one in drawn]),
        "eval_loss": loss + (losses - loss) * tokens / tokens.mean(axis=1, keepdims=True),
    }
    answers = np.zeros((len(trial_ids), len(LABELS), len(LABELS) + 1), np.int64)
    names = [f"e{index}" for index in range(what.num_examples)]
    return Scores(trial_ids, names, values, answers, np.ones(len(trial_ids), np.int64), LABELS)


def true_means(what: Plant, metric: str) -> Real:
    """Return the true metric of each setting: its mean over infinitely many examples and seeds."""
    count = len(what.accuracy)
    if metric == "label_accuracy":
        return np.array(what.accuracy)
    if metric == "rougeL":
        quality = np.array(what.quality or [0.5] * count)
        # This is the mean of a normal variable clipped to [0, 1].
        spread = np.hypot(_QUALITY_SD, what.seed_sd)
        low, high = -quality / spread, (1 - quality) / spread
        inside = norm.cdf(high) - norm.cdf(low)
        return quality * inside + spread * (norm.pdf(low) - norm.pdf(high)) + norm.sf(high)
    assert metric == "eval_loss"
    spread = 0.1**2 * (what.difficulty**2 + what.own**2 + 1)
    return np.array(what.loss or [1.0] * count) * np.exp(spread / 2 - 0.03)


def planted_settings(what: Plant) -> list[dict[str, Scalar]]:
    """Return the settings as in tables."""
    return [point.values for point in _settings(resolved(what.study, what.num_seeds), what)]


def _settings(ready: ResolvedStudy, what: Plant) -> list[Any]:
    if what.points:
        space = domains(ready.study, ready.profile)
        return [setting(ready.study, space, point) for point in what.points]
    return list(settings(ready.study, ready.profile))


def _moves(rng: np.random.Generator, what: Plant) -> dict[tuple[int, int], float]:
    """Return how far each (setting, seed) moves with its group; empty if there are no groups."""
    if not what.groups:
        return {}
    drawn = rng.normal(0, what.seed_sd, (max(what.groups) + 1, what.num_seeds))
    return {
        (number, seed): float(drawn[group, seed])
        for number, group in enumerate(what.groups)
        for seed in range(what.num_seeds)
    }


@dataclass(frozen=True)
class _Draw:
    """One trial's answers (n), grouped by example; `given` is -1 for an unparsed answer."""

    gold: NDArray[np.int64]
    given: NDArray[np.int64]
    correct: NDArray[np.bool_]
    rouge: Real
    losses: Real
    faithful: NDArray[np.bool_]
    grounding: Real
    num_tokens: NDArray[np.int64]


def _draw(
    rng: np.random.Generator,
    what: Plant,
    number: int,
    own_E: Real,
    gold_E: NDArray[np.int64],
    move: float | None = None,
) -> _Draw:
    spread = np.sqrt(what.difficulty**2 + what.own**2 + what.noise**2)
    seed_sd = what.seed_sd * what.noisy.get(number, 1.0)
    move = rng.normal(0, seed_sd) if move is None else move
    accuracy = np.clip(what.accuracy[number] + move, 0.001, 0.999)
    count, samples = what.num_examples, what.samples_of(number)
    ability = norm.ppf(accuracy) * spread - np.repeat(own_E, samples)
    correct = ability > rng.normal(0, what.noise, count * samples)
    gold = np.repeat(gold_E, samples)
    wrong = (gold + rng.integers(1, len(LABELS), len(gold))) % len(LABELS)
    given = np.where(correct, gold, wrong)
    given[~correct & (rng.random(len(gold)) < 0.05)] = -1
    quality = what.quality[number] if what.quality else 0.5
    quality += rng.normal(0, seed_sd)
    rouge = np.clip(rng.normal(quality, _QUALITY_SD, len(gold)), 0, 1)
    loss = what.loss[number] if what.loss else 1.0
    loss *= 1 + rng.normal(0, seed_sd)
    losses = loss * np.exp(0.1 * own_E + rng.normal(0, 0.1, count) - 0.03)
    return _Draw(
        gold,
        given,
        correct,
        rouge,
        np.repeat(losses, samples),
        faithful=rng.random(len(gold)) < 0.85,
        grounding=np.where(rng.random(len(gold)) < 0.1, np.nan, rng.random(len(gold))),
        num_tokens=np.repeat(rng.integers(10, 30, count), samples),
    )


def _answers(
    rng: np.random.Generator,
    what: Plant,
    number: int,
    own_E: Real,
    gold_E: NDArray[np.int64],
    move: float | None = None,
) -> pa.Table:
    """Return one trial's answers as in the predictions table, without the trial's column."""
    drawn = _draw(rng, what, number, own_E, gold_E, move)
    count, samples = what.num_examples, what.samples_of(number)
    given = np.array([*LABELS, None], object)[drawn.given]
    explanations = [f"because scene {index} shows it" for index in np.repeat(range(count), samples)]
    columns = {
        "example_id": [f"e{index}" for index in np.repeat(range(count), samples)],
        "sample": np.tile(np.arange(samples), count),
        "gold_label": np.array(LABELS, object)[drawn.gold],
        "predicted_label": given,
        "correct": drawn.correct,
        "prediction": [
            f"{label or 'maybe'} explanation: {text}"
            for label, text in zip(given, explanations, strict=True)
        ],
        "explanation": explanations,
        "rouge1": np.clip(drawn.rouge + 0.05, 0, 1),
        "rouge2": np.clip(drawn.rouge - 0.1, 0, 1),
        "rougeL": drawn.rouge,
        "faithful": drawn.faithful,
        "grounding": drawn.grounding,
        "eval_loss": drawn.losses,
        "num_target_tokens": drawn.num_tokens,
    }
    target = schema(PREDICTIONS)
    arrays = [
        pa.array(columns[name.name], name.type, from_pandas=True)
        for name in target
        if name.name != "trial_id"
    ]
    return pa.Table.from_arrays(arrays, schema=pa.schema(list(target)[1:]))


def _record(trial: Trial, number: int, state: str, table: pa.Table, what: Plant) -> TrialRecord:
    loss = what.loss[number] if what.loss else 1.0
    steps = history(None, loss * 1.5, None, loss * 1.1, None, loss)
    if state == "failed":
        return TrialRecord(trial, "failed", False, "loss: must be finite, got nan at step 4")
    if state == "pruned":
        return TrialRecord(trial, "pruned", False, history=steps[:2])
    means = {
        "label_accuracy": _mean(table, "correct"),
        "parse_rate": 1 - table.column("predicted_label").null_count / table.num_rows,
        "rouge1": _mean(table, "rouge1"),
        "rouge2": _mean(table, "rouge2"),
        "rougeL": _mean(table, "rougeL"),
        "faithfulness": _mean(table, "faithful"),
        "grounding": pc.mean(table.column("grounding")).as_py(),
    }
    tokens = table.column("num_target_tokens").to_numpy()
    eval_loss = float(np.average(table.column("eval_loss").to_numpy(), weights=tokens))
    run = replace(run_record(trial), history=steps, training_time_s=steps[-1].elapsed_s)
    evaluation = evaluation_record(
        metrics=METRICS | means,
        eval_loss=eval_loss,
        num_validation=table.num_rows // what.samples_of(number),
        decode_time_s=0.5 + 0.25 * number,
    )
    return TrialRecord(trial, "complete", False, None, run, evaluation, steps)


def _mean(table: pa.Table, name: str) -> float:
    return float(table.column(name).to_numpy().astype(np.float64).mean())


def _write(folder: Path, ready: ResolvedStudy, records: Sequence[TrialRecord], what: Plant) -> None:
    gold = ("entailment", "neutral", "contradiction")
    examples = [
        SimpleNamespace(
            example_id=f"e{index}",
            inputs=(f"A dog runs in scene {index}.", "An animal moves."),
            choices=(),
            label=gold[index % 3],
            explanations=("A dog is an animal.",),
        )
        for index in range(what.num_examples)
    ]
    write_examples(folder, NLI.description, examples)
    write_history(folder, history_rows(records))
    rows = [trial_row(ready.study.name, record) for record in records]
    write_trials(folder, rows, trials_columns([r.trial.setting.values for r in records]))
    (folder / "study.yaml").write_text(dump_study(ready), encoding="utf-8")
