"""A study's report, as blocks of content: question, verdict, numbers, pictures, examples, cost."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq

from tune_distill.analysis.drawing.panels import Figure
from tune_distill.analysis.reporting.page import (
    Block,
    Callout,
    Cell,
    ChartBlock,
    CodeBlock,
    Column,
    ExampleBlock,
    Heading,
    Page,
    Paragraph,
    TableBlock,
)
from tune_distill.analysis.results import short_name, words
from tune_distill.analysis.statistics.comparisons import Comparison
from tune_distill.analysis.statistics.resampling import NUM_RESAMPLES, Estimate
from tune_distill.analysis.summary import setting_text
from tune_distill.analysis.tables import load
from tune_distill.analysis.verdict import Verdict
from tune_distill.analysis.wording import (
    METRIC_NAMES,
    METRIC_UNITS,
    evidence_sentence,
    findings,
    notes,
    profile_text,
    recommendation,
    verdict_sentence,
)
from tune_distill.spec.errors import StoreError

_SHOWN = ("label_accuracy", "parse_rate", "rouge1", "rouge2", "rougeL", "faithfulness")
_ALSO_SHOWN = ("grounding", "eval_loss")

_NUM_EXAMPLES = 3
_OPEN = ("no difference detected", "cannot tell")


def study_page(verdict: Verdict, figures: Sequence[Figure]) -> Page:
    """The report of one study."""
    results = verdict.results
    blocks: list[Block] = [
        Callout(
            "open" if verdict.outcome in _OPEN else "clear",
            (
                verdict_sentence(verdict),
                evidence_sentence(verdict),
                f"Recommended: {recommendation(verdict)}",
            ),
        )
    ]
    blocks += [Paragraph(text) for text in findings(verdict)]
    if notes(verdict):
        blocks.append(Callout("warning", ("To bear in mind", *notes(verdict))))
    blocks += _settings(verdict)
    blocks += _comparisons(verdict)
    if figures:
        blocks += [Heading("Figures"), *(ChartBlock(figure) for figure in figures)]
    blocks += _examples(verdict)
    blocks += _unfinished(verdict)
    blocks += _cost(verdict)
    blocks += _other_metrics(verdict)
    blocks += _reproduce(verdict)
    subtitle = f"{results.study.question} {profile_text(results.profile)}"
    links = [
        ("trials.csv", "trials.csv"),
        ("summary.json", "summary.json"),
        ("study.yaml", "study.yaml"),
        ("all studies", "../report.html"),
    ]
    return Page(results.name, subtitle, tuple(blocks), tuple(links))


def _settings(verdict: Verdict) -> Iterator[Block]:
    results, found = verdict.results, verdict.found
    metrics = [name for name in (*_SHOWN, *_ALSO_SHOWN) if name in found.levels]
    columns = [Column(words(name), _numeric(verdict, name)) for name in results.columns]
    columns += [Column("trials", numeric=True)]
    columns += [Column(METRIC_NAMES[name], numeric=True) for name in metrics]
    columns += [Column("seconds a trial", numeric=True)]
    rows = []
    for setting, point in enumerate(results.settings):
        cells = [_value(point[name]) for name in results.columns]
        cells.append(_trials(verdict, setting))
        for metric in metrics:
            level = found.level(metric, setting)
            cells.append(Cell("") if level is None else _level(level))
        cost = verdict.costs.get(setting)
        cells.append(Cell("") if cost is None else Cell(f"{cost:.1f}", cost))
        rows.append(tuple(cells))
    yield Heading("Settings")
    yield TableBlock(
        "Means over seeds and validation examples, with half the width of their 95 % intervals; "
        "trials: complete of all.",
        tuple(columns),
        tuple(rows),
    )
    lacking = [METRIC_NAMES[name] for name in (*_SHOWN, *_ALSO_SHOWN) if name not in metrics]
    if lacking and metrics:
        yield Paragraph(
            f"Without {', '.join(lacking)}: predictions.parquet has no such number of an example."
        )


def _comparisons(verdict: Verdict) -> Iterator[Block]:
    found = verdict.found
    main = [*verdict.primary, *found.with_best]
    if not main:
        return
    yield Heading("Comparisons")
    yield _comparison_table(
        verdict,
        main,
        f"Differences in {METRIC_NAMES[verdict.metric]} ({METRIC_UNITS[verdict.metric]}) with 95 % "
        f"intervals. p: {' and '.join(sorted({one.test for one in main}))}; adjusted by Holm's "
        "correction, over all comparisons with the same reference. Could detect: the difference "
        "that is found in four of five such studies. To settle: what would show the difference, if "
        "it is as large as it looks.",
    )


def _other_metrics(verdict: Verdict) -> Iterator[Block]:
    others = [one for one in verdict.found.with_baseline if one.metric != verdict.metric]
    if others:
        yield Heading("Differences in the other metrics")
        yield _comparison_table(
            verdict,
            others,
            "Against the baseline; Holm's correction over all comparisons of this table.",
        )


def _comparison_table(
    verdict: Verdict, comparisons: Sequence[Comparison], caption: str
) -> TableBlock:
    results = verdict.results
    several = len({one.metric for one in comparisons}) > 1
    names = ("difference", "95 % interval", "p", "adjusted p", "detectable")
    more: tuple[str, ...] = ("could detect", "examples to settle", "seeds to settle")
    numeric = {"difference", "p", "adjusted p", *more}
    exact = max(len(one.mcnemar) for one in comparisons) > 1
    if exact:
        more = (*more, "exact McNemar of each seed")
    setting = ", ".join(words(name) for name in results.columns)
    first = (setting, "against", *(("metric",) if several else ()))
    columns = [Column(name, name in numeric) for name in (*first, *names, *more)]
    rows = []
    for one in comparisons:
        ours = one.estimate
        examples = None if one.detectable else one.examples_needed
        seeds = None if one.detectable else one.seeds_needed
        rows.append(
            (
                Cell(short_name(results.settings[one.setting])),
                Cell(short_name(results.settings[one.reference])),
                *((Cell(METRIC_NAMES[one.metric]),) if several else ()),
                Cell(f"{ours.value:+.3f}", ours.value),
                Cell(f"[{ours.low:+.3f}, {ours.high:+.3f}]", ours.low),
                _p_value(one.p_value),
                _p_value(one.p_adjusted),
                Cell(_direction(one)),
                Cell(f"{one.smallest_detectable:.3f}", one.smallest_detectable),
                Cell("") if examples is None else Cell(f"{examples:,}", examples),
                Cell("") if seeds is None else Cell(f"{seeds:,}", seeds),
                *((Cell(", ".join(f"{p:.3f}" for p in one.mcnemar)),) if exact else ()),
            )
        )
    return TableBlock(caption, tuple(columns), tuple(rows))


def _direction(one: Comparison) -> str:
    if not one.detectable:
        return "no"
    return "better" if one.gain > 0 else "worse"


def _level(level: Estimate) -> Cell:
    return Cell(f"{level.value:.3f} ± {(level.high - level.low) / 2:.3f}", level.value)


def _p_value(value: float) -> Cell:
    return Cell("< 0.001" if value < 0.001 else f"{value:.3f}", value)


def _examples(verdict: Verdict) -> Iterator[Block]:
    """Answers of the best setting: right, wrong, and right or wrong but unfaithful."""
    if verdict.best is None:
        return
    results = verdict.results
    [(seed, row), *_] = sorted(results.trials_of(verdict.best).items())
    answers = _answers(verdict, results.complete["trial_id"][row])
    kinds = {
        "Right": answers[answers["correct"] & answers["faithful"]],
        "Wrong": answers[~answers["correct"]],
        "Unfaithful": answers[~answers["faithful"] & answers["predicted_label"].notna()],
    }
    yield Heading("Examples")
    yield Paragraph(
        f"Answers of the best setting, {results.text(verdict.best)}, with seed {seed}. Unfaithful: "
        "from the explanation alone the simulator guesses another label than the student's."
    )
    if not (results.folder / "examples.parquet").is_file():
        yield Paragraph(
            "Their texts are not known: the folder has no examples.parquet. Run the study again to "
            "have it."
        )
    for kind, chosen in kinds.items():
        yield Heading(f"{kind}: {len(chosen):,} of {len(answers):,}", 3)
        for answer in chosen.head(_NUM_EXAMPLES).to_dict("records"):
            yield _example({str(name): value for name, value in answer.items()})


def _answers(verdict: Verdict, trial_id: str) -> pd.DataFrame:
    """One trial's first answer to each example, with the texts where they are known."""
    folder = verdict.results.folder
    table = pq.read_table(folder / "predictions.parquet", filters=[("trial_id", "=", trial_id)])
    answers: pd.DataFrame = table.to_pandas()
    answers = answers[answers["sample"] == 0]
    if not (folder / "examples.parquet").is_file():
        return answers.assign(premise="", hypothesis="")
    examples = load(folder.name, results=folder.parent, table="examples")
    texts = examples[["example_id", "premise", "hypothesis"]]
    return answers.merge(texts, on="example_id", how="left").fillna(
        {"premise": "", "hypothesis": ""}
    )


def _example(answer: dict[str, object]) -> ExampleBlock:
    fields = [
        (name, str(answer[column]))
        for name, column in (
            ("premise", "premise"),
            ("hypothesis", "hypothesis"),
            ("gold label", "gold_label"),
            ("answer", "prediction"),
        )
        if answer[column]
    ]
    faithful = "faithful" if answer["faithful"] else "unfaithful"
    tags = ("right" if answer["correct"] else "wrong", faithful, f"ROUGE-L {answer['rougeL']:.2f}")
    return ExampleBlock(str(answer["example_id"]), tuple(fields), tags)


def _unfinished(verdict: Verdict) -> Iterator[Block]:
    """Failed and pruned trials, and why."""
    trials = verdict.results.trials
    others = trials[trials["state"] != "complete"]
    if others.empty:
        return
    behind = {(one.setting, one.seed): one.behind for one in verdict.censored}
    columns = (
        Column("trial"),
        Column("state"),
        Column("steps", numeric=True),
        Column("evaluation loss", numeric=True),
        Column("behind the best at that step", numeric=True),
        Column("reason"),
    )
    rows = []
    for row in others.to_dict("records"):
        lag = behind.get((row["setting"], row["seed"]))
        rows.append(
            (
                Cell(row["trial_id"]),
                Cell(row["state"]),
                _real(row["num_steps"], ",.0f"),
                _real(row["eval_loss"], ".3f"),
                _real(lag, "+.3f"),
                Cell(row["error"] if isinstance(row["error"], str) else ""),
            )
        )
    yield Heading("Trials without an end")
    yield TableBlock(
        "A pruned trial's loss is that of its last evaluation; what it would have reached is not "
        "known."
        if (others["state"] == "pruned").any()
        else "",
        columns,
        tuple(rows),
    )


def _cost(verdict: Verdict) -> Iterator[Block]:
    results = verdict.results
    trials = results.trials
    columns = [Column(words(name), _numeric(verdict, name)) for name in results.columns]
    names = ("trainings", "training s", "decoding s", "training examples a second")
    columns += [Column(name, numeric=True) for name in names]
    rows = []
    for setting, point in enumerate(results.settings):
        own = trials[trials["setting"] == setting]
        trained = own.drop_duplicates("run_key")
        cells = [_value(point[name]) for name in results.columns]
        cells.append(_real(len(trained[trained["num_steps"].notna()]), ",.0f"))
        cells.append(_real(trained["training_time_s"].sum(), ",.1f"))
        cells.append(_real(own["decode_time_s"].sum(), ",.1f"))
        cells.append(_real(own["examples_per_s"].mean(), ",.1f"))
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


def _reproduce(verdict: Verdict) -> Iterator[Block]:
    results = verdict.results
    # As from the folder that holds the results, wherever they are copied to.
    name, parent = results.folder.name, results.folder.parent.name
    path = shlex.quote(f"{parent}/{name}")
    yield Heading("How to reproduce each number")
    yield Paragraph("The trials, from the study as it was resolved; the report, from the tables:")
    yield CodeBlock(
        f"python -m tune_distill.study {path}/study.yaml --results {shlex.quote(parent)}\n"
        f"python -m tune_distill.report {path}"
    )
    yield Paragraph(
        "Settings: means of predictions.parquet. Comparisons: the same verdict as a DataFrame. "
        "Trials and costs: trials.parquet; learning curves: history.parquet."
    )
    metrics = [metric for metric in (*_SHOWN, *_ALSO_SHOWN) if metric in results.complete]
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
        f"Intervals: {NUM_RESAMPLES:,} paired resamples of the examples, the same ones for all "
        "settings, with the seeds' deviations pooled over the settings and widened by Student's t "
        "(random seed 0). With one seed and one answer an example, p of label accuracy is exact "
        "McNemar's; otherwise it is that of the bootstrap's standard error."
    )
    environment = results.folder / "environment.json"
    if environment.is_file():
        rows = _environment(environment)
        yield TableBlock(
            "Where it ran",
            (Column("what"), Column("which")),
            tuple((Cell(what), Cell(str(which))) for what, which in rows if which),
        )


def _environment(path: Path) -> list[tuple[str, object]]:
    try:
        made = json.loads(path.read_text(encoding="utf-8"))
        packages = list(made["packages"].items())
        rows = [("python", made["python"]), ("commit", made["git_commit"])]
        return [*rows, ("machine", f"{made['platform']}, {made['num_cpus']} CPUs"), *packages]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(
            f"{path}: must be as tune_distill.study wrote it, got {type(error).__name__}: {error}; "
            "copy it again, or remove it"
        ) from error


def _numeric(verdict: Verdict, column: str) -> bool:
    return all(isinstance(point[column], int | float) for point in verdict.results.settings)


def _trials(verdict: Verdict, setting: int) -> Cell:
    states = verdict.results.trials.loc[verdict.results.trials["setting"] == setting, "state"]
    complete = int((states == "complete").sum())
    return Cell(f"{complete} of {len(states)}", complete)


def _value(value: object) -> Cell:
    if isinstance(value, int | float):
        return Cell(setting_text(value), value)
    return Cell("none" if value is None else str(value))


def _real(value: float | None, form: str) -> Cell:
    if value is None or pd.isna(value):
        return Cell("")
    return Cell(format(value, form), float(value))
