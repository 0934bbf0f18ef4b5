"""Losses over the steps of training."""

import pandas as pd
import pytest

from tests.records.made import history
from tests.reports.figures.reading import panel
from tune_distill.analysis.results import read_results
from tune_distill.analysis.verdict import judge
from tune_distill.reports.figures.curves import curves_figure

TITLES = {
    "Training loss, without smoothing": "unsmoothed_train_loss",
    "Evaluation loss": "eval_loss",
}


def table(verdict, column):
    """Return the study's history with its settings, without rows that lack this loss."""
    folder = verdict.results.folder
    trials = verdict.results.trials[["trial_id", "setting", "seed", "state"]]
    rows = pd.read_parquet(folder / "history.parquet").merge(trials, on="trial_id")
    return rows[rows[column].notna()]


@pytest.mark.parametrize("name", ["smoothing", "learning_rate", "sequence_length", "one seed"])
@pytest.mark.parametrize("title", TITLES)
def test_thick_lines_are_means_over_the_seeds(studies, name, title):
    verdict = studies.verdict(name)
    rows = table(verdict, TITLES[title])
    shown = panel(studies.figure(name, "learning_curves"), title)
    thick = {line.name: line for line in shown.series if not line.faint and not line.dashed}
    complete = rows[rows["state"] == "complete"]
    assert list(thick) == [verdict.results.text(s) for s in sorted(set(complete["setting"]))]
    for setting, part in complete.groupby("setting"):
        means = part.groupby("step")[TITLES[title]].mean()
        line = thick[verdict.results.text(setting)]
        assert line.x == tuple(means.index)
        assert line.y == pytest.approx(tuple(means))


@pytest.mark.parametrize("title", TITLES)
def test_thin_lines_are_single_seeds(studies, title):
    verdict = studies.verdict("learning_rate")
    rows = table(verdict, TITLES[title])
    shown = panel(studies.figure("learning_rate", "learning_curves"), title)
    expected = [
        (verdict.results.text(setting), tuple(part["step"]), tuple(part[TITLES[title]]))
        for (setting, _), part in rows[rows["state"] == "complete"].groupby(["setting", "seed"])
    ]
    assert [(s.name, s.x, s.y) for s in shown.series if s.faint] == expected


@pytest.mark.parametrize("title", TITLES)
def test_pruned_trials_are_dashed_to_where_they_ended(studies, title):
    verdict = studies.verdict("learning_rate")
    rows = table(verdict, TITLES[title])
    shown = panel(studies.figure("learning_rate", "learning_curves"), title)
    pruned = rows[rows["state"] == "pruned"].groupby(["setting", "seed"])
    dashed = [line for line in shown.series if line.dashed]
    assert len(dashed) == 4
    assert [line.x[-1] for line in dashed] == list(pruned["step"].max())
    assert (
        "dashed: pruned before the end"
        in studies.figure("learning_rate", "learning_curves").caption
    )


def test_the_caption_counts_trials_and_says_what_lines_are(studies):
    captions = {
        name: studies.figure(name, "learning_curves").caption
        for name in ("smoothing", "one seed", "nine settings", "learning_rate")
    }
    assert captions == {
        "smoothing": "Means over the seeds, thin lines single seeds. n = 9 complete trials.",
        "one seed": "A line a trial. n = 3 complete trials.",
        "nine settings": "Means over the seeds. n = 27 complete trials.",
        "learning_rate": "Means over the seeds, thin lines single seeds; dashed: pruned before the "
        "end. n = 11 complete, 4 pruned, 3 failed trials.",
    }


def test_more_settings_than_a_legend_can_name_are_shaded(studies):
    shown = studies.figure("nine settings", "learning_curves")
    for one in shown.panels:
        assert [line.shade for line in one.series] == [rank / 8 for rank in range(9)]
        assert not any(line.name for line in one.series)
    assert shown.shades == ("1", "9")


def test_eight_settings_are_named(studies):
    shown = studies.figure("learning_rate", "learning_curves")
    assert shown.shades is None
    assert all(line.name and line.shade is None for one in shown.panels for line in one.series)


@pytest.mark.parametrize("title", TITLES)
def test_settings_that_share_their_students_have_one_line(studies, title):
    verdict = studies.verdict("temperature")
    rows = table(verdict, TITLES[title])
    lines = panel(studies.figure("temperature", "learning_curves"), title).series
    assert [(line.name, line.faint) for line in lines] == [("all settings", True)] * 3 + [
        ("all settings", False)
    ]
    means = rows[rows["setting"] == 0].groupby("step")[TITLES[title]].mean()
    assert (lines[-1].x, lines[-1].y) == (tuple(means.index), pytest.approx(tuple(means)))


def test_losses_far_apart_stand_on_a_logarithmic_axis(studies):
    scales = {
        name: panel(studies.figure(name, "learning_curves"), "Evaluation loss").y.scale
        for name in ("by loss", "smoothing")
    }
    assert scales == {"by loss": "log", "smoothing": "linear"}


def test_what_a_failed_trial_left_is_not_drawn(studies, tmp_path):
    folder = studies.copy("one complete", tmp_path)
    whole = pd.read_parquet(folder / "history.parquet")
    failed = pd.DataFrame([vars(row) for row in history(None, 1e9)])
    failed.insert(0, "trial_id", "label_smoothing=0.0,seed=0")
    pd.concat([whole, failed]).to_parquet(folder / "history.parquet")
    before = studies.figure("one complete", "learning_curves")
    assert curves_figure(judge(read_results(folder))) == before


def test_no_figure_where_every_trial_failed_on_its_way(studies, tmp_path):
    folder = studies.copy("all failed", tmp_path)
    failed = pd.DataFrame([vars(row) for row in history(None, 1e9)])
    failed.insert(0, "trial_id", "label_smoothing=0.0,seed=0")
    failed.to_parquet(folder / "history.parquet")
    assert curves_figure(judge(read_results(folder))) is None
