import re
from dataclasses import replace

import pyarrow.parquet as pq
import pytest

from tests.analysis.planted import Plant, plant
from tests.records.made import study_of
from tune_distill.analysis.remarks import findings, notes
from tune_distill.analysis.results import read_results
from tune_distill.analysis.scores import METRICS
from tune_distill.analysis.verdict import judge
from tune_distill.analysis.wording import (
    METRIC_NAMES,
    METRIC_UNITS,
    evidence_sentence,
    profile_text,
    recommendation,
    settle_text,
    three_lines,
    verdict_sentence,
)

NUMBER = r"[+-]\d\.\d{3} \[[+-]\d\.\d{3}, [+-]\d\.\d{3}\]"
ERROR = "loss: must be finite, got nan at step 4"
RATES = (2e-3, 1e-3, 5e-4, 5e-3, 1e-2)


def verdict_on(tmp_path, what, seed=0):
    return judge(read_results(plant(tmp_path, what, seed)))


SEARCH = Plant(
    study="learning_rate",
    points=[{"train.learning_rate": rate} for rate in RATES],
    accuracy=(0.7,) * 5,
    loss=(1.0, 1.02, 1.5, 1.01, 1.6),
    num_seeds=2,
    seed_sd=0.005,
    states={(4, 0): "pruned", (4, 1): "pruned", (2, 1): "pruned"},
)


def test_every_metric_has_a_name_and_a_unit():
    assert set(METRICS) <= METRIC_NAMES.keys() == METRIC_UNITS.keys()


def test_a_better_setting(tmp_path):
    verdict = verdict_on(tmp_path, Plant(accuracy=(0.7, 0.7, 0.85)))
    assert re.fullmatch(
        "Label smoothing 0.2 is detectably better than label smoothing 0.1 in label accuracy, "
        rf"{NUMBER}\.",
        verdict_sentence(verdict),
    )
    assert re.fullmatch(
        rf"Best is label smoothing 0\.2 0\.8\d\d: {NUMBER} against label smoothing 0\.1, "
        r"adjusted p < 0\.001; 3 seeds x 200 examples\.",
        evidence_sentence(verdict),
    )
    assert recommendation(verdict) == "Use label smoothing 0.2."
    assert settle_text(verdict) == ""
    assert notes(verdict) == []
    assert [line.split(":")[0] for line in three_lines(verdict)] == [
        "verdict",
        "measured",
        "recommended",
    ]


def test_several_better_settings(tmp_path):
    what = Plant(accuracy=(0.85, 0.6, 0.85), num_examples=400)
    assert re.search(rf"{NUMBER}, as is 1 other\.$", verdict_sentence(verdict_on(tmp_path, what)))


def test_worse_settings(tmp_path):
    one_of_two = verdict_on(tmp_path, Plant(accuracy=(0.4, 0.7, 0.7)))
    assert re.fullmatch(
        r"Nothing is detectably better than label smoothing 0\.1 in label accuracy; 1 of 2 others "
        rf"is detectably worse, label smoothing 0, {NUMBER}\.",
        verdict_sentence(one_of_two),
    )
    both = verdict_on(tmp_path, Plant(accuracy=(0.3, 0.8, 0.5)))
    assert "2 of 2 others are detectably worse, label smoothing 0 the most, -" in (
        verdict_sentence(both)
    )
    assert evidence_sentence(both) == (
        "Best is the baseline, label smoothing 0.1; 3 seeds x 200 examples."
    )
    study = study_of({"train.label_smoothing": [0.1, 0.3]})
    single = verdict_on(tmp_path, Plant(study=study, accuracy=(0.8, 0.4)))
    assert "; label smoothing 0.3 is detectably worse, -" in verdict_sentence(single)


def test_no_difference_says_what_would_have_been_found(tmp_path):
    verdict = verdict_on(tmp_path, Plant())
    sentence = verdict_sentence(verdict)
    assert sentence.startswith("No detectable difference from label smoothing 0.1 in label ")
    assert f"a difference of {verdict.smallest_detectable:.3f} would probably" in sentence
    assert recommendation(verdict).startswith("Keep label smoothing 0.1")


def test_an_open_question_says_what_would_settle_it(tmp_path):
    verdict = verdict_on(tmp_path, Plant(accuracy=(0.65, 0.7, 0.78), num_examples=80), seed=1)
    assert not verdict.of_best.detectable
    text = settle_text(verdict)
    assert re.match(rf"to settle label smoothing 0\.2 \({NUMBER}\) if that is its true size", text)
    assert f"{verdict.open_question.examples_needed:,} examples" in text
    assert text in recommendation(verdict)


def test_nothing_that_is_worth_it_settles_a_tiny_difference(tmp_path):
    for seed in range(10):
        verdict = verdict_on(tmp_path, Plant(num_examples=100), seed)
        needed = verdict.open_question and verdict.open_question.examples_needed
        if needed and needed > 50 * 100:
            assert f"{needed:,}" not in settle_text(verdict)


def test_one_seed_is_warned_of(tmp_path):
    verdict = verdict_on(tmp_path, Plant(num_seeds=1))
    assert verdict_sentence(verdict).endswith("found (one seed: seed noise is not measured).")
    assert recommendation(verdict).endswith("run it with --seeds 3 to measure seed noise.")
    assert notes(verdict)[0].startswith("One seed: seed noise is not measured")
    assert "1 seed x 200 examples" in evidence_sentence(verdict)


def test_one_setting_left(tmp_path):
    states = {(0, seed): "failed" for seed in range(3)}
    states |= {(2, seed): "pruned" for seed in range(3)}
    verdict = verdict_on(tmp_path, Plant(states=states))
    assert verdict_sentence(verdict) == (
        "Cannot tell: only label smoothing 0.1 has a complete trial."
    )
    assert evidence_sentence(verdict) == ("3 seeds x 200 examples; 3 complete, 3 pruned, 3 failed.")
    assert recommendation(verdict) == "Keep label smoothing 0.1."
    assert notes(verdict) == [
        f"Not compared, because it failed: {ERROR}: 0.",
        "Not compared, because it was pruned before its end: 0.2.",
    ]
    assert not any("as good as" in sentence for sentence in findings(verdict))


def test_nothing_left(tmp_path):
    states = {(setting, seed): "failed" for setting in range(3) for seed in range(3)}
    verdict = verdict_on(tmp_path, Plant(states=states))
    assert verdict_sentence(verdict) == (
        "Cannot tell: no trial is complete (0 complete, 0 pruned, 9 failed)."
    )
    assert recommendation(verdict).startswith("None: no trial is complete.")
    assert notes(verdict) == [f"Not compared, because it failed: {ERROR}: 0, 0.1, 0.2."]
    assert findings(verdict) == []


def test_no_shared_seed(tmp_path):
    states = {(1, 0): "failed", (0, 1): "failed", (2, 1): "pruned"}
    verdict = verdict_on(tmp_path, Plant(num_seeds=2, states=states))
    assert verdict_sentence(verdict).startswith("Cannot tell: no setting shares seeds")
    assert "Not compared, because it shares no seed with the baseline: 0, 0.2." in notes(verdict)


def test_a_metric_that_examples_lack(tmp_path):
    folder = plant(tmp_path, SEARCH)
    path = folder / "predictions.parquet"
    pq.write_table(pq.read_table(path).drop_columns(["eval_loss", "num_target_tokens"]), path)
    verdict = judge(read_results(folder))
    assert verdict_sentence(verdict) == (
        "Cannot tell: the predictions have no evaluation loss an example."
    )


def test_a_stand_in_is_told_of_first(tmp_path):
    states = {(1, seed): "failed" for seed in range(3)}
    verdict = verdict_on(tmp_path, Plant(states=states))
    assert notes(verdict)[0] == ("The baseline 0.1 has no complete trial; 0.2 stands in for it.")
    assert any(
        sentence == f"No neighbouring label smoothing is as good as 0.2; 0.1 failed: {ERROR}."
        for sentence in findings(verdict)
    )


def test_missing_seeds_are_told_of(tmp_path):
    verdict = verdict_on(tmp_path, Plant(states={(0, 0): "failed", (2, 1): "pruned"}))
    assert notes(verdict) == [
        f"label smoothing {name} is compared on 2 seeds of 3: the others lack a complete trial."
        for name in ("0", "0.2")
    ]


def test_missing_seeds_that_leave_no_measure_of_noise_are_told_of(tmp_path):
    states = {(0, 1): "failed", (2, 0): "failed"}
    verdict = verdict_on(tmp_path, Plant(num_seeds=2, states=states))
    assert notes(verdict) == [
        f"label smoothing {name} is compared on 1 seed of 2: the others lack a complete trial, "
        "and seed noise is not measured."
        for name in ("0", "0.2")
    ]


def test_missing_examples_are_told_of(tmp_path):
    verdict = verdict_on(tmp_path, Plant(answered={(0, 0): 120, (2, 1): 150}))
    assert notes(verdict) == [
        "label smoothing 0 is compared on the 120 of 200 validation examples that it shares with "
        "the baseline.",
        "label smoothing 0.2 is compared on the 150 of 200 validation examples that it shares "
        "with the baseline.",
    ]


def test_a_search_tells_its_range_and_what_was_pruned(tmp_path):
    found = findings(verdict_on(tmp_path, SEARCH))
    assert found[0] == (
        "Not detectably worse than the best: learning rate from 0.001 to 0.005; 0.0005 is "
        "detectably worse and 0.01 was pruned before its end."
    )
    assert re.fullmatch(
        r"3 trials pruned before the end, on average [\d.]+ behind the best setting's loss at the "
        r"same step; what they would have reached is not known\.",
        found[1],
    )


def test_pruned_trials_without_a_counterpart(tmp_path):
    states = {(1, 0): "failed", (0, 0): "failed", (2, 0): "pruned"}
    found = findings(verdict_on(tmp_path, Plant(num_seeds=2, states=states)))
    assert "1 trial pruned before the end; what they would have reached is not known." in found


def test_costs_are_told_of_where_they_vary(tmp_path):
    what = Plant(
        study="temperature",
        accuracy=(0.7, 0.6, 0.7, 0.6),
        num_examples=900,
        seed_sd=0.002,
    )
    verdict = verdict_on(tmp_path, what, seed=1)
    assert re.search(
        rf"; temperature 0\.5 takes 0\.50 of its time, and costs little in label accuracy "
        rf"if anything, {NUMBER}",
        recommendation(verdict),
    )
    assert any(
        sentence.startswith("Not beaten in both label accuracy and seconds a trial: 0.5")
        for sentence in findings(verdict)
    )


def test_as_good_and_cheaper(tmp_path):
    what = Plant(
        study="decoding", accuracy=(0.5, 0.8, 0.8, 0.8, 0.8, 0.83), num_seeds=2, num_examples=400
    )
    verdict = verdict_on(tmp_path, what)
    assert verdict.recommended == 1
    assert verdict.best != 1
    best = verdict.results.text(verdict.best)
    assert recommendation(verdict) == (
        f"Use strategy beam 2; it is as good as strategy {best} and costs less."
    )


def test_settings_of_two_parameters_are_told_apart(tmp_path):
    what = Plant(
        study="sequence_length",
        accuracy=(0.4, 0.4, 0.7, 0.7, 0.7, 0.7),
        num_seeds=2,
        states={(0, 0): "failed", (0, 1): "failed", (1, 0): "pruned", (1, 1): "pruned"},
    )
    verdict = verdict_on(tmp_path, what)
    assert notes(verdict) == [
        f"Not compared, because it failed: {ERROR}: (max source length, max target length) 16, 16.",
        "Not compared, because it was pruned before its end: "
        "(max source length, max target length) 16, 64.",
    ]
    assert "max source length 128, max target length 64" in three_lines(verdict)[0]


LEADS = {
    "More data helps": Plant(accuracy=(0.5, 0.68, 0.75), num_examples=3000, seed_sd=0.002),
    "More data no longer helps": Plant(num_examples=4000, seed_sd=0.001),
    "Cannot tell whether more data helps noticeably": Plant(
        accuracy=(0.6, 0.7, 0.72), num_examples=100
    ),
}


@pytest.mark.parametrize("lead", LEADS)
def test_a_study_of_data_says_first_whether_more_helps(tmp_path, lead):
    verdict = verdict_on(tmp_path, replace(LEADS[lead], study="data_size"))
    assert verdict_sentence(verdict).startswith(
        f"{lead}: twice the data is expected to improve label accuracy by "
    )
    found = findings(verdict)
    assert found[0].startswith("What label accuracy lacks falls with the data as a power law")
    assert re.match(r"Data efficiency: train fraction 0\.\d reaches \d+% of the label ", found[1])


def test_the_profile_is_named(tmp_path):
    verdict = verdict_on(tmp_path, Plant(num_examples=20))
    assert profile_text(verdict.results.profile) == "mini on mini-nli"


STUDIES = {
    "plain": Plant(),
    "search": SEARCH,
    "one seed": Plant(num_seeds=1),
    "one example": Plant(num_examples=1),
    "nothing": Plant(states={(n, seed): "failed" for n in range(3) for seed in range(3)}),
    "decoding": Plant(study="decoding", accuracy=(0.7,) * 6, num_seeds=2),
    "lengths": Plant(study="sequence_length", accuracy=(0.7,) * 6, num_seeds=2),
    "data": Plant(study="data_size", accuracy=(0.5, 0.6, 0.7)),
    "samples": Plant(study="temperature", accuracy=(0.7,) * 4, num_samples=5),
}


@pytest.mark.parametrize("name", STUDIES)
def test_every_sentence_is_whole(tmp_path, name):
    verdict = verdict_on(tmp_path, STUDIES[name])
    sentences = [line.split(": ", 1)[1] for line in three_lines(verdict)]
    for sentence in [*sentences, *findings(verdict), *notes(verdict)]:
        assert sentence.endswith(".")
        assert not re.search(r"\bnan\b(?! at step)|\binf\b|None(?!:)|  |\.\.|: \.", sentence)
