"""Bare Ray Tune, as in its tutorials: trials that do nothing, or one that takes a step.

Prints when each trial ended, in seconds, as JSON.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from typing import Any

os.environ.setdefault("RAY_TRAIN_ENABLE_V2_MIGRATION_WARNINGS", "0")

from ray import tune


class Ends(tune.Callback):
    """Collects the time at which each trial ended."""

    def __init__(self) -> None:
        self.ended_s: list[float] = []

    def on_trial_complete(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        self.ended_s.append(time.perf_counter())


def nothing(config: dict[str, Any]) -> None:
    tune.report({"loss": 0.0})


def first_step(config: dict[str, Any]) -> None:
    """Run the Trainer of `trainer` for one step."""
    from transformers import T5ForConditionalGeneration, TrainerCallback

    from benchmarks.peers.common import task_of
    from benchmarks.peers.trainer import make_trainer

    class Stop(TrainerCallback):
        def on_step_end(self, arguments: Any, state: Any, control: Any, **rest: Any) -> Any:
            control.should_training_stop = True
            return control

    task, _ = task_of(config["arguments"])
    model = T5ForConditionalGeneration.from_pretrained(task.student)
    with tempfile.TemporaryDirectory() as folder:
        trainer = make_trainer(task, model, 0.1, "random", folder)
        trainer.args.eval_strategy = "no"
        trainer.add_callback(Stop())
        trainer.train()
    tune.report({"loss": 0.0})


def main() -> int:
    what, *arguments = sys.argv[1:]
    ends = Ends()
    with tempfile.TemporaryDirectory() as folder:
        tune.Tuner(
            tune.with_resources(nothing if what == "nothing" else first_step, {"cpu": 1}),
            param_space={"arguments": arguments},
            tune_config=tune.TuneConfig(
                num_samples=int(arguments[0]) if what == "nothing" else 1, reuse_actors=True
            ),
            run_config=tune.RunConfig(
                storage_path=folder, name="bare", verbose=0, callbacks=[ends]
            ),
        ).fit()
    print(json.dumps(ends.ended_s))
    return 0


if __name__ == "__main__":
    sys.exit(main())
