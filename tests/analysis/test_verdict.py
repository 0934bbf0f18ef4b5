from dataclasses import replace

import pytest

from tests.analysis.planted import Plant, plant
from tests.records.made import study_of
from tune_distill.analysis.results import read_results
from tune_distill.analysis.verdict import judge

EVERY = [(setting, seed) for setting in range(3) for seed in range(3)]
RATES = (2e-3, 1e-3, 5e-4, 5e-3)

DECODING = Plant(study="decoding", accuracy=(0.7,) * 6, num_seeds=2, num_examples=400)
"""Settings are in ascending order of cost; the first is the baseline."""

TEMPERATURE = Plant(study="temperature", accuracy=(0.7,) * 4, num_examples=600, seed_sd=0.003)
"""The baseline is the third, which takes 1.0 s; the first two are cheaper."""


def verdict_on(tmp_path, what, seed=0):
    return judge(read_results(plant(tmp_path, what, seed)))


def test_a_better_setting_is_recommended(tmp_path):
    verdict = verdict_on(tmp_path, Plant(accuracy=(0.7, 0.7, 0.85)))
    assert (verdict.outcome, verdict.recommended, verdict.best) == ("better", 2, 2)
    assert verdict.of_best.better
    assert verdict.cheaper is None
    assert verdict.left_out == []


def test_a_difference_that_cannot_be_told_keeps_the_baseline(tmp_path):
    for seed in range(5):
        verdict = verdict_on(tmp_path, Plant(num_examples=150), seed)
        assert verdict.outcome == "no difference detected"
        assert verdict.recommended == 1
        assert 0 < verdict.smallest_detectable < 0.2
        open_question = verdict.open_question
        assert not open_question.detectable
        assert open_question.gain == max(one.gain for one in verdict.primary)


def test_a_change_that_no_share_can_make_is_not_called_detectable(tmp_path):
    """Accuracy 0.7 can fall by 0.7 at most; a loss may rise without limit."""
    few = verdict_on(tmp_path, Plant(num_examples=8, seed_sd=0.3))
    assert min(one.smallest_detectable for one in few.primary) > 0.8
    assert few.smallest_detectable is None
    many = verdict_on(tmp_path, Plant(num_examples=200))
    assert many.smallest_detectable == max(one.smallest_detectable for one in many.primary)
    study = study_of(
        {"train.label_smoothing": [0.0, 0.1, 0.2]}, metric={"name": "eval_loss", "mode": "min"}
    )
    loss = verdict_on(tmp_path, Plant(study, num_examples=8, loss=(9.0,) * 3, seed_sd=0.3))
    assert loss.smallest_detectable > 1


def test_the_best_by_chance_is_not_recommended(tmp_path):
    verdicts = [verdict_on(tmp_path, Plant(num_examples=100), seed) for seed in range(6)]
    chosen = [verdict for verdict in verdicts if verdict.best != 1]
    assert chosen, "some study's best must not be the baseline"
    assert {verdict.recommended for verdict in chosen} == {1}


def test_worse_settings_keep_the_baseline(tmp_path):
    verdict = verdict_on(tmp_path, Plant(accuracy=(0.5, 0.75, 0.74), num_examples=300))
    assert (verdict.outcome, verdict.recommended) == ("worse", 1)
    assert [one.worse for one in verdict.primary] == [True, False]


def test_a_better_setting_outweighs_a_worse(tmp_path):
    verdict = verdict_on(tmp_path, Plant(accuracy=(0.5, 0.7, 0.9), num_examples=300))
    assert (verdict.outcome, verdict.recommended) == ("better", 2)


def test_of_losses_the_lower_is_recommended(tmp_path):
    what = Plant(
        study="learning_rate",
        points=[{"train.learning_rate": rate} for rate in RATES],
        accuracy=(0.7,) * 4,
        loss=(1.0, 0.6, 1.5, 1.0),
    )
    verdict = verdict_on(tmp_path, what)
    assert (verdict.outcome, verdict.recommended, verdict.best) == ("better", 1, 1)
    assert verdict.primary[0].estimate.value < 0


def test_the_cheapest_of_the_equally_good_is_recommended(tmp_path):
    accuracy = (0.5, 0.8, 0.8, 0.8, 0.8, 0.8)
    verdict = verdict_on(tmp_path, replace(DECODING, accuracy=accuracy))
    assert verdict.outcome == "better"
    assert set(verdict.equally_good) >= {1, 2, 3, 4, 5}
    # Setting 1 costs 0.75 s a trial, the next 1 s. The baseline costs less, but is worse.
    assert verdict.recommended == 1


def test_a_dearer_setting_is_recommended_where_it_is_detectably_the_best(tmp_path):
    accuracy = (0.5, 0.6, 0.6, 0.6, 0.6, 0.9)
    verdict = verdict_on(tmp_path, replace(DECODING, accuracy=accuracy))
    assert (verdict.recommended, verdict.equally_good) == (5, [5])


def test_costs_within_a_quarter_are_the_same(tmp_path):
    # They cost 1.5 s and 1.75 s, so the one with the better mean is recommended.
    what = replace(DECODING, accuracy=(0.5, 0.5, 0.5, 0.5, 0.82, 0.85), num_examples=300)
    verdict = verdict_on(tmp_path, what, seed=1)
    assert set(verdict.equally_good) == {4, 5}
    assert verdict.recommended == verdict.best == 5


def test_a_cheaper_setting_is_told_of_where_it_is_nearly_as_good(tmp_path):
    verdict = verdict_on(tmp_path, TEMPERATURE)
    assert verdict.outcome == "no difference detected"
    assert verdict.recommended == verdict.results.baseline == 2
    assert verdict.cheaper.setting == 0
    assert verdict.cheaper.estimate.low > -0.05
    assert verdict.has_tradeoff
    assert verdict.decodes_only


def test_a_cheaper_setting_that_may_be_much_worse_is_not_told_of(tmp_path):
    # Twenty examples cannot rule out a large loss.
    verdict = verdict_on(tmp_path, replace(TEMPERATURE, num_examples=20))
    assert verdict.outcome == "no difference detected"
    assert verdict.cheaper is None


def test_a_cheaper_setting_that_is_worse_is_not_told_of(tmp_path):
    verdict = verdict_on(tmp_path, replace(TEMPERATURE, accuracy=(0.4, 0.4, 0.7, 0.7)))
    assert (verdict.outcome, verdict.recommended, verdict.cheaper) == ("worse", 2, None)


def test_a_cheaper_setting_that_is_worse_by_little_is_not_told_of_as_good(tmp_path):
    what = replace(TEMPERATURE, accuracy=(0.675, 0.675, 0.7, 0.7), num_examples=6000, seed_sd=0.001)
    verdict = verdict_on(tmp_path, what)
    first = verdict.primary[0]
    assert first.worse
    assert first.estimate.low > -0.05
    assert verdict.cheaper is None


def test_a_cheaper_setting_that_is_worse_in_another_metric_is_not_told_of(tmp_path):
    # The labels are as good, but the explanations are not.
    verdict = verdict_on(tmp_path, replace(TEMPERATURE, quality=(0.4, 0.4, 0.5, 0.5)))
    assert verdict.outcome == "no difference detected"
    assert any(one.worse for one in verdict.found.of("rougeL"))
    assert verdict.cheaper is None
    # If only the cheapest is worse, the next cheapest is named.
    verdict = verdict_on(tmp_path, replace(TEMPERATURE, quality=(0.4, 0.5, 0.5, 0.5)))
    assert verdict.cheaper.setting == 1


def test_the_most_answers_to_an_example(tmp_path):
    verdict = verdict_on(tmp_path, Plant(num_examples=30, samples={2: 5}))
    assert verdict.num_samples == 5
    assert verdict_on(tmp_path, Plant(num_examples=30)).num_samples == 1


def test_of_a_loss_a_twentieth_is_much(tmp_path):
    study = study_of({"train.num_epochs": [1, 3]}, metric={"name": "eval_loss", "mode": "min"})
    cheap = Plant(study=study, loss=(100.0, 100.0), num_examples=400, seed_sd=0.001)
    verdict = verdict_on(tmp_path, cheap)
    # In the planted study, epochs cost 3.5 s and 3.75 s, which is too small a difference.
    assert verdict.cheaper is None
    assert verdict.results.baseline == 1


def test_a_learning_rate_costs_nothing(tmp_path):
    # The planted costs differ by setting, but if the study varies nothing that costs, that is
    # noise.
    verdict = verdict_on(tmp_path, Plant(num_examples=1500, seed_sd=0.0))
    assert verdict.outcome == "no difference detected"
    assert verdict.cheaper is None
    assert not verdict.has_tradeoff


def test_failed_and_pruned_settings_are_left_out_with_a_reason(tmp_path):
    states = {(0, seed): "failed" for seed in range(3)}
    states |= {(2, seed): "pruned" for seed in range(3)}
    verdict = verdict_on(tmp_path, Plant(num_examples=50, states=states))
    assert (verdict.outcome, verdict.recommended) == ("cannot tell", 1)
    assert [(left.setting, left.reason) for left in verdict.left_out] == [
        (0, "failed: loss: must be finite, got nan at step 4"),
        (2, "pruned before the end"),
    ]
    assert len(verdict.censored) == 3
    assert verdict.smallest_detectable is None
    assert verdict.open_question is None
    assert verdict.of_best is None


def test_a_setting_with_a_trial_left_is_compared(tmp_path):
    states = {(0, 0): "failed", (0, 1): "pruned", (2, 1): "pruned"}
    verdict = verdict_on(tmp_path, Plant(num_examples=50, states=states))
    assert verdict.left_out == []
    assert [one.estimate.num_seeds for one in verdict.primary] == [1, 2]
    assert verdict.num_seeds == 3


def test_nothing_complete_recommends_nothing(tmp_path):
    what = Plant(num_examples=50, states=dict.fromkeys(EVERY, "failed"))
    verdict = verdict_on(tmp_path, what)
    assert (verdict.outcome, verdict.recommended, verdict.best) == ("cannot tell", None, None)
    assert [left.setting for left in verdict.left_out] == [0, 1, 2]
    assert (verdict.num_seeds, verdict.num_examples, verdict.num_samples) == (0, 0, 0)
    assert verdict.costs == {}
    assert verdict.equally_good == []
    assert verdict.tradeoffs == []
    assert not verdict.has_tradeoff


def test_no_shared_seed_cannot_tell(tmp_path):
    states = {(1, 0): "failed", (0, 1): "failed", (2, 1): "pruned"}
    verdict = verdict_on(tmp_path, Plant(num_seeds=2, num_examples=50, states=states))
    assert (verdict.outcome, verdict.recommended) == ("cannot tell", 1)
    assert {left.reason for left in verdict.left_out} == {"shares no seed with the baseline"}
    assert verdict.good_range is None


def test_a_baseline_that_failed_is_left_out_and_replaced(tmp_path):
    states = {(1, seed): "failed" for seed in range(3)}
    verdict = verdict_on(tmp_path, Plant(accuracy=(0.9, 0.7, 0.6), states=states))
    assert verdict.results.baseline == 2
    assert (verdict.outcome, verdict.recommended) == ("better", 0)
    assert [left.setting for left in verdict.left_out] == [1]


def test_no_setting_is_lost(tmp_path):
    what = Plant(
        study="learning_rate",
        points=[{"train.learning_rate": rate} for rate in RATES],
        accuracy=(0.7,) * 4,
        loss=(1.0, 1.1, 1.2, 1.3),
        num_seeds=2,
        num_examples=50,
        states={(1, 0): "pruned", (2, 0): "failed", (2, 1): "pruned", (3, 1): "failed"},
    )
    verdict = verdict_on(tmp_path, what)
    compared = {one.setting for one in verdict.primary}
    left_out = {left.setting for left in verdict.left_out}
    assert compared == {1, 3}
    assert left_out == {2}
    assert compared | left_out | {verdict.results.baseline} == {0, 1, 2, 3}


def test_a_law_belongs_to_a_study_of_data(tmp_path):
    what = Plant(study="data_size", accuracy=(0.5, 0.6, 0.7), num_examples=100)
    verdict = verdict_on(tmp_path, what)
    assert verdict.scaling is not None
    assert not verdict.has_tradeoff
    assert verdict_on(tmp_path, Plant(num_examples=50)).scaling is None


@pytest.mark.parametrize("num_seeds", [1, 3])
def test_answers_that_are_all_the_same_tell_no_difference(tmp_path, num_seeds):
    # There is no noise, so that a hard example is hard for every trial.
    what = Plant(num_seeds=num_seeds, num_examples=80, seed_sd=0, own=1e-9, noise=1e-9)
    verdict = verdict_on(tmp_path, what)
    assert verdict.outcome == "no difference detected"
    assert verdict.recommended == 1
    assert verdict.smallest_detectable == pytest.approx(0.045, abs=0.001)
    assert verdict.open_question is None
