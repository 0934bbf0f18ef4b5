import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix

from tests.analysis.planted import Plant, plant
from tests.nli import LABELS
from tune_distill.analysis.scores import UNPARSED, _linearised, read_scores
from tune_distill.analysis.tables import load
from tune_distill.spec.errors import StoreError
from tune_distill.spec.metrics import JUDGED

PLANTS = {
    "plain": Plant(accuracy=(0.6, 0.7, 0.8), loss=(1.2, 1.0, 0.9), num_examples=90),
    "samples": Plant(study="temperature", accuracy=(0.7,) * 4, num_samples=5, num_examples=40),
    "some samples": Plant(num_examples=30, samples={1: 5, 2: 3}),
    "unequal": Plant(num_examples=60, answered={(0, 0): 45, (1, 2): 10}),
    "states": Plant(num_examples=30, states={(0, 1): "failed", (2, 0): "pruned"}),
}


@pytest.fixture(scope="module", params=PLANTS)
def planted(request, tmp_path_factory):
    """Return the folder of a planted study, and its plant."""
    what = PLANTS[request.param]
    return plant(tmp_path_factory.mktemp("results"), what), what


@pytest.fixture
def folder(tmp_path):
    return plant(tmp_path, PLANTS["plain"])


def complete_trials(folder):
    trials = load(folder.name, results=folder.parent)
    return trials[trials["state"] == "complete"].reset_index(drop=True)


def scores_of(folder):
    trial_ids = list(complete_trials(folder)["trial_id"])
    return read_scores(folder / "predictions.parquet", trial_ids, LABELS)


def rewritten(folder, change, **options):
    """Replace the predictions table by a function of it."""
    path = folder / "predictions.parquet"
    pq.write_table(change(pq.read_table(path)), path, **options)


def same_scores(one, other):
    """Assert that two scores are the same, in any order of examples."""
    columns = [other.example_ids.index(name) for name in one.example_ids]
    assert one.trial_ids == other.trial_ids
    assert one.values.keys() == other.values.keys()
    for metric, values in one.values.items():
        assert values == pytest.approx(other.values[metric][:, columns], nan_ok=True, abs=1e-12)
    assert (one.answers == other.answers).all()
    assert (one.num_samples == other.num_samples).all()


def test_values_average_to_the_metrics_of_the_trials(planted):
    folder, what = planted
    trials, scores = complete_trials(folder), scores_of(folder)
    assert set(scores.values) == set(JUDGED)
    assert len(scores.example_ids) == what.num_examples
    for metric in JUDGED:
        means = np.nanmean(scores.values[metric], axis=1)
        assert means == pytest.approx(trials[metric].to_numpy(), abs=1e-12), metric


def test_a_trial_has_numbers_of_the_examples_it_answered(planted):
    folder, what = planted
    rows, scores = load(folder.name, results=folder.parent, table="predictions"), scores_of(folder)
    answered = rows.groupby("trial_id")["example_id"].nunique()[scores.trial_ids]
    for metric, values in scores.values.items():
        assert ((~np.isnan(values)).sum(axis=1) == answered).all(), metric
    most = rows.groupby(["trial_id", "example_id"]).size().groupby("trial_id").max()
    assert scores.num_samples.tolist() == most[scores.trial_ids].tolist()
    assert set(scores.num_samples.tolist()) == {what.num_samples, *what.samples.values()}


def test_answers_are_the_confusion_counts(planted):
    folder, _ = planted
    predictions = load(folder.name, results=folder.parent, table="predictions")
    scores = scores_of(folder)
    for trial_id, counts in zip(scores.trial_ids, scores.answers, strict=True):
        rows = predictions[predictions["trial_id"] == trial_id]
        given = rows["predicted_label"].fillna("unparsed")
        expected = confusion_matrix(rows["gold_label"], given, labels=[*LABELS, UNPARSED])
        assert (counts == expected[: len(LABELS)]).all()


def test_numbers_are_those_of_the_examples(folder):
    scores = scores_of(folder)
    rows = load(folder.name, results=folder.parent, table="predictions")
    trial = scores.trial_ids.index("label_smoothing=0.2,seed=1")
    mine = rows[rows["trial_id"] == "label_smoothing=0.2,seed=1"].set_index("example_id")
    mine = mine.loc[scores.example_ids]
    for metric, column in [("label_accuracy", "correct"), ("rouge2", "rouge2")]:
        assert scores.values[metric][trial] == pytest.approx(mine[column].to_numpy(float))
    # The loss per token gives long examples more weight, so it differs from the example's own loss.
    weights = mine["num_target_tokens"] / mine["num_target_tokens"].mean()
    loss = np.average(mine["eval_loss"], weights=mine["num_target_tokens"])
    expected = loss + (mine["eval_loss"] - loss) * weights
    assert scores.values["eval_loss"][trial] == pytest.approx(expected.to_numpy())


def test_samples_of_an_example_are_averaged(tmp_path):
    folder = plant(tmp_path, PLANTS["samples"])
    scores = scores_of(folder)
    rows = load(folder.name, results=folder.parent, table="predictions")
    means = rows.groupby(["trial_id", "example_id"])["correct"].mean().unstack()
    means = means.loc[scores.trial_ids, scores.example_ids]
    assert scores.values["label_accuracy"] == pytest.approx(means.to_numpy())


@pytest.mark.parametrize("size", [1, 7, 37, 10_000])
def test_row_groups_may_be_of_any_size(folder, size):
    before = scores_of(folder)
    rewritten(folder, lambda table: table, row_group_size=size)
    same_scores(before, scores_of(folder))


@pytest.mark.parametrize("size", [50, 10_000])
def test_rows_may_come_in_any_order(folder, size):
    before = scores_of(folder)
    order = np.random.default_rng(0).permutation(9 * 90)
    rewritten(folder, lambda table: table.take(order), row_group_size=size)
    same_scores(before, scores_of(folder))


def test_a_table_written_by_pandas_is_read(folder):
    before = scores_of(folder)
    path = folder / "predictions.parquet"
    load(folder.name, results=folder.parent, table="predictions").to_parquet(path, index=False)
    same_scores(before, scores_of(folder))


def test_a_table_of_dictionaries_is_read(folder):
    before = scores_of(folder)
    names = ("trial_id", "example_id", "gold_label", "predicted_label")

    def encoded(table):
        for name in names:
            column = table.column(name).dictionary_encode()
            table = table.set_column(table.column_names.index(name), name, column)
        return table

    rewritten(folder, encoded)
    same_scores(before, scores_of(folder))


def test_trials_of_others_are_left_out(folder):
    every = scores_of(folder)
    some = read_scores(folder / "predictions.parquet", every.trial_ids[3:5], LABELS)
    assert some.trial_ids == every.trial_ids[3:5]
    for metric, values in some.values.items():
        assert (values == every.values[metric][3:5]).all()
    assert (some.answers == every.answers[3:5]).all()
    assert (some.num_samples == every.num_samples[3:5]).all()


def test_an_example_answered_once_by_most_is_answered_often(folder):
    # The largest number of answers to an example counts, separately for each trial.
    path = folder / "predictions.parquet"
    rows = pq.read_table(path)
    again = rows.filter(pc.equal(rows.column("trial_id"), "label_smoothing=0.1,seed=2")).slice(4, 1)
    pq.write_table(pa.concat_tables([rows, again, again]), path)
    scores = scores_of(folder)
    assert scores.num_samples.dtype == np.int64
    assert scores.num_samples.tolist() == [1, 1, 1, 1, 1, 3, 1, 1, 1]


def test_no_trials_have_no_numbers(folder):
    scores = read_scores(folder / "predictions.parquet", [], LABELS)
    assert scores.values == {}
    assert scores.num_samples.shape == (0,)


def test_a_table_without_losses_has_the_other_metrics(folder):
    before = scores_of(folder)
    rewritten(folder, lambda table: table.drop_columns(["eval_loss", "num_target_tokens"]))
    scores = scores_of(folder)
    assert set(scores.values) == set(JUDGED) - {"eval_loss"}
    for metric, values in scores.values.items():
        assert (values == before.values[metric]).all()


def test_losses_that_are_all_null_are_no_metric(folder):
    def without_losses(table):
        column = table.column_names.index("eval_loss")
        return table.set_column(column, "eval_loss", pa.nulls(table.num_rows, pa.float64()))

    rewritten(folder, without_losses)
    assert "eval_loss" not in scores_of(folder).values


def test_a_trial_without_losses_has_none(folder):
    """Evaluations that were stored before examples had losses have none."""
    first = "label_smoothing=0.0,seed=0"

    def partly(table):
        mine = pc.equal(table.column("trial_id"), first)
        for name in ("eval_loss", "num_target_tokens"):
            column = table.column(name)
            kept = pc.if_else(mine, pa.scalar(None, column.type), column)
            table = table.set_column(table.column_names.index(name), name, kept)
        return table

    rewritten(folder, partly)
    scores = scores_of(folder)
    losses = scores.values["eval_loss"]
    assert np.isnan(losses[scores.trial_ids.index(first)]).all()
    assert np.isnan(losses).any(axis=1).sum() == 1
    assert not np.isnan(scores.values["rougeL"]).any()


def test_a_missing_table_is_an_error_that_says_so(folder):
    (folder / "predictions.parquet").unlink()
    with pytest.raises(
        StoreError, match=r"predictions\.parquet: must be .*; copy the whole folder"
    ):
        scores_of(folder)


@pytest.mark.parametrize("column", ["rougeL", "faithful"])
def test_answers_without_a_value_count_in_no_mean(folder, column):
    def sparse(table):
        present = pa.array([number % 3 > 0 for number in range(table.num_rows)])
        position = table.schema.get_field_index(column)
        cells = pc.if_else(present, table.column(column), None)
        return table.set_column(position, table.schema.field(position), cells)

    rewritten(folder, sparse)
    rows = load(folder.name, results=folder.parent, table="predictions")
    means = rows.astype({column: float}).groupby("trial_id")[column].mean()
    scores = scores_of(folder)
    metric = "faithfulness" if column == "faithful" else column
    found = np.nanmean(scores.values[metric], axis=1)
    assert found == pytest.approx(means[scores.trial_ids].to_numpy())


def test_a_metric_without_any_value_is_absent(folder):
    def without(table):
        position = table.schema.get_field_index("rougeL")
        return table.set_column(position, "rougeL", pa.nulls(table.num_rows, pa.float64()))

    rewritten(folder, without)
    assert "rougeL" not in scores_of(folder).values
    assert "rouge1" in scores_of(folder).values


def test_a_file_of_another_kind_is_an_error(folder):
    (folder / "predictions.parquet").write_text("trial_id,correct\n")
    with pytest.raises(StoreError, match="must be a predictions table, got Parquet magic"):
        scores_of(folder)


def test_a_cut_file_is_an_error(folder):
    path = folder / "predictions.parquet"
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(StoreError, match="must be a predictions table"):
        scores_of(folder)


@pytest.mark.parametrize("column", ["trial_id", "example_id", "gold_label", "num_target_tokens"])
def test_a_table_without_its_columns_is_an_error(folder, column):
    rewritten(folder, lambda table: table.drop_columns([column]))
    with pytest.raises(StoreError, match=f"must be a predictions table, got .*{column}"):
        scores_of(folder)


def test_a_gold_label_of_another_corpus_is_an_error(folder):
    def relabelled(table):
        column = pa.array(["maybe"] * table.num_rows)
        return table.set_column(table.column_names.index("gold_label"), "gold_label", column)

    rewritten(folder, relabelled)
    with pytest.raises(
        StoreError, match=r"gold_label must be .*entailment, neutral, contradiction, got 'maybe'"
    ):
        scores_of(folder)


def test_a_lacking_trial_is_an_error_that_names_it(folder):
    last = "label_smoothing=0.2,seed=2"
    lacking = pa.array([last, "label_smoothing=0.2,seed=1"])

    def without(table, count):
        kept = pc.invert(pc.is_in(table.column("trial_id"), lacking[:count]))
        return table.filter(kept)

    rewritten(folder, lambda table: without(table, 1))
    with pytest.raises(StoreError, match=f"got none of {last}; copy the whole folder"):
        scores_of(folder)
    rewritten(folder, lambda table: without(table, 2))
    with pytest.raises(StoreError, match=r"got none of label_smoothing=0\.2,seed=1 and 1 more;"):
        scores_of(folder)


CELLS = st.lists(
    st.tuples(st.floats(0, 100), st.integers(0, 30)).map(lambda cell: (cell[0] * cell[1], cell[1])),
    min_size=1,
    max_size=20,
).filter(lambda cells: sum(count for _, count in cells) > 0)


@given(CELLS)
def test_linearised_values_average_to_the_ratio(cells):
    totals, counts = (np.array(column, float)[None] for column in zip(*cells, strict=True))
    values = _linearised(totals, counts, np.ones(totals.shape, bool))
    assert values.mean() == pytest.approx(totals.sum() / counts.sum(), rel=1e-9, abs=1e-9)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20), st.integers(1, 6))
def test_linearised_values_of_equal_weight_are_the_values(values, count):
    totals = np.array(values)[None] * count
    found = _linearised(totals, np.full(totals.shape, float(count)), np.ones(totals.shape, bool))
    assert found[0] == pytest.approx(values, abs=1e-12)


def test_rows_of_other_trials_are_left_out(folder):
    before = scores_of(folder)

    def with_more(table):
        names = pa.array(["another"] * len(table))
        others = table.set_column(0, table.schema.field(0), names)
        return pa.concat_tables([others.slice(0, 40), table])

    rewritten(folder, with_more, row_group_size=70)
    same_scores(before, scores_of(folder))
