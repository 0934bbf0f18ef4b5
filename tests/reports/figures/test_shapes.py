"""Scaling, sensitivity, trade-offs and truncation, as numbers."""

import numpy as np
import pytest

from tests.reports.figures.reading import intervals, panel, points, series


def levels(verdict):
    return verdict.found.levels[verdict.metric]


def triple(level):
    return (level.value, level.low, level.high)


def test_scaling_shows_the_law_and_what_it_was_fitted_to(studies):
    verdict = studies.verdict("data_size")
    shown = panel(studies.figure("data_size", "data_scaling"), "label accuracy")
    assert (shown.x.label, shown.x.scale) == ("training examples", "log")
    sizes = verdict.results.complete.groupby("setting")["num_train"].mean()
    means = intervals(series(shown, "mean, 95 % interval", "intervals"))
    assert means == {
        float(sizes[setting]): triple(level) for setting, level in levels(verdict).items()
    }
    curve = np.array(verdict.scaling.curve)
    for kind in ("band", "line"):
        law = series(shown, "power law, 95 % interval", kind)
        assert np.array_equal([law.x, law.y], curve[:, :2].T)
    band = series(shown, "power law, 95 % interval", "band")
    assert np.array_equal([band.low, band.high], curve[:, 2:].T)
    assert [rule.value for rule in shown.rules] == [max(sizes)]
    # The law is shown up to twice the data, because that is the question.
    assert max(band.x) == pytest.approx(2 * max(sizes))


def test_scaling_shows_every_seed_and_what_it_took(studies):
    verdict = studies.verdict("data_size")
    complete = verdict.results.complete
    shown = studies.figure("data_size", "data_scaling")
    for title, column in (
        ("label accuracy", "label_accuracy"),
        ("Training time", "training_time_s"),
    ):
        seeds = series(panel(shown, title), "one seed", "points")
        assert list(seeds.x) == list(complete["num_train"])
        assert list(seeds.y) == list(complete[column])
    assert panel(shown, "Training time").y.label == "seconds"
    assert f"{verdict.scaling.law.exponent:.2f}" in shown.caption
    assert verdict.scaling.conclusion in shown.caption


@pytest.mark.parametrize("name", ["smoothing", "temperature", "learning_rate", "by loss"])
def test_sensitivity_is_the_metric_over_the_number_that_varies(studies, name):
    verdict = studies.verdict(name)
    results = verdict.results
    [column] = results.columns
    [shown] = studies.figure(name, "sensitivity").panels
    expected = {
        results.settings[setting][column]: triple(level)
        for setting, level in levels(verdict).items()
    }
    assert intervals(series(shown, "mean, 95 % interval", "intervals")) == expected
    line = series(shown, "mean, 95 % interval", "line")
    assert list(line.x) == sorted(expected)
    assert list(line.y) == [expected[place][0] for place in line.x]
    complete = results.complete
    expected_seeds = set(zip(complete[column], complete[verdict.metric], strict=True))
    assert points(series(shown, "one seed", "points")) == expected_seeds


def test_a_search_over_decades_stands_on_a_logarithmic_axis(studies):
    scales = {
        name: studies.figure(name, "sensitivity").panels[0].x.scale
        for name in ("learning_rate", "smoothing", "temperature")
    }
    assert scales == {"learning_rate": "log", "smoothing": "linear", "temperature": "linear"}
    assert studies.figure("by loss", "sensitivity").panels[0].y.scale == "log"
    assert studies.figure("learning_rate", "sensitivity").panels[0].y.scale == "linear"


def test_pruned_trials_stand_where_they_stopped(studies):
    verdict = studies.verdict("learning_rate")
    [shown] = studies.figure("learning_rate", "sensitivity").panels
    pruned = series(shown, "pruned: loss when it was stopped", "points")
    trials = verdict.results.trials
    expected = trials[trials["state"] == "pruned"]
    assert list(pruned.x) == list(expected["learning_rate"])
    assert list(pruned.y) == list(expected["eval_loss"])
    assert pruned.texts[-1] == "0.0081, seed 1, pruned at step 20"
    assert pruned.marker == "open triangle"


def test_the_good_range_is_shaded(studies):
    verdict = studies.verdict("learning_rate")
    [shown] = studies.figure("learning_rate", "sensitivity").panels
    span = verdict.good_range
    assert (span.low, span.high) == (pytest.approx(9e-4), pytest.approx(2.7e-3))
    assert [(rule.value, rule.end) for rule in shown.rules] == [(span.low, span.high)]
    assert studies.verdict("one complete").good_range is None
    [shown] = studies.figure("one complete", "sensitivity").panels
    assert shown.rules == ()


def test_the_caption_of_sensitivity_tells_of_the_shade_and_pruned_trials(studies):
    shaded = "Shaded: nothing measured there is detectably worse than the best. "
    size = "n = 3 seeds x 120 examples; baseline "
    assert studies.figure("learning_rate", "sensitivity").caption == (
        f"{shaded}{size}0.0027. 4 pruned trials."
    )
    verdict = studies.verdict("temperature")
    caption = studies.figure("temperature", "sensitivity").caption
    assert caption.startswith(shaded) == (verdict.good_range.low < verdict.good_range.high)
    assert caption.endswith(" x 120 examples, up to 5 answers each; baseline 1.")


@pytest.mark.parametrize("name", ["temperature", "decoding", "sequence_length", "two numbers"])
def test_the_front_is_marked(studies, name):
    verdict = studies.verdict(name)
    [shown] = studies.figure(name, "pareto").panels
    front = {(one.cost_s, one.quality) for one in verdict.tradeoffs if one.on_front}
    behind = {(one.cost_s, one.quality) for one in verdict.tradeoffs if not one.on_front}
    line = series(shown, "not beaten in both", "line")
    assert list(line.x) == sorted(cost for cost, _ in front)
    assert list(line.y) == sorted(line.y), "what costs more on the front is better"
    for name_of, marker, expected in (
        ("not beaten in both", "diamond", front),
        ("beaten in both", "open", behind),
    ):
        drawn = [s for s in shown.series if (s.name, s.kind) == (name_of, "points")]
        assert {place for one in drawn for place in points(one)} == expected
        assert all(one.marker == marker and one.annotated for one in drawn)
    ends = {
        (one.cost_s, one.quality): triple(levels(verdict)[one.setting])[1:]
        for one in verdict.tradeoffs
    }
    for one in shown.series:
        for x, y, low, high in zip(one.x, one.y, one.low, one.high, strict=False):
            assert ends[x, y] == (low, high)


def test_the_cost_is_decoding_where_that_is_all_that_varies(studies):
    labels = {
        name: studies.figure(name, "pareto").panels[0].x.label
        for name in ("decoding", "sequence_length")
    }
    assert labels == {
        "decoding": "seconds of decoding a trial",
        "sequence_length": "seconds of training and decoding a trial",
    }


def test_costs_are_means_of_the_trials(studies):
    verdict = studies.verdict("decoding")
    [shown] = studies.figure("decoding", "pareto").panels
    expected = verdict.results.complete.groupby("setting")["decode_time_s"].mean()
    drawn = [x for one in shown.series if one.kind == "points" for x in one.x]
    assert sorted(drawn) == pytest.approx(sorted(expected))


def test_of_many_points_the_front_alone_is_named(studies):
    [shown] = studies.figure("many settings", "pareto").panels
    assert series(shown, "not beaten in both", "points").annotated
    assert not series(shown, "beaten in both", "points").annotated


def test_truncation_is_over_the_share_that_was_cut(studies):
    verdict = studies.verdict("sequence_length")
    shown = studies.figure("sequence_length", "truncation")
    complete = verdict.results.complete
    assert [one.title for one in shown.panels] == ["Sources cut", "Targets cut"]
    for one, column, other in (
        (shown.panels[0], "source_truncated_fraction", "max_target_length"),
        (shown.panels[1], "target_truncated_fraction", "max_source_length"),
    ):
        cut = complete.groupby("setting")[column].mean()
        groups = [s for s in one.series if s.kind == "intervals"]
        values = sorted({point[other] for point in verdict.results.settings})
        assert {s.name for s in groups} == {f"{other.replace('_', ' ')} {v}" for v in values}
        drawn = {
            (x, y, low, high)
            for s in groups
            for x, y, low, high in zip(s.x, s.y, s.low, s.high, strict=True)
        }
        assert drawn == {
            (cut[setting], *triple(level)) for setting, level in levels(verdict).items()
        }
