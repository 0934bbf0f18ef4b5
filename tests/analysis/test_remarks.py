"""Remarks beside a verdict: the study's shape, and what was not compared."""

import re

import pandas as pd
import pytest

from tests.analysis.made_studies import PLANTS, SEARCH, ended, rates, verdict_on
from tests.analysis.planted import Plant, plant
from tests.records.made import study_of
from tune_distill.analysis.remarks import findings, notes
from tune_distill.analysis.results import read_results
from tune_distill.analysis.verdict import judge

NUMBER = r"[+-]\d\.\d{3} \[[+-]\d\.\d{3}, [+-]\d\.\d{3}\]"
ERROR = "loss: must be finite, got nan at step 4"
BY_LOSS = {"name": "eval_loss", "mode": "min"}


def searched(*loss, **plan):
    """Return a search over learning rates 0.0001, 0.0003 and so on, judged by these losses."""
    return Plant("learning_rate", (0.7,) * len(loss), rates(len(loss)), loss=loss, **plan)


def test_there_is_nothing_to_note_where_all_was_compared(tmp_path):
    assert notes(verdict_on(tmp_path, Plant())) == []


def trained_on(tmp_path, *machines):
    """Return the notes on a study whose trials were trained on these machines in turn."""
    folder = plant(tmp_path, Plant())
    path = folder / "trials.parquet"
    trials = pd.read_parquet(path)
    chosen = [machines[number % len(machines)] for number in range(len(trials))]
    trials["device"], trials["instruction_set"] = zip(*chosen, strict=True)
    trials.to_parquet(path)
    return notes(judge(read_results(folder)))


def test_a_study_that_mixes_instruction_sets_says_so(tmp_path):
    one, other = ("cpu", "AVX512 on AMD EPYC"), ("cpu", "DEFAULT on AMD EPYC")
    assert trained_on(tmp_path, one) == []
    assert trained_on(tmp_path, one, other) == [
        "Trained on different processors: 5 on cpu (AVX512 on AMD EPYC), 4 on cpu (DEFAULT on AMD "
        "EPYC); losses agree to about six digits across them, and single answers may differ."
    ]


def test_a_study_that_mixes_devices_says_so(tmp_path):
    notes = trained_on(
        tmp_path, ("cpu", "AVX2 on X"), ("NVIDIA H100", "sm_90"), ("cpu", "AVX2 on X")
    )
    assert notes == [
        "Trained on different devices: 6 on cpu (AVX2 on X), 3 on NVIDIA H100 (sm_90); on another "
        "device chance moves a training as another seed does."
    ]


def test_one_seed_is_warned_of(tmp_path):
    assert notes(verdict_on(tmp_path, Plant(num_seeds=1))) == [
        "One seed: seed noise is not measured, and the intervals hold for these very trainings, "
        "not for the settings in general."
    ]


def test_settings_without_a_complete_trial_are_told_of_with_the_reason(tmp_path):
    verdict = verdict_on(tmp_path, Plant(states=ended(0, "failed") | ended(2, "pruned")))
    assert notes(verdict) == [
        f"Not compared: 0 (failed: {ERROR}).",
        "Not compared: 0.2 (pruned before the end).",
    ]
    [pruned] = findings(verdict)
    assert pruned.startswith("3 trials "), "there is no range of one setting"


def test_settings_that_failed_alike_are_told_of_together(studies):
    verdict = studies.verdict("all failed")
    assert notes(verdict) == [f"Not compared: 0, 0.1, 0.2 (failed: {ERROR})."]
    assert findings(verdict) == []


def test_settings_that_share_no_seed_are_told_of(tmp_path):
    states = {(1, 0): "failed", (0, 1): "failed", (2, 1): "pruned"}
    verdict = verdict_on(tmp_path, Plant(num_seeds=2, states=states))
    assert notes(verdict) == ["Not compared: 0, 0.2 (shares no seed with the baseline)."]


def test_settings_of_two_parameters_are_told_apart(tmp_path):
    what = Plant(
        "sequence_length",
        (0.7,) * 6,
        num_seeds=2,
        num_examples=50,
        states={(0, 0): "failed", (0, 1): "failed", (1, 0): "pruned", (1, 1): "pruned"},
    )
    names = "(max source length, max target length)"
    assert notes(verdict_on(tmp_path, what)) == [
        f"Not compared: {names} 16, 16 (failed: {ERROR}).",
        f"Not compared: {names} 16, 64 (pruned before the end).",
    ]


def test_a_stand_in_is_told_of_first(tmp_path):
    assert notes(verdict_on(tmp_path, Plant(states=ended(1, "failed")))) == [
        "The baseline 0.1 has no complete trial; 0.2 stands in for it.",
        f"Not compared: 0.1 (failed: {ERROR}).",
    ]


def test_missing_seeds_are_told_of(tmp_path):
    verdict = verdict_on(tmp_path, Plant(states={(0, 0): "failed", (2, 1): "pruned"}))
    assert notes(verdict) == [
        f"Compared on 2 seeds of 3: label smoothing {name}; it or the baseline lacks a complete "
        "trial, or the metric, elsewhere."
        for name in ("0", "0.2")
    ]


def test_missing_seeds_that_leave_no_measure_of_noise_are_told_of(tmp_path):
    # No setting has two seeds.
    states = {(0, 1): "failed", (1, 1): "failed", (2, 0): "failed"}
    verdict = verdict_on(tmp_path, Plant(num_seeds=2, states=states))
    lacking, note = notes(verdict)
    assert lacking == "Not compared: 0.2 (shares no seed with the baseline)."
    assert note.startswith("Compared on 1 seed of 2: label smoothing 0; ")
    assert note.endswith(", and seed noise is not measured.")


def test_missing_examples_are_told_of(tmp_path):
    verdict = verdict_on(tmp_path, Plant(answered={(0, 0): 120, (2, 1): 150}))
    assert notes(verdict) == [
        f"Compared on {count} of 200 validation examples: label smoothing {name}, which shares no "
        "more with the baseline."
        for count, name in ((120, "0"), (150, "0.2"))
    ]


def test_a_search_tells_its_range_and_what_was_pruned(tmp_path):
    good, pruned = findings(verdict_on(tmp_path, SEARCH))
    assert good == (
        "Not detectably worse than the best: learning rate from 0.001 to 0.005; next to it 0.0005 "
        "is detectably worse and 0.01 was not compared."
    )
    assert re.fullmatch(
        r"3 trials .*pruned before the end, on average [\d.]+ behind the best setting's loss at "
        r"the same step; what they would have reached is not known\.",
        pruned,
    )


def test_a_range_without_ends_is_all_that_was_tried(tmp_path):
    assert findings(verdict_on(tmp_path, Plant())) == [
        "Not detectably worse than the best: label smoothing from 0 to 0.2, all that was tried."
    ]


def test_values_beyond_a_worse_one_are_as_good(tmp_path):
    assert findings(verdict_on(tmp_path, searched(1.0, 1.5, 1.0, 1.0, 1.5))) == [
        "Not detectably worse than the best: learning rate from 0.0009 to 0.0027; next to it "
        "0.0003 is detectably worse and 0.0081 is detectably worse. As good, further off: 0.0001."
    ]
    [alone] = findings(verdict_on(tmp_path, searched(1.0, 1.5, 0.99)))
    assert alone.endswith(
        ": 0.0009; next to it 0.0003 is detectably worse. As good, further off: 0.0001."
    )


def test_a_best_value_between_worse_ones_stands_alone(tmp_path):
    assert findings(verdict_on(tmp_path, searched(1.5, 0.9, 1.5))) == [
        "No neighbour of the best learning rate is known to be as good: 0.0003; "
        "next to it 0.0001 is detectably worse and 0.0009 is detectably worse."
    ]


def test_a_neighbour_that_failed_or_was_pruned_was_not_compared(tmp_path):
    states = ended(1, "failed") | ended(3, "pruned")
    [found, pruned] = findings(
        verdict_on(tmp_path, searched(1.0, 1.0, 0.9, 1.0, 1.0, states=states))
    )
    assert found.endswith(
        ": 0.0009; next to it 0.0003 was not compared and 0.0027 was not compared."
    )
    assert pruned.startswith("3 trials ")


def test_a_neighbour_without_a_seed_of_the_best_was_not_compared(tmp_path):
    """It was compared with the baseline, which has the seeds of both."""
    own = study_of(
        {"train.label_smoothing": [0.0, 0.1, 0.2]}, baseline={"train.label_smoothing": 0}
    )
    rest = {(1, seed): "failed" for seed in (1, 2)} | {(2, 0): "failed"}
    what = Plant(own, (0.5, 0.9, 0.55), states=rest, num_examples=400)
    verdict = verdict_on(tmp_path, what)
    assert verdict.best == 1
    assert not verdict.left_out
    [found] = findings(verdict)
    assert "next to it 0 is detectably worse and 0.2 was not compared" in found


def test_pruned_trials_without_a_counterpart(tmp_path):
    states = {(1, 0): "failed", (0, 0): "failed", (2, 0): "pruned"}
    *_, pruned = findings(verdict_on(tmp_path, Plant(num_seeds=2, states=states)))
    assert re.fullmatch(r"1 trial .*pruned before the end; what .* reached is not known\.", pruned)


def test_costs_are_told_of_where_they_vary(tmp_path):
    what = Plant("temperature", (0.7, 0.6, 0.7, 0.6), num_examples=900, seed_sd=0.002)
    *_, front = findings(verdict_on(tmp_path, what, seed=1))
    assert front.startswith("Not beaten in both label accuracy and seconds a trial: 0.5")


def test_a_study_of_data_tells_its_law_and_what_less_data_keeps(tmp_path):
    what = Plant("data_size", (0.5, 0.68, 0.75), num_examples=3000, seed_sd=0.002)
    verdict = verdict_on(tmp_path, what)
    law, efficiency = findings(verdict)
    assert re.fullmatch(
        r"What label accuracy lacks falls with the data as a power law with exponent "
        r"0\.\d\d \[0\.\d\d, 0\.\d\d\], which fits \(p 0\.\d+\)\.",
        law,
    )
    assert re.fullmatch(
        r"Data efficiency: train fraction 0\.5 reaches 9\d% of the label accuracy of train "
        rf"fraction 1, {NUMBER}\.",
        efficiency,
    )


def test_a_loss_falls_itself(tmp_path):
    study = study_of({"data.train_fraction": [0.25, 0.5, 1.0]}, metric=BY_LOSS)
    what = Plant(study, (0.7,) * 3, loss=(2.0, 1.414, 1.0))
    [law, *_] = findings(verdict_on(tmp_path, what))
    assert law.startswith("Evaluation loss falls with the data as a power law with exponent 0.")


def test_a_metric_that_falls_with_the_data_follows_no_law(tmp_path):
    verdict = verdict_on(tmp_path, Plant("data_size", (0.8, 0.7, 0.6), num_examples=3000))
    assert verdict.scaling.conclusion == "cannot tell"
    # What less data keeps is not reported either, because less data is better.
    assert findings(verdict) == [
        "No power law fits: label accuracy does not improve steadily with the data."
    ]


def test_an_exponent_without_an_upper_end_is_so_much_or_more(tmp_path):
    what = Plant("data_size", (0.2, 0.7, 0.705), num_examples=3000, seed_sd=0.002)
    verdict = verdict_on(tmp_path, what)
    floor = verdict.scaling.law.floor
    low, _ = verdict.scaling.exponent
    [law, *_] = findings(verdict)
    # Three sizes and three parameters leave no degree of freedom to test the fit.
    assert law.endswith(f" [{low:.2f} or more], down to {floor:.3f}.")
    assert 0.27 < floor < 0.31


def test_a_law_that_fits_badly_is_told_of(tmp_path):
    verdict = verdict_on(tmp_path, Plant("data_size", (0.5, 0.5, 0.8), num_examples=300))
    [law, *_] = findings(verdict)
    assert re.search(r"fits badly \(p [\d.e-]+\)", law)


@pytest.mark.parametrize("name", PLANTS)
def test_every_sentence_is_whole(studies, name):
    verdict = studies.verdict(name)
    for sentence in [*findings(verdict), *notes(verdict)]:
        assert sentence.endswith(".")
        assert not re.search(r"\bnan\b(?! at step)|\binf\b|None|  |\.\.|: \.", sentence)
