"""The figure over all studies."""

import pytest

from tests.analysis.made_studies import SHIPPED
from tune_distill.analysis.verdict_json import summary_of
from tune_distill.reports.figures.overview import effects, effects_figure, largest_effect


@pytest.fixture(scope="module")
def summaries(studies):
    return [summary_of(studies.verdict(name)) for name in SHIPPED]


def made(study, *differences, family="baseline", metric="label_accuracy", detectable=True):
    """A summary with these differences from its baseline."""
    return {
        "study": study,
        "num_seeds": 3,
        "num_examples": 1200,
        "comparisons": [
            {
                "setting": {"knob": number},
                "metric": metric,
                "family": family,
                "difference": difference,
                "ci_low": difference - 0.01,
                "ci_high": difference + 0.02,
                "detectable": detectable,
            }
            for number, difference in enumerate(differences)
        ],
    }


def test_the_study_that_matters_most_comes_first():
    small, wide, one_sided = made("a", 0.1, -0.05), made("b", -0.2, 0.1), made("c", 0.2, 0.25)
    assert [largest_effect(s) for s in (small, wide, one_sided)] == [0.1, 0.2, 0.25]
    figure = effects_figure([small, wide, one_sided])
    [panel] = figure.panels
    assert panel.y.categories == ("c 0", "c 1", "b 0", "b 1", "a 0", "a 1")
    assert [s.name for s in panel.series if s.kind == "points"] == ["c", "b", "a"]
    assert figure.caption.endswith("n = seeds x examples: c 3 x 1,200, b 3 x 1,200, a 3 x 1,200.")
    [bars] = [s for s in panel.series if (s.name, s.kind) == ("b", "intervals")]
    assert (bars.x, bars.low, bars.high) == (
        (-0.2, 0.1),
        pytest.approx((-0.21, 0.09)),
        pytest.approx((-0.18, 0.12)),
    )
    assert [rule.value for rule in panel.rules] == [0.0]


def test_what_was_not_detected_does_not_matter_most():
    large, small = made("a", 0.5, detectable=False), made("b", 0.1)
    assert largest_effect(large) == 0
    [panel] = effects_figure([large, small]).panels
    assert panel.y.categories == ("b 0", "a 0")


def test_all_studies_are_shown_in_the_metric_that_they_share(summaries):
    [panel] = effects_figure(summaries).panels
    assert panel.x.label == "difference in label accuracy (share of answers)"
    drawn = {s.name: s for s in panel.series if s.kind == "intervals"}
    assert set(drawn) == set(SHIPPED)
    for summary in summaries:
        own = [
            one
            for one in summary["comparisons"]
            if one["metric"] == "label_accuracy" and one["baseline"] == summary["baseline"]
        ]
        bars = drawn[summary["study"]]
        assert list(bars.x) == [one["difference"] for one in own]
        assert list(bars.low) == [one["ci_low"] for one in own]
        assert list(bars.high) == [one["ci_high"] for one in own]
    largest = {summary["study"]: largest_effect(summary) for summary in summaries}
    assert list(drawn) == sorted(largest, key=lambda name: -largest[name])
    assert len(set(panel.y.categories)) == len(panel.y.categories)


def test_comparisons_with_the_best_are_no_effects():
    assert effects(made("a", 0.1, family="best")) == []
    assert effects(made("a", 0.1, metric="rougeL")) == []
    assert len(effects(made("a", 0.1, family="other metrics"))) == 1


def test_no_figure_without_an_effect():
    assert effects_figure([]) is None
    assert effects_figure([made("a")]) is None
    assert [s.name for s in effects_figure([made("a"), made("b", 0.1)]).panels[0].series] == [
        "b"
    ] * 2
