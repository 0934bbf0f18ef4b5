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
from tests.tuning.executed import FIELDS, SEARCH, SMOOTHING, Ran, resolved
from tune_distill.planning.resources import ResourceRequest
from tune_distill.tuning.inline_executor import InlineExecutor
from tune_distill.tuning.ray_executor import RayExecutor

EXECUTORS = {
    "inline": InlineExecutor,
    "ray": lambda: RayExecutor(ResourceRequest(max_concurrent=1)),
}
STUDIES = (
    resolved(SMOOTHING),
    resolved(SEARCH.model_copy(update={"name": "search"}), num_seeds=2),
    # With a student of its own, which no other study trains.
    resolved(
        study_of({"decode.strategy": ["greedy", "beam", "sample"]}, name="decoding"),
        fields=FIELDS | {"train.num_epochs": 1},
    ),
    resolved(
        study_of({"train.learning_rate": [1e-3, 1e30]}, name="diverging"),
        fields=FIELDS | {"train.max_grad_norm": 1e30},
    ),
)


def described(ran: Ran) -> dict[str, Any]:
    """Return the events of the studies' trials, and the records of each study."""
    return {
        "told": ran.events.told,
        "early": ran.early,
        "studies": {
            name: {
                "of": [ran.events.of.get((name, record.trial.trial_id)) for record in records],
                "states": [record.state for record in records],
                "reused": [record.reused for record in records],
                "errors": [record.error for record in records],
                "seeds": [record.trial.seed for record in records],
                "settings": [record.trial.setting.values for record in records],
                "metrics": [each.evaluation and each.evaluation.metrics for each in records],
            }
            for name, records in ran.of.items()
        },
    }


def main(name: str, folder: Path) -> None:
    executor = EXECUTORS[name]()
    nodes = executor.nodes()
    executor.close()
    executor.close()
    # A closed executor runs what comes later.
    first = Ran(folder, *STUDIES, executor=executor)
    found = {"first": first, "again": first.again()}
    executor.close()
    outcomes = {each: described(ran) for each, ran in found.items()}
    print(json.dumps({"nodes": nodes, **outcomes}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
