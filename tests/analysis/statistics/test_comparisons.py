import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar as oracle_mcnemar
from statsmodels.stats.multitest import multipletests

from tests.analysis.planted import Plant, plant
from tests.records.made import study_of
from tune_distill.analysis.results import read_results
from tune_distill.analysis.statistics.comparison import improvement
from tune_distill.analysis.statistics.comparisons import compare
from tune_distill.analysis.statistics.significance import ALPHA
from tune_distill.analysis.tables import load
from tune_distill.spec.metrics import JUDGED

DECODED = Plant(study="decoding", accuracy=(0.7,) * 6, num_seeds=2, num_examples=60)


def compared(tmp_path, what, seed=0):
    results = read_results(plant(tmp_path, what, seed))
    return results, compare(results)


def correct(results, setting, seed):
    """Return which examples a trial answers rightly, from the predictions table."""
    rows = load(results.folder.name, results=results.folder.parent, table="predictions")
    rows = rows[rows["trial_id"] == f"label_smoothing={setting},seed={seed}"]
    return rows.sort_values("example_id")["correct"].to_numpy()


def change(folder, name, changed):
    """Replace a column of the predictions by a function of the table."""
    path = folder / "predictions.parquet"
    table = pq.read_table(path)
    number = table.column_names.index(name)
    field = table.schema.field(number)
    pq.write_table(table.set_column(number, field, changed(table)), path)


def test_every_setting_is_compared_in_every_metric(tmp_path):
    results, found = compared(tmp_path, Plant(num_examples=60))
    assert {(one.setting, one.metric) for one in found.with_baseline} == {
        (setting, metric) for setting in (0, 2) for metric in JUDGED
    }
    assert all(one.reference == results.baseline for one in found.with_baseline)
    assert {one.setting for one in found.of("rougeL")} == {0, 2}
    assert set(found.levels) == set(JUDGED)
    for metric, levels in found.levels.items():
        means = results.complete.groupby("setting")[metric].mean()
        for setting, level in levels.items():
            assert level.value == pytest.approx(means[setting]), metric
            assert level.low < level.value < level.high
    assert found.level("rougeL", 7) is None
    assert found.level("bertscore", 0) is None
    assert found.not_compared == {}


def test_a_difference_is_that_of_the_tables_means(tmp_path):
    results, found = compared(tmp_path, Plant(accuracy=(0.6, 0.7, 0.8), num_examples=60))
    for one in found.with_baseline:
        means = results.complete.groupby("setting")[one.metric].mean()
        assert one.estimate.value == pytest.approx(means[one.setting] - means[one.reference])
        assert one.estimate.low <= one.estimate.value <= one.estimate.high
        assert (one.estimate.num_seeds, one.estimate.num_examples) == (3, 60)


def test_families_are_corrected_each_for_itself(tmp_path):
    results, found = compared(tmp_path, Plant(accuracy=(0.6, 0.7, 0.75), num_examples=200))
    assert found.best == 2
    families = {"baseline": 2, "best": 2, "other metrics": 2 * (len(JUDGED) - 1)}
    every = [*found.with_baseline, *found.with_best]
    for family, count in families.items():
        members = [one for one in every if one.family == family]
        assert len(members) == count
        expected = multipletests([one.p_value for one in members], method="holm")[1]
        assert [one.p_adjusted for one in members] == pytest.approx(expected, abs=1e-12)
        assert {one.num_compared for one in members} == {count}
    assert {one.reference for one in found.with_best} == {2}
    assert {one.metric for one in found.with_best} == {results.study.metric.name}


def test_where_the_baseline_is_best_its_comparisons_say_it(tmp_path):
    _, found = compared(tmp_path, Plant(accuracy=(0.6, 0.8, 0.6)))
    assert found.best == 1
    assert found.with_best == []


def test_one_seed_is_tested_by_mcnemar(tmp_path):
    results, found = compared(
        tmp_path, Plant(accuracy=(0.6, 0.7, 0.8), num_seeds=1, num_examples=150)
    )
    for one, value in zip(found.of("label_accuracy"), (0.0, 0.2), strict=True):
        first, second = correct(results, value, 0), correct(results, 0.1, 0)
        table = pd.crosstab(first, second)
        expected = oracle_mcnemar(table, exact=True).pvalue
        assert one.p_value == pytest.approx(expected, abs=1e-12)
        assert one.test == "exact McNemar"
    for one in found.of("rougeL"):
        assert one.test == "paired t"
        assert one.mcnemar == ()
    assert {one.estimate.parts.seed for one in found.with_baseline} == {None}


def test_one_seed_of_another_metric_is_the_paired_t_test(tmp_path):
    what = Plant(num_seeds=1, num_examples=150, quality=(0.3, 0.5, 0.52))
    results, found = compared(tmp_path, what)
    values = results.scores.values["rougeL"]
    for one, setting in zip(found.of("rougeL"), (0, 2), strict=True):
        expected = stats.ttest_rel(values[setting], values[1])
        assert one.p_value == pytest.approx(expected.pvalue, rel=1e-9)
        interval = expected.confidence_interval(0.95)
        ends = (one.estimate.low, one.estimate.high)
        assert ends == pytest.approx((interval.low, interval.high), rel=1e-9)


def test_several_seeds_have_an_exact_test_each_beside_students(tmp_path):
    results, found = compared(tmp_path, Plant(num_examples=80))
    for one, value in zip(found.of("label_accuracy"), (0.0, 0.2), strict=True):
        assert one.test == "paired t"
        assert one.p_value == one.estimate.p_value
        for seed in range(3):
            table = pd.crosstab(correct(results, value, seed), correct(results, 0.1, seed))
            expected = oracle_mcnemar(table, exact=True).pvalue
            assert one.mcnemar[seed] == pytest.approx(expected, abs=1e-12)


def test_pairs_of_single_answers_have_an_exact_test_where_others_have_samples(tmp_path):
    what = Plant(num_seeds=1, num_examples=100, accuracy=(0.6, 0.7, 0.75), samples={2: 5})
    results, found = compared(tmp_path, what)
    assert results.scores.num_samples.tolist() == [1, 1, 5]
    once, often = found.of("label_accuracy")
    table = pd.crosstab(correct(results, 0.0, 0), correct(results, 0.1, 0))
    expected = oracle_mcnemar(table, exact=True).pvalue
    assert (once.test, once.mcnemar) == ("exact McNemar", (once.p_value,))
    assert once.p_value == pytest.approx(expected, abs=1e-12)
    assert (often.test, often.mcnemar) == ("paired t", ())
    assert often.p_value == often.estimate.p_value


def test_a_reference_with_samples_has_no_exact_test(tmp_path):
    _, found = compared(tmp_path, Plant(num_examples=60, samples={1: 2}))
    assert {one.mcnemar for one in found.of("label_accuracy")} == {()}


def test_samples_have_no_exact_test(tmp_path):
    what = Plant(study="temperature", accuracy=(0.7,) * 4, num_samples=5, num_seeds=1)
    _, found = compared(tmp_path, what)
    assert len(found.of("label_accuracy")) == 3
    for one in found.of("label_accuracy"):
        assert (one.test, one.mcnemar) == ("paired t", ())


def test_one_shared_seed_is_not_tested_as_if_seeds_had_no_noise(tmp_path):
    states = {(0, 1): "failed", (0, 2): "pruned"}
    _, found = compared(tmp_path, Plant(seed_sd=0.04, num_examples=200, states=states))
    one = found.of("label_accuracy")[0]
    assert one.estimate.num_seeds == 1
    assert len(one.mcnemar) == 1
    # The other settings' seeds show seed noise, which McNemar's test ignores.
    assert one.estimate.parts.seed is not None
    assert one.test == "paired t"
    assert one.p_value == one.estimate.p_value


def test_better_and_worse_are_by_the_metrics_direction(tmp_path):
    what = Plant(
        study="learning_rate",
        points=[{"train.learning_rate": rate} for rate in (2e-3, 1e-3, 5e-3)],
        accuracy=(0.6, 0.6, 0.9),
        loss=(1.0, 0.7, 1.5),
    )
    _, found = compared(tmp_path, what)
    lower, higher = found.of("eval_loss")
    assert lower.estimate.value < 0 < lower.gain
    assert (lower.better, lower.worse) == (True, False)
    assert (higher.better, higher.worse) == (False, True)
    assert found.best == 1
    right = next(one for one in found.of("label_accuracy") if one.setting == 2)
    assert right.better
    assert improvement("eval_loss", -0.2) == 0.2
    assert improvement("rougeL", -0.2) == -0.2


def test_detectable_is_after_the_correction(tmp_path):
    for seed in range(20):
        what = Plant(accuracy=(0.66, 0.7, 0.74), num_examples=300)
        _, found = compared(tmp_path, what, seed)
        for one in found.with_baseline:
            assert one.detectable == (one.p_adjusted < ALPHA)
            assert one.p_adjusted >= one.p_value
        if any(one.p_value < ALPHA <= one.p_adjusted for one in found.of("label_accuracy")):
            return
    pytest.fail("no study told a corrected p-value from a plain one")


def test_ties_keep_the_baseline(tmp_path):
    folder = plant(tmp_path, Plant(num_examples=30))
    change(folder, "correct", lambda table: pa.array([True] * table.num_rows))
    found = compare(read_results(folder))
    assert found.best == 1
    for one in found.of("label_accuracy"):
        assert (one.estimate.value, one.p_value, one.detectable) == (0, 1, False)
        # None of 30 examples differed; up to an eighth may differ, as the interval shows.
        assert one.estimate.high == pytest.approx(stats.binomtest(0, 30).proportion_ci(0.95).high)
        assert one.smallest_detectable == pytest.approx(one.estimate.high)


def test_settings_are_compared_on_the_seeds_that_both_have(tmp_path):
    states = {(0, 1): "failed", (1, 2): "failed"}
    results, found = compared(tmp_path, Plant(num_examples=60, states=states))
    first, last = found.of("label_accuracy")
    assert (first.estimate.num_seeds, last.estimate.num_seeds) == (1, 2)
    means = results.complete.set_index(["setting", "seed"])["label_accuracy"]
    assert first.estimate.value == pytest.approx(means[0, 0] - means[1, 0])
    expected = (means[2, 0] - means[1, 0] + means[2, 1] - means[1, 1]) / 2
    assert last.estimate.value == pytest.approx(expected)


def test_settings_are_compared_on_the_examples_that_both_answered(tmp_path):
    answered = {(0, seed): 35 for seed in range(3)}
    results, found = compared(tmp_path, Plant(num_examples=60, answered=answered))
    first, last = found.of("label_accuracy")
    assert (first.estimate.num_examples, last.estimate.num_examples) == (35, 60)
    values = results.scores.values["label_accuracy"]
    shared = ~np.isnan(values[0])
    assert shared.sum() == 35
    expected = values[:3, shared].mean() - values[3:6, shared].mean()
    assert first.estimate.value == pytest.approx(expected)


def test_no_shared_seed_is_a_reason(tmp_path):
    states = {(1, 0): "failed", (0, 1): "failed", (2, 1): "pruned"}
    _, found = compared(tmp_path, Plant(num_seeds=2, num_examples=30, states=states))
    assert found.not_compared == {
        0: "shares no seed with the baseline",
        2: "shares no seed with the baseline",
    }
    assert found.with_baseline == []
    assert found.best == 1
    assert set(found.levels["label_accuracy"]) == {0, 1, 2}


def test_no_shared_example_is_a_reason(tmp_path):
    folder = plant(tmp_path, Plant(num_examples=30))

    def renamed(table):
        theirs = pc.starts_with(table.column("trial_id"), "label_smoothing=0.2")
        names = table.column("example_id")
        return pc.if_else(theirs, pc.binary_join_element_wise("other", names, "-"), names)

    change(folder, "example_id", renamed)
    found = compare(read_results(folder))
    assert found.not_compared == {2: "shares no validation example with the baseline"}
    assert {one.setting for one in found.with_baseline} == {0}


def test_decoding_does_not_change_a_students_loss(tmp_path):
    _, found = compared(tmp_path, DECODED)
    assert {one.metric for one in found.with_baseline} == set(JUDGED) - {"eval_loss"}
    assert "eval_loss" in found.levels
    assert found.not_compared == {}
    assert len(found.of("label_accuracy")) == 5


def test_decoding_judged_by_the_loss_has_nothing_to_compare(tmp_path):
    study = study_of(
        {"decode.num_beams": [2, 4]},
        metric={"name": "eval_loss", "mode": "min"},
        overrides={"decode.strategy": "beam"},
    )
    # One of the settings lacks a seed, but the settings still share their students.
    states = {(1, 0): "failed"}
    results, found = compared(tmp_path, Plant(study=study, num_examples=30, states=states))
    assert found.of("eval_loss") == []
    assert list(found.not_compared.values()) == ["has the baseline's own runs, so the same losses"]
    assert found.best == results.baseline


def test_a_trial_without_losses_leaves_the_other_seeds(tmp_path):
    folder = plant(tmp_path, Plant(num_examples=30))

    def partly(table):
        theirs = pc.equal(table.column("trial_id"), "label_smoothing=0.2,seed=1")
        return pc.if_else(theirs, pa.scalar(None, pa.float64()), table.column("eval_loss"))

    change(folder, "eval_loss", partly)
    found = compare(read_results(folder))
    seeds = {one.setting: one.estimate.num_seeds for one in found.of("eval_loss")}
    assert seeds == {0: 3, 2: 2}


def test_a_metric_that_no_trial_has_is_not_compared(tmp_path):
    folder = plant(tmp_path, Plant(num_examples=30))
    path = folder / "predictions.parquet"
    pq.write_table(pq.read_table(path).drop_columns(["eval_loss", "num_target_tokens"]), path)
    found = compare(read_results(folder))
    assert "eval_loss" not in found.levels
    assert found.of("eval_loss") == []
    assert len(found.of("rougeL")) == 2


def test_nothing_complete_compares_nothing(tmp_path):
    states = {(setting, seed): "failed" for setting in range(3) for seed in range(3)}
    _, found = compared(tmp_path, Plant(num_examples=30, states=states))
    assert (found.levels, found.best, found.with_baseline, found.with_best) == ({}, None, [], [])


@pytest.mark.parametrize("num_examples", [1, 2, 3])
@pytest.mark.parametrize("num_seeds", [1, 2])
def test_so_few_examples_claim_nothing(tmp_path, num_examples, num_seeds):
    what = Plant(accuracy=(0.05, 0.95, 0.05), num_seeds=num_seeds, num_examples=num_examples)
    _, found = compared(tmp_path, what)
    assert len(found.of("label_accuracy")) == 2
    assert not any(one.detectable for one in found.of("label_accuracy"))
    for one in found.with_baseline:
        assert np.isfinite([one.estimate.low, one.estimate.high, one.p_adjusted]).all()


def test_the_same_folder_gives_the_same_numbers(tmp_path):
    results, found = compared(tmp_path, Plant(num_examples=60))
    again = compare(read_results(results.folder))
    assert again.with_baseline == found.with_baseline
    assert again.with_best == found.with_best
    assert again.levels == found.levels
