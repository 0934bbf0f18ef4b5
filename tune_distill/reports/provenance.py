"""The origin of a report's numbers: the cost of trials, and how to reproduce them."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from tune_distill.analysis.results import in_words
from tune_distill.analysis.verdict import Verdict
from tune_distill.records.environment import ENVIRONMENT_FILE, read_environment
from tune_distill.records.tables import TASK_FILE
from tune_distill.reports.cells import numeric, real_cell, value_cell
from tune_distill.reports.page import (
    Block,
    Cell,
    CodeBlock,
    Heading,
    PageColumn,
    Paragraph,
    TableBlock,
)
from tune_distill.spec.metrics import JUDGED
from tune_distill.tasks.registry import TASKS


def cost_blocks(verdict: Verdict) -> Iterator[Block]:
    results = verdict.results
    trials = results.trials
    columns = [PageColumn(in_words(name), numeric(verdict, name)) for name in results.columns]
    names = ("trainings", "training s", "decoding s", "training examples a second")
    columns += [PageColumn(name, numeric=True) for name in names]
    rows = []
    for setting, point in enumerate(results.settings):
        own = trials[trials["setting"] == setting]
        trained = own.drop_duplicates("run_key")
        cells = [value_cell(point[name]) for name in results.columns]
        cells.append(real_cell(len(trained[trained["num_steps"].notna()]), ",.0f"))
        cells.append(real_cell(trained["training_time_s"].sum(), ",.1f"))
        cells.append(real_cell(own["decode_time_s"].sum(), ",.1f"))
        cells.append(real_cell(own["examples_per_s"].mean(), ",.1f"))
        rows.append(tuple(cells))
    runs = trials.drop_duplicates("run_key")
    total = runs["training_time_s"].sum() + trials["decode_time_s"].sum()
    yield Heading("Cost")
    yield TableBlock(
        f"{len(trials)} trials of {len(runs)} runs: {total:,.1f} s of training and decoding in "
        "all. A run that several settings decode was trained once, and is counted for each.",
        tuple(columns),
        tuple(rows),
    )


def reproduction_blocks(verdict: Verdict) -> Iterator[Block]:
    results = verdict.results
    # Commands start in the folder that contains the results, wherever they are copied to.
    name, parent = results.folder.name, results.folder.parent.name
    path = shlex.quote(f"{parent}/{name}")
    yield Heading("How to reproduce each number")
    yield Paragraph("The trials, from the study as it was resolved; the report, from the tables:")
    # The folder's own copy of a user's task, because the original may be gone.
    is_shipped = results.profile.task.source in TASKS
    task = "" if is_shipped else f" --set task.source={path}/{TASK_FILE}"
    yield CodeBlock(
        f"python -m tune_distill.study {path}/study.yaml{task} --results {shlex.quote(parent)}\n"
        f"python -m tune_distill.report {path}"
    )
    yield Paragraph(
        "Settings: means of predictions.parquet. Comparisons: the same verdict as a DataFrame. "
        "Trials and costs: trials.parquet; learning curves: history.parquet."
    )
    metrics = [metric for metric in JUDGED if metric in results.complete]
    yield CodeBlock(
        "import pandas as pd\n"
        "import tune_distill\n\n"
        f"verdict = tune_distill.verdict({name!r}, results={parent!r})\n"
        'comparisons = pd.DataFrame(verdict["comparisons"])\n'
        f"trials = tune_distill.load({name!r}, results={parent!r})\n"
        'complete = trials[trials["state"] == "complete"]\n'
        f"means = complete.groupby({results.columns!r}, dropna=False)[{metrics!r}].mean()"
    )
    yield Paragraph(
        "Intervals of differences and losses are Student's t; those of shares are Wilson's. How "
        "much seeds vary is inferred for each setting from all of them. With one seed and one "
        "answer an example, p of label accuracy is exact McNemar's; otherwise it is Student's."
    )
    environment = results.folder / ENVIRONMENT_FILE
    if environment.is_file():
        made = read_environment(environment)
        rows = [
            ("python", made.python),
            ("commit", made.git_commit),
            ("machine", f"{made.platform}, {made.num_cpus} CPUs"),
            *made.packages.items(),
        ]
        yield TableBlock(
            "Where it ran",
            (PageColumn("what"), PageColumn("which")),
            tuple((Cell(what), Cell(which)) for what, which in rows if which),
        )
