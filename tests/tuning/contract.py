"""Run small studies with an executor, and print as JSON what came of them.

python -m tests.tuning.contract inline|ray FOLDER

Tests run this as a process of its own, because Ray leaves traces in the process that starts it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from tests.records.made import study_of
from tests.tuning.executed import FIELDS, SEARCH, SMOOTHING, Ran
from tune_distill.planning.resources import ResourceRequest
from tune_distill.tuning.inline_executor import InlineExecutor
from tune_distill.tuning.ray_executor import RayExecutor

EXECUTORS = {
    "inline": InlineExecutor,
    "ray": lambda: RayExecutor(ResourceRequest()),
}
DECODING = study_of({"decode.strategy": ["greedy", "beam", "sample"]})
DIVERGING = study_of({"train.learning_rate": [1e-3, 1e30]})
UNCLIPPED = FIELDS | {"train.max_grad_norm": 1e30}


def described(ran: Ran) -> dict[str, Any]:
    """What was told of the study's trials, and their records."""
    return {
        "told": ran.events.told,
        "of": [ran.events.of.get(record.trial.trial_id) for record in ran.records],
        "early": ran.early,
        "states": ran.states,
        "reused": [record.reused for record in ran.records],
        "errors": [record.error for record in ran.records],
        "seeds": [record.trial.seed for record in ran.records],
        "settings": [record.trial.setting.values for record in ran.records],
        "metrics": [record.evaluation and record.evaluation.metrics for record in ran.records],
    }


def main(name: str, folder: Path) -> None:
    executor = EXECUTORS[name]()
    nodes = executor.nodes()
    smoothing = Ran(folder / "smoothing", SMOOTHING, executor=executor)
    search = Ran(folder / "search", SEARCH, num_seeds=2, executor=executor)
    found = {
        "smoothing": smoothing,
        "smoothing again": smoothing.again(),
        "decoding": Ran(folder / "decoding", DECODING, executor=executor),
        "search": search,
        "search again": search.again(),
        "diverging": Ran(folder / "diverging", DIVERGING, executor=executor, fields=UNCLIPPED),
    }
    executor.close()
    executor.close()
    found["after closing"] = Ran(folder / "closed", SMOOTHING, executor=executor)
    executor.close()
    outcomes = {each: described(ran) for each, ran in found.items()}
    print(json.dumps({"nodes": nodes, **outcomes}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
