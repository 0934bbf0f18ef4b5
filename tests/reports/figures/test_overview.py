"""The figure over all studies."""

import pytest

from tests.analysis.made_studies import SHIPPED
from tune_distill.analysis.summary import setting_text
from tune_distill.analysis.verdict_json import summary_of
from tune_distill.reports.figures.overview import effects, effects_figure, largest_effect


@pytest.fixture(scope="module")
def summaries(studies):
    return [summary_of(studies.verdict(name)) for name in SHIPPED]


def made(study, *differences, family="baseline", metric="label_accuracy", detectable=True):
    """Return a summary with these differences from its baseline."""
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
    assert figure.caption.endswith("n = seeds x examples: c 3 x 1,200, b 3 x 1,200, a 3 x 1,200.")
    bars = {s.name: s for s in panel.series if s.kind == "intervals"}
    assert list(bars) == ["detectably better", "detectably worse"]
    assert bars["detectably better"].x == (0.2, 0.25, 0.1, 0.1)
    assert bars["detectably worse"].y == ("b 0", "a 1")
    assert bars["detectably worse"].low == pytest.approx((-0.21, -0.06))
    assert bars["detectably worse"].high == pytest.approx((-0.18, -0.03))
    assert [rule.value for rule in panel.rules] == [0.0]


def test_what_was_not_detected_does_not_matter_most():
    large, small = made("a", 0.5, detectable=False), made("b", 0.1)
    assert largest_effect(large) == 0
    [panel] = effects_figure([large, small]).panels
    assert panel.y.categories == ("b 0", "a 0")


def test_all_studies_are_shown_in_the_metric_that_they_share(summaries):
    [panel] = effects_figure(summaries).panels
    assert panel.x.label == "difference in label accuracy (share of answers)"
    drawn = [
        (row, (value, low, high), s.name)
        for s in panel.series
        if s.kind == "intervals"
        for row, value, low, high in zip(s.y, s.x, s.low, s.high, strict=True)
    ]
    drawn.sort(key=lambda one: panel.y.categories.index(one[0]))
    expected = []
    for summary in sorted(summaries, key=lambda summary: -largest_effect(summary)):
        own = [
            one
            for one in summary["comparisons"]
            if one["metric"] == "label_accuracy" and one["baseline"] == summary["baseline"]
        ]
        for one in own:
            meaning = "detectably better" if one["difference"] > 0 else "detectably worse"
            numbers = one["difference"], one["ci_low"], one["ci_high"]
            row = f"{summary['study']} {', '.join(map(setting_text, one['setting'].values()))}"
            expected.append((row, numbers, meaning if one["detectable"] else "not detectable"))
    assert drawn == expected
    assert len(set(panel.y.categories)) == len(panel.y.categories)


def test_comparisons_with_the_best_are_no_effects():
    assert effects(made("a", 0.1, family="best")) == []
    assert effects(made("a", 0.1, metric="rougeL")) == []
    assert len(effects(made("a", 0.1, family="other metrics"))) == 1


def test_no_figure_without_an_effect():
    assert effects_figure([]) is None
    assert effects_figure([made("a")]) is None
    [panel] = effects_figure([made("a"), made("b", 0.1)]).panels
    assert panel.y.categories == ("b 0",)
