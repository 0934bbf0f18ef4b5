"""The six studies as six experiments of Ray Tune in which every trial trains its own student.

Training, decoding and scoring are ours, so that only the plan and the start of Ray and its workers
differ: each trial has its own store, grids are expanded by Tune, searches use Tune's OptunaSearch
and ASHA, one Ray runs all studies, and workers are reused within each study. Nothing is kept or
judged. Takes the study command's arguments.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

os.environ.setdefault("RAY_TRAIN_ENABLE_V2_MIGRATION_WARNINGS", "0")

import ray
from ray import tune
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search.optuna import OptunaSearch

from tune_distill.cli.options import parse_arguments
from tune_distill.records.places import Folder
from tune_distill.records.store import Store
from tune_distill.spec.domains import LogUniform
from tune_distill.spec.plan import ResolvedStudy
from tune_distill.spec.settings import Setting, domains, input_profiles, setting, settings
from tune_distill.spec.study import Study
from tune_distill.students.batches import num_steps
from tune_distill.study import resolve
from tune_distill.training.inputs import Inputs


def main() -> int:
    options = parse_arguments(sys.argv[1:])
    inputs, num_trials, num_failed = Inputs(), 0, 0
    ray.init(include_dashboard=False, log_to_driver=False)
    with tempfile.TemporaryDirectory() as folder:
        for name in options.studies:
            resolved = resolve(name, options)
            profiles = input_profiles(resolved.study, resolved.profile)
            inputs.prepare(profiles, Store(Folder(Path(folder) / "simulators")))
            results = _tuner(resolved, inputs, folder).fit()
            num_trials += len(results)
            num_failed += results.num_errors
    print(f"{num_trials} trainings, {num_failed} failed")
    return int(num_failed > 0)


def _tuner(resolved: ResolvedStudy, inputs: Inputs, folder: str) -> tune.Tuner:
    study, profile = resolved.study, resolved.profile
    trainable = tune.with_parameters(train_model, resolved=resolved, inputs=inputs.for_workers())
    if study.search.method == "optuna":
        space: dict[str, Any] = {"values": _space(resolved)}
        data = inputs.data_identity(profile.task, profile.data)
        config = _searching(study, num_steps(data.num_train, profile.train))
    else:
        fields = [dict(each.fields) for each in settings(study, profile)]
        space = {"fields": tune.grid_search(fields)}
        config = tune.TuneConfig(reuse_actors=True)
    return tune.Tuner(
        tune.with_resources(trainable, {"cpu": 1}),
        param_space=space,
        tune_config=config,
        run_config=tune.RunConfig(storage_path=folder, name=study.name, verbose=0),
    )


def _space(resolved: ResolvedStudy) -> dict[str, Any]:
    return {
        name: tune.loguniform(domain.low, domain.high)
        for name, domain in domains(resolved.study, resolved.profile).items()
        if isinstance(domain, LogUniform)
    }


def _searching(study: Study, last_step: int) -> tune.TuneConfig:
    assert study.scheduler is not None
    return tune.TuneConfig(
        search_alg=OptunaSearch(seed=study.search.seed),
        scheduler=ASHAScheduler(
            time_attr="step",
            max_t=last_step,
            grace_period=round(last_step * study.scheduler.grace_fraction),
            reduction_factor=study.scheduler.reduction_factor,
        ),
        metric=study.metric.name,
        mode=study.metric.mode,
        num_samples=study.search.num_samples,
        reuse_actors=True,
    )


def train_model(config: dict[str, Any], resolved: ResolvedStudy, inputs: Inputs) -> None:
    from tune_distill.students.process import configure_torch
    from tune_distill.training.trial import run_trial

    configure_torch(1)
    if "fields" in config:
        chosen = Setting({}, config["fields"])
    else:
        space = domains(resolved.study, resolved.profile)
        chosen = setting(resolved.study, space, config["values"])
    trial = resolved.trial(chosen, resolved.seeds[0], inputs)
    with tempfile.TemporaryDirectory() as folder:
        for progress in run_trial(trial, inputs, Store(Folder(Path(folder)))):
            told = {"step": progress.step, "eval_loss": progress.eval_loss}
            tune.report(told | (progress.metrics or {}))


if __name__ == "__main__":
    sys.exit(main())
