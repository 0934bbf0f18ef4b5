"""Results folders of every kind of study, planted once and judged once."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from tests.analysis.planted import Plant, plant
from tests.records.made import study_of
from tune_distill.analysis.results import read_results
from tune_distill.analysis.verdict import Verdict, judge
from tune_distill.reports.drawing.panels import Figure
from tune_distill.reports.figures.study import study_figures
from tune_distill.reports.page import Page

SMOOTHING = {"train.label_smoothing": [0.0, 0.1, 0.2]}
_SEEDS = range(3)


def rates(count: int) -> list[dict[str, Any]]:
    """Return this many learning rates, a factor of three apart."""
    return [{"train.learning_rate": 1e-4 * 3**power} for power in range(count)]


def ended(setting: int, state: str) -> dict[tuple[int, int], str]:
    """Return the state for all three seeds of a setting."""
    return {(setting, seed): state for seed in _SEEDS}


def verdict_on(tmp_path: Path, what: Plant, seed: int = 0) -> Verdict:
    """Return the verdict on a study that only one test needs."""
    return judge(read_results(plant(tmp_path, what, seed)))


_RATES = (2e-3, 1e-3, 5e-4, 5e-3, 1e-2)

SEARCH = Plant(
    study="learning_rate",
    points=[{"train.learning_rate": rate} for rate in _RATES],
    accuracy=(0.7,) * 5,
    loss=(1.0, 1.02, 1.5, 1.01, 1.6),
    num_seeds=2,
    seed_sd=0.005,
    states={(4, 0): "pruned", (4, 1): "pruned", (2, 1): "pruned"},
)
"""A search whose first point is the baseline; the last one was pruned with every seed."""

SHIPPED = {
    "smoothing": Plant("smoothing", (0.6, 0.7, 0.72), num_examples=120),
    "temperature": Plant("temperature", (0.7, 0.7, 0.65, 0.5), num_examples=120, num_samples=5),
    "data_size": Plant("data_size", (0.5, 0.65, 0.7), num_examples=120),
    "decoding": Plant("decoding", (0.7, 0.72, 0.72, 0.71, 0.6, 0.6), num_examples=120),
    "learning_rate": Plant(
        "learning_rate",
        (0.5, 0.6, 0.7, 0.7, 0.6, 0.4),
        rates(6),
        num_examples=120,
        loss=(2.0, 1.5, 1.0, 1.0, 1.5, 6.0),
        states={**ended(0, "pruned"), **ended(5, "failed"), (4, 1): "pruned"},
    ),
    "sequence_length": Plant(
        "sequence_length", (0.5, 0.55, 0.6, 0.65, 0.65, 0.7), num_examples=120
    ),
}

HARD_NAMES = (
    'a|b "q" `x`',
    "</script><b>&amp;",
    "ünï “long” " * 9,
    "$x_1$ *b* [l](x.y)",
    "\x1b[31mred\x07",
)

OTHERS = {
    "two numbers": Plant(
        study_of({"train.learning_rate": [1e-4, 1e-3], "train.batch_size": [8, 16, 32]}),
        (0.5, 0.6, 0.7, 0.6, 0.6, 0.5),
        num_examples=60,
    ),
    "nine settings": Plant(
        study_of({"train.num_epochs": list(range(1, 10))}, name="nine"),
        tuple(0.5 + number / 30 for number in range(9)),
        num_examples=60,
    ),
    "many settings": Plant(
        study_of(
            {
                "train.learning_rate": {"type": "loguniform", "low": 1e-5, "high": 1},
                "train.num_epochs": {"type": "int", "low": 1, "high": 90},
            },
            search={"method": "random", "num_samples": 21},
        ),
        tuple(0.5 + number / 100 for number in range(21)),
        num_seeds=1,
        num_examples=30,
    ),
    "null": Plant(
        study_of({"student.revision": [None, "main", "v2"]}), (0.5, 0.6, 0.7), num_examples=60
    ),
    "hard names": Plant(
        study_of(
            {
                "kind": {
                    "type": "cases",
                    "cases": {
                        name: {"train.label_smoothing": number / 10}
                        for number, name in enumerate(HARD_NAMES)
                    },
                }
            },
            question='Is <b>"|"</b> a *name*?',
        ),
        (0.6, 0.5, 0.7, 0.7, 0.6),
        num_examples=60,
    ),
    "one setting": Plant(study_of({"train.label_smoothing": [0.1]}), (0.7,), num_examples=60),
    "one seed": Plant(num_seeds=1, num_examples=60),
    "one example": Plant(num_examples=1),
    "two examples": Plant(num_examples=2, num_seeds=1),
    "samples": Plant("temperature", (0.7, 0.6, 0.6, 0.5), num_samples=5, num_examples=40),
    "all pruned": Plant(
        "learning_rate",
        (0.5,) * 3,
        rates(3),
        states=ended(0, "pruned") | ended(1, "pruned") | ended(2, "pruned"),
    ),
    "all failed": Plant(
        states=ended(0, "failed") | ended(1, "failed") | ended(2, "failed"), num_examples=60
    ),
    "one complete": Plant(states=ended(0, "failed") | ended(1, "pruned"), num_examples=60),
    "no shared seed": Plant(
        states={(0, 0): "failed", (1, 1): "failed", (1, 2): "failed", (2, 0): "failed"},
        num_examples=60,
    ),
    "sizes of the pool": Plant(
        study_of({"data.num_train": [100, 300, None]}), (0.5, 0.6, 0.7), num_examples=60
    ),
    "validation sizes": Plant(
        study_of({"data.num_validation": [30, 60]}),
        (0.6, 0.6),
        num_examples=60,
        answered={(0, seed): 30 for seed in _SEEDS},
    ),
    "sources": Plant(
        study_of({"data.source": ["mini-nli", "org/other"]}), (0.6, 0.5), num_examples=60
    ),
    "own baseline": Plant(
        study_of(SMOOTHING, baseline={"train.label_smoothing": 0.0}), (0.4, 0.7, 0.7)
    ),
    "by ROUGE-L": Plant(
        study_of(SMOOTHING, metric={"name": "rougeL"}), num_examples=60, quality=(0.5, 0.4, 0.45)
    ),
    "by faithfulness": Plant(study_of(SMOOTHING, metric={"name": "faithfulness"}), num_examples=60),
    "by grounding": Plant(study_of(SMOOTHING, metric={"name": "grounding"}), num_examples=60),
    "by loss": Plant(
        study_of(SMOOTHING, metric={"name": "eval_loss", "mode": "min"}),
        num_examples=60,
        loss=(1.0, 6.0, 0.9),
    ),
    "by loss, decoding": Plant(
        study_of(
            {"decode.temperature": [0.5, 1.0]},
            metric={"name": "eval_loss", "mode": "min"},
            overrides={"decode.strategy": "sample"},
        ),
        (0.7, 0.7),
        num_examples=60,
    ),
}

PLANTS = SHIPPED | OTHERS


class Studies:
    """The planted folders, each in a folder called results, with their verdicts, figures and pages.

    Tests share them and must not change them; `copy` is for tests that do.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._verdicts: dict[str, Verdict] = {}
        self._figures: dict[str, list[Figure]] = {}
        self.pages: dict[str, Page] = {}

    def folder(self, name: str) -> Path:
        results = self.root / name / "results"
        if results.is_dir():
            return next(results.iterdir())
        return plant(results, PLANTS[name])

    def verdict(self, name: str) -> Verdict:
        if name not in self._verdicts:
            self._verdicts[name] = judge(read_results(self.folder(name)))
        return self._verdicts[name]

    def figures(self, name: str) -> list[Figure]:
        if name not in self._figures:
            self._figures[name] = study_figures(self.verdict(name))
        return self._figures[name]

    def figure(self, name: str, which: str) -> Figure:
        """Return the study's figure of this name."""
        [found] = [figure for figure in self.figures(name) if figure.name == which]
        return found

    def copy(self, name: str, parent: Path) -> Path:
        """Copy the study's folder to `parent`/results, and return the copy."""
        source = self.folder(name)
        return Path(shutil.copytree(source, parent / "results" / source.name))
