import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.analysis.planted import Plant, plant
from tests.records.made import study_of
from tune_distill.analysis.results import read_results
from tune_distill.analysis.statistics.comparisons import compare
from tune_distill.analysis.statistics.shapes import (
    SAME_COST,
    censored,
    costs_vary,
    decodes_only,
    equally_good,
    good_range,
    numeric_column,
    pareto_front,
    setting_costs,
    tradeoffs,
)

RATES = (2e-3, 1e-3, 5e-4, 5e-3, 1e-2, 5e-2)
POINTS = tuple({"train.learning_rate": rate} for rate in RATES)
PRUNED = {(5, 0): "pruned", (5, 1): "pruned", (2, 1): "pruned"}

SEARCH = Plant(
    study="learning_rate",
    points=POINTS,
    accuracy=(0.7,) * 6,
    loss=(1.0, 1.02, 1.5, 1.01, 1.4, 2.0),
    num_seeds=2,
    seed_sd=0.005,
    states=PRUNED,
)

FAR = Plant(accuracy=(0.5, 0.7, 0.9), num_examples=300)


def found(tmp_path, what):
    results = read_results(plant(tmp_path, what))
    return results, compare(results)


PLACES = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=9)


def beats(one, other):
    return one[0] <= other[0] and one[1] >= other[1] and one != other


@given(PLACES)
def test_the_front_is_what_nothing_beats(points):
    front = pareto_front(*zip(*points, strict=True))
    expected = []
    for point in points:
        beaten = False
        for other in points:
            beaten = beaten or beats(other, point)
        expected.append(not beaten)
    assert front == expected


@given(PLACES)
def test_the_front_has_the_cheapest_and_the_best_and_beats_the_rest(points):
    front = [
        p for p, on in zip(points, pareto_front(*zip(*points, strict=True)), strict=True) if on
    ]
    assert min(points, key=lambda point: (point[0], -point[1])) in front
    assert max(points, key=lambda point: (point[1], -point[0])) in front
    for point in set(points) - set(front):
        assert any(beats(other, point) for other in front)
    by_cost = sorted(set(front))
    assert [gain for _, gain in by_cost] == sorted({gain for _, gain in front})


def test_the_front_by_hand():
    assert pareto_front([1, 2, 2, 3], [0.5, 0.7, 0.6, 0.7]) == [True, True, False, False]
    # Equal points do not beat each other.
    assert pareto_front([1, 1], [0.5, 0.5]) == [True, True]
    assert pareto_front([], []) == []


def test_a_decoded_setting_costs_its_decoding(tmp_path):
    results, comparisons = found(
        tmp_path, Plant(study="decoding", accuracy=(0.7,) * 6, num_seeds=2, num_examples=30)
    )
    assert decodes_only(results)
    assert costs_vary(results)
    assert setting_costs(results) == pytest.approx({n: 0.5 + 0.25 * n for n in range(6)})
    assert [one.cost_s for one in tradeoffs(results, comparisons)] == pytest.approx(
        [0.5 + 0.25 * n for n in range(6)]
    )


def test_a_trained_setting_costs_its_training_too(tmp_path):
    states = {(1, 0): "failed", (3, 0): "failed", (3, 1): "pruned"}
    what = Plant(
        study="sequence_length",
        accuracy=(0.7,) * 6,
        num_seeds=2,
        num_examples=30,
        states=states,
    )
    results, _ = found(tmp_path, what)
    assert not decodes_only(results)
    assert costs_vary(results)
    # Six history rows of half a second each; a setting without a complete trial has no cost.
    expected = {n: 3.0 + 0.5 + 0.25 * n for n in range(6) if n != 3}
    assert setting_costs(results) == pytest.approx(expected)


@pytest.mark.parametrize("study", ["smoothing", "learning_rate"])
def test_some_hyperparameters_cost_nothing(tmp_path, study):
    what = SEARCH if study == "learning_rate" else Plant(num_examples=30)
    assert not costs_vary(found(tmp_path, what)[0])


def test_more_validation_is_not_chosen_for_its_cost(tmp_path):
    study = study_of({"data.num_validation": [100, 200]})
    assert not costs_vary(found(tmp_path, Plant(study=study, num_examples=30))[0])


def test_what_is_better_and_cheaper_is_on_the_front(tmp_path):
    accuracy = (0.9, 0.6, 0.6, 0.6, 0.6, 0.6)
    results, comparisons = found(
        tmp_path, Plant(study="decoding", accuracy=accuracy, num_seeds=2, num_examples=200)
    )
    assert [one.on_front for one in tradeoffs(results, comparisons)] == [True] + [False] * 5


def test_of_losses_the_low_ones_are_on_the_front(tmp_path):
    study = study_of({"train.num_epochs": [1, 3, 6]}, metric={"name": "eval_loss", "mode": "min"})
    what = Plant(study=study, loss=(1.0, 1.3, 0.7), num_examples=200)
    results, comparisons = found(tmp_path, what)
    # All cost the same except for noise, so that only the best remains.
    assert [one.on_front for one in tradeoffs(results, comparisons)] == [False, False, True]
    study = study_of({"decode.num_beams": [2, 4, 8]}, overrides={"decode.strategy": "beam"})
    what = Plant(study=study, accuracy=(0.6, 0.5, 0.9), num_examples=300)
    results, comparisons = found(tmp_path, what)
    assert [one.on_front for one in tradeoffs(results, comparisons)] == [True, False, True]


def on_front(tmp_path, accuracy):
    """Return which decodings are on the front. The last is the best; they cost 0.5 s to 1.75 s."""
    what = Plant(study="decoding", accuracy=accuracy, num_seeds=2, num_examples=600, seed_sd=0.001)
    results, comparisons = found(tmp_path, what)
    assert comparisons.best == 5
    return [one.on_front for one in tradeoffs(results, comparisons)]


def test_a_little_cheaper_does_not_make_up_for_detectably_worse(tmp_path):
    accuracy = (0.4, 0.3, 0.3, 0.6, 0.8, 0.9)
    assert 1.5 * SAME_COST >= 1.75 > 1.25 * SAME_COST
    assert on_front(tmp_path, accuracy) == [True, False, False, True, False, True]


def test_a_little_cheaper_is_on_the_front_where_it_is_as_good(tmp_path):
    accuracy = (0.4, 0.3, 0.3, 0.6, 0.895, 0.9)
    assert on_front(tmp_path, accuracy) == [True, False, False, True, True, True]


def test_what_is_as_cheap_as_a_baseline_that_is_best_and_worse_is_not_on_the_front(tmp_path):
    # The baseline, third, costs 1 s; the one before it costs 0.75 s, which is not the same.
    what = Plant(study="temperature", accuracy=(0.3, 0.6, 0.8, 0.5), num_examples=400)
    results, comparisons = found(tmp_path, what)
    assert comparisons.best == results.baseline == 2
    assert [one.on_front for one in tradeoffs(results, comparisons)] == [True, True, True, False]


def test_the_column_that_is_a_number(tmp_path):
    assert numeric_column(found(tmp_path, Plant(num_examples=20))[0]) == "label_smoothing"
    for study in ("decoding", "sequence_length"):
        what = Plant(study=study, accuracy=(0.7,) * 6, num_seeds=1, num_examples=20)
        assert numeric_column(found(tmp_path, what)[0]) is None


def test_the_good_range_ends_where_settings_are_worse(tmp_path):
    results, comparisons = found(tmp_path, SEARCH)
    span = good_range(results, comparisons)
    assert span.column == "learning_rate"
    assert (span.low, span.high) == (1e-3, 5e-3)
    assert span.best in (1e-3, 2e-3, 5e-3)
    assert [RATES[setting] for setting in (span.below, span.above)] == [5e-4, 1e-2]


def test_a_range_without_an_end_says_so(tmp_path):
    results, comparisons = found(tmp_path, Plant(num_examples=40))
    span = good_range(results, comparisons)
    assert (span.low, span.high, span.below, span.above) == (0.0, 0.2, None, None)


def test_a_setting_that_stands_alone(tmp_path):
    results, comparisons = found(tmp_path, FAR)
    span = good_range(results, comparisons)
    assert (span.low, span.best, span.high) == (0.2, 0.2, 0.2)
    assert (span.below, span.above) == (1, None)


def test_a_setting_that_was_not_compared_is_not_in_the_range(tmp_path):
    states = {(2, seed): "pruned" for seed in range(3)}
    results, comparisons = found(tmp_path, Plant(num_examples=40, states=states))
    span = good_range(results, comparisons)
    assert (span.low, span.high, span.above) == (0.0, 0.1, 2)
    # The setting is complete, but shares no seed with the baseline.
    states = {(0, 1): "failed", (0, 2): "failed", (1, 0): "failed"}
    results, comparisons = found(tmp_path, Plant(num_examples=40, states=states))
    span = good_range(results, comparisons)
    assert (span.low, span.high, span.below) == (0.1, 0.2, 0)


@pytest.mark.parametrize(
    "what",
    [
        Plant(study="decoding", accuracy=(0.7,) * 6, num_seeds=1, num_examples=20),
        Plant(study=study_of({"train.label_smoothing": [0.0, 0.1]}), num_examples=20),
        Plant(num_examples=20, states={(n, seed): "failed" for n in (0, 2) for seed in range(3)}),
        Plant(num_examples=20, states={(n, s): "failed" for n in range(3) for s in range(3)}),
    ],
    ids=["words", "two settings", "one measured", "none measured"],
)
def test_no_range(tmp_path, what):
    assert good_range(*found(tmp_path, what)) is None


def test_the_equally_good_are_the_best_and_what_is_not_worse(tmp_path):
    results, comparisons = found(tmp_path, SEARCH)
    good = equally_good(results, comparisons)
    assert good[0] == comparisons.best
    assert sorted(good) == [0, 1, 3]
    losses = [comparisons.level("eval_loss", setting).value for setting in good]
    assert losses == sorted(losses)
    results, comparisons = found(tmp_path, Plant(num_examples=100))
    good = equally_good(results, comparisons)
    levels = [comparisons.level("label_accuracy", setting).value for setting in good]
    assert levels == sorted(levels, reverse=True)
    assert len(good) == 3
    results, comparisons = found(tmp_path, FAR)
    assert equally_good(results, comparisons) == [2]


def test_a_pruned_trial_is_held_against_the_best_at_its_step(tmp_path):
    results, comparisons = found(tmp_path, SEARCH)
    entries = censored(results, comparisons)
    assert {(one.setting, one.seed) for one in entries} == set(PRUNED)
    best = SEARCH.loss[comparisons.best]
    for one in entries:
        # A planted pruned trial has 1.5 times its loss at its only evaluation, step 20, and the
        # others have the same multiple of theirs.
        assert one.step == 20
        assert one.eval_loss == pytest.approx(1.5 * SEARCH.loss[one.setting])
        assert one.behind == pytest.approx(1.5 * (SEARCH.loss[one.setting] - best))


def test_a_pruned_trial_without_a_counterpart_is_kept(tmp_path):
    what = Plant(num_examples=30, num_seeds=2, states={(2, 0): "pruned", (0, 0): "failed"})
    accuracy = Plant(**{**vars(what), "states": what.states | {(1, 0): "failed"}})
    results, comparisons = found(tmp_path, accuracy)
    [one] = censored(results, comparisons)
    assert (one.setting, one.seed, one.behind) == (2, 0, None)


def test_a_study_without_pruned_trials_reads_no_history(tmp_path):
    folder = plant(tmp_path, Plant(num_examples=30))
    (folder / "history.parquet").unlink()
    results = read_results(folder)
    assert censored(results, compare(results)) == []
