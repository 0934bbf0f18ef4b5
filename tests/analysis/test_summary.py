import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from tune_distill.analysis.summary import (
    Counts,
    count,
    failures,
    footnotes,
    setting_text,
    summary_table,
)

METRICS = {
    "label_accuracy": 0.5124,
    "rougeL": 0.3,
    "faithfulness": 0.45678,
    "eval_loss": 12.34567,
    "training_time_s": 1234.56,
    "decode_time_s": 123.44,
}
UNMEASURED = dict.fromkeys(METRICS)


def row(state="complete", *, seed=0, reused=False, run_key="r", num_steps=30, **values):
    """Return a row of a trials table, as far as a summary reads it."""
    measured = METRICS if state == "complete" else UNMEASURED
    made = {"state": state, "seed": seed, "reused": reused, "run_key": run_key}
    return {**made, "num_steps": num_steps, **measured, **values}


def rendered(varied, rows, width):
    """Return the table's lines in a terminal of this width, without trailing spaces."""
    console = Console(width=width, file=io.StringIO(), color_system=None)
    console.print(summary_table(varied, rows, width))
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def headings(lines):
    """Return the words of the headings, which are the lines above the rule."""
    rule = next(index for index, line in enumerate(lines) if set(line) == {"─"})
    return " ".join(lines[:rule]).split()


def body(lines):
    """Return the cells of each line below the rule."""
    rule = next(index for index, line in enumerate(lines) if set(line) == {"─"})
    return [line.split() for line in lines[rule + 1 :] if line]


COUNTS = st.builds(Counts, *[st.integers(0, 99)] * 5)


@given(COUNTS, COUNTS)
def test_counts_add_up(one, other):
    total = one + other
    for name in ("complete", "pruned", "failed", "trials", "trainings", "reused"):
        assert getattr(total, name) == getattr(one, name) + getattr(other, name)
    assert one + Counts() == one


def test_counts_in_words():
    assert Counts(complete=10, pruned=2, failed=1, trainings=3, reused=7).sentence() == (
        "13 trials: 10 complete, 2 pruned, 1 failed; 3 trainings, 7 reused"
    )


def test_trials_made_now_that_share_a_run_are_one_training():
    rows = [
        row(run_key="a"),
        row(run_key="a"),
        row(run_key="b", reused=True),
        row("pruned", run_key="c", num_steps=5),
        row("failed", run_key="d", num_steps=5),
        # It failed before its first step, or was interrupted before its turn: nothing was trained.
        row("failed", run_key="e", num_steps=None),
    ]
    assert count(rows) == Counts(complete=3, pruned=1, failed=2, trainings=3, reused=1)
    assert count([]) == Counts()


def test_only_failed_trials_are_told_with_their_reasons():
    rows = [
        row(trial_id="a", error=None),
        row("failed", trial_id="b", error="NonFiniteLossError: step 3"),
        row("pruned", trial_id="c", error=None),
    ]
    assert failures(rows) == ["failed: b: NonFiniteLossError: step 3"]


def test_a_setting_has_four_digits():
    values = [0.1 + 0.2, 1.23456e-5, 1.0, 2000, "beam 2", None]
    assert [setting_text(value) for value in values] == [
        "0.3",
        "1.235e-05",
        "1",
        "2000",
        "beam 2",
        "none",
    ]


MEASURED = ["accuracy", "ROUGE-L", "faithful", "loss", "train", "s", "decode", "s"]

SHIPPED = {
    "smoothing": {"label_smoothing": [0.0, 0.1]},
    "temperature": {"temperature": [0.5, 1.2]},
    "data_size": {"train_fraction": [0.1, 1.0]},
    "decoding": {"strategy": ["greedy", "top-p 0.9"]},
    "learning_rate": {"learning_rate": [1.23456e-5, 0.0012345]},
    "sequence_length": {"max_source_length": [16, 128], "max_target_length": [16, 64]},
}


@pytest.mark.parametrize("study", SHIPPED)
@pytest.mark.parametrize("width", [80, 100])
@pytest.mark.parametrize("seeds", [(0,), (0, 1)])
def test_headings_and_cells_are_whole(study, width, seeds):
    varied = SHIPPED[study]
    rows = [
        row(seed=seed, **{name: values[n] for name, values in varied.items()})
        for n in (0, 1)
        for seed in seeds
    ]
    lines = rendered(list(varied), rows, width)
    expected = [word for name in varied for word in name.split("_")]
    expected += ["seed"] * (len(seeds) > 1) + ["state", *MEASURED]
    assert sorted(headings(lines)) == sorted(expected)
    assert max(map(len, lines)) <= width
    measured = ["complete", "0.512", "0.300", "0.457", "12.3457", "1234.6", "123.4"]
    assert body(lines) == [
        [
            *" ".join(setting_text(values[n]) for values in varied.values()).split(),
            *([str(seed)] if len(seeds) > 1 else []),
            *measured,
        ]
        for n in (0, 1)
        for seed in seeds
    ]


def test_a_wide_terminal_keeps_headings_on_one_line():
    lines = rendered(["label_smoothing"], [row(label_smoothing=0.1)], 100)
    assert lines[0].split("  ")[0] == "label smoothing"
    assert "train s  decode s" in lines[0]
    assert set(lines[1]) == {"─"}


def test_headings_wrap_before_columns_move_together():
    rows = [row(temperature=0.5, seed=seed, eval_loss=2.5) for seed in (0, 1)]
    lines = rendered(["temperature"], rows, 80)
    assert lines[0].endswith("  train  decode")
    assert lines[1].endswith("loss       s       s")


def test_states_and_what_was_not_measured():
    rows = [
        row(x=1, reused=True),
        row("pruned", x=2, eval_loss=2.5),
        row("pruned", x=3, reused=True),
        row("failed", x=4),
    ]
    assert [cells[:6] for cells in body(rendered(["x"], rows, 80))] == [
        ["1", "complete*", "0.512", "0.300", "0.457", "12.3457"],
        ["2", "pruned", "-", "-", "-", "2.5000"],
        ["3", "pruned*", "-", "-", "-", "-"],
        ["4", "failed", "-", "-", "-", "-"],
    ]


def test_a_study_without_trials_has_headings_only():
    lines = rendered(["label_smoothing"], [], 80)
    assert headings(lines) == ["label", "smoothing", "state", *MEASURED]
    assert body(lines) == []


def test_metrics_without_meaning_are_said_to_be_absent():
    row = {"state": "complete", "reused": False, "faithfulness_ceiling": 0.9}
    rouge = dict.fromkeys(("rouge1", "rougeL"), 0.5)
    row |= {**rouge, "faithfulness": 0.5, "grounding": 0.5}
    failed = dict.fromkeys(row) | {"state": "failed", "reused": False}
    (ceiling,) = footnotes([row, failed])
    assert ceiling.startswith("faithful has a ceiling of 0.900")
    absent = dict.fromkeys((*rouge, "faithfulness", "faithfulness_ceiling", "grounding"))
    told = footnotes([row | absent, failed])
    assert [line.split(" absent: ")[0] for line in told] == [
        "rouge1, rougeL are",
        "faithfulness is",
        "grounding is",
    ]
    assert footnotes([failed]) == []
