"""The verdict's sentences: what was found, what it rests on, and what to do."""

import re
from dataclasses import replace

import pyarrow.parquet as pq
import pytest

from tests.analysis.made_studies import PLANTS, SEARCH, SMOOTHING, verdict_on
from tests.analysis.planted import Plant, plant
from tests.records.made import study_of
from tune_distill.analysis.results import read_results
from tune_distill.analysis.verdict import judge
from tune_distill.analysis.wording import (
    evidence_sentence,
    profile_text,
    recommendation,
    settle_text,
    size_text,
    three_lines,
    verdict_sentence,
)

NUMBER = r"[+-]\d\.\d{3} \[[+-]\d\.\d{3}, [+-]\d\.\d{3}\]"


def test_a_better_setting(tmp_path):
    verdict = verdict_on(tmp_path, Plant(accuracy=(0.7, 0.7, 0.85)))
    assert re.fullmatch(
        "Label smoothing 0.2 is detectably better than label smoothing 0.1 in label accuracy: "
        rf"{NUMBER}\.",
        verdict_sentence(verdict),
    )
    assert re.fullmatch(
        rf"Best: label smoothing 0\.2 \(label accuracy 0\.8\d\d, {NUMBER} against 0\.1, "
        r"adjusted p (< 0\.001|0\.00\d+)\); 3 seeds x 200 examples\.",
        evidence_sentence(verdict),
    )
    assert recommendation(verdict) == "Use label smoothing 0.2."
    assert settle_text(verdict) == ""
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
        rf"is detectably worse, label smoothing 0: {NUMBER}\.",
        verdict_sentence(one_of_two),
    )
    both = verdict_on(tmp_path, Plant(accuracy=(0.3, 0.8, 0.5)))
    assert "2 of 2 others are detectably worse, label smoothing 0 the most: -" in (
        verdict_sentence(both)
    )
    assert evidence_sentence(both) == (
        "Best: the baseline, label smoothing 0.1; 3 seeds x 200 examples."
    )
    study = study_of({"train.label_smoothing": [0.1, 0.3]})
    single = verdict_on(tmp_path, Plant(study=study, accuracy=(0.8, 0.4)))
    assert "; label smoothing 0.3 is detectably worse: -" in verdict_sentence(single)


def test_no_difference_says_what_would_have_been_found(tmp_path):
    verdict = verdict_on(tmp_path, Plant())
    sentence = verdict_sentence(verdict)
    assert sentence.startswith("No setting differs detectably from label smoothing 0.1 in ")
    found = f"a true difference of {verdict.smallest_detectable:.3f} would have been detected with"
    assert sentence.endswith(f"; {found} 80% probability.")
    assert recommendation(verdict).startswith("Keep label smoothing 0.1")


def test_an_open_question_says_what_would_settle_it(tmp_path):
    verdict = verdict_on(tmp_path, Plant(accuracy=(0.65, 0.7, 0.78), num_examples=80), seed=1)
    assert not verdict.of_best.detectable
    text = settle_text(verdict)
    assert text.startswith(
        f"if label smoothing 0.2 is truly better by {verdict.open_question.gain:.3f}, about "
        f"{verdict.open_question.examples_needed:,} examples"
    )
    assert text.endswith(" would show it")
    assert recommendation(verdict) == f"Keep label smoothing 0.1. I{text[1:]}."


def test_nothing_that_is_worth_it_settles_a_tiny_difference(tmp_path):
    what = Plant(num_examples=100, seed_sd=0.0)
    for seed in range(60):
        verdict = verdict_on(tmp_path, what, seed)
        needed = verdict.open_question and verdict.open_question.examples_needed
        if needed and needed > 50 * 100:
            assert f"{needed:,}" not in settle_text(verdict)
            return
    pytest.fail("no study had a difference so tiny")


def test_one_seed_is_warned_of(tmp_path):
    verdict = verdict_on(tmp_path, Plant(num_seeds=1))
    assert verdict_sentence(verdict).endswith(" With one seed, seed noise is not measured.")
    assert recommendation(verdict).endswith(" Run it with --seeds 3 to measure seed noise.")
    assert "1 seed x 200 examples" in evidence_sentence(verdict)


def test_what_one_seed_shows_is_recommended_for_now(tmp_path):
    what = Plant(accuracy=(0.6, 0.7, 0.95), num_seeds=1, num_examples=300)
    verdict = verdict_on(tmp_path, what)
    assert verdict.outcome == "better"
    assert recommendation(verdict) == (
        "Use label smoothing 0.2 for now. Run it with --seeds 3 to measure seed noise."
    )
    kept = verdict_on(tmp_path, Plant(accuracy=(0.3, 0.7, 0.7), num_seeds=1, num_examples=300))
    assert recommendation(kept).startswith("Keep label smoothing 0.1. ")


def test_too_little_to_find_anything_is_told(tmp_path):
    verdict = verdict_on(tmp_path, Plant(num_examples=4))
    assert verdict.smallest_detectable is None
    assert verdict_sentence(verdict) == (
        "No setting differs detectably from label smoothing 0.1 in label accuracy; with so few "
        "seeds and examples, no difference could have been detected."
    )


def test_a_loss_may_differ_by_more_than_one(tmp_path):
    study = study_of(SMOOTHING, metric={"name": "eval_loss", "mode": "min"})
    verdict = verdict_on(tmp_path, Plant(study, num_examples=20, loss=(20,) * 3, seed_sd=0.1))
    assert verdict.smallest_detectable >= 1
    assert (
        f"; a true difference of {verdict.smallest_detectable:.3f} would have been detected "
        in verdict_sentence(verdict)
    )


def test_one_setting_left(tmp_path):
    states = {(0, seed): "failed" for seed in range(3)}
    states |= {(2, seed): "pruned" for seed in range(3)}
    verdict = verdict_on(tmp_path, Plant(states=states))
    assert verdict_sentence(verdict) == (
        "Cannot tell: only label smoothing 0.1 has a complete trial."
    )
    assert evidence_sentence(verdict) == ("3 seeds x 200 examples; 3 complete, 3 pruned, 3 failed.")
    assert recommendation(verdict) == "Keep label smoothing 0.1."


def test_nothing_left(tmp_path):
    states = {(setting, seed): "failed" for setting in range(3) for seed in range(3)}
    verdict = verdict_on(tmp_path, Plant(states=states))
    assert verdict_sentence(verdict) == (
        "Cannot tell: no trial is complete (0 complete, 0 pruned, 9 failed)."
    )
    assert recommendation(verdict).startswith("None: no trial is complete.")


def test_no_setting_shares_a_seed_with_the_baseline(tmp_path):
    states = {(1, 0): "failed", (0, 1): "failed", (2, 1): "pruned"}
    verdict = verdict_on(tmp_path, Plant(num_seeds=2, states=states))
    assert verdict_sentence(verdict) == (
        "Cannot tell: no setting could be paired with the baseline."
    )


def test_a_metric_that_examples_lack(tmp_path):
    folder = plant(tmp_path, SEARCH)
    path = folder / "predictions.parquet"
    pq.write_table(pq.read_table(path).drop_columns(["eval_loss", "num_target_tokens"]), path)
    verdict = judge(read_results(folder))
    assert verdict_sentence(verdict) == (
        "Cannot tell: the predictions have no evaluation loss for each example."
    )


def test_costs_are_told_of_where_they_vary(tmp_path):
    what = Plant("temperature", (0.7, 0.6, 0.7, 0.6), num_examples=900, seed_sd=0.002)
    verdict = verdict_on(tmp_path, what, seed=1)
    assert re.search(
        rf"\. Temperature 0\.5 takes 0\.50 times as long and loses little or no label accuracy "
        rf"\({NUMBER}\)",
        recommendation(verdict),
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
        f"Use strategy beam 2: it is as good as strategy {best} and costs less."
    )


def test_settings_of_two_parameters_are_named_by_both(tmp_path):
    what = Plant("sequence_length", (0.4, 0.4, 0.7, 0.7, 0.7, 0.7), num_seeds=2, num_examples=50)
    [verdict, *_] = three_lines(verdict_on(tmp_path, what))
    assert "max source length 128, max target length 64" in verdict


LEADS = {
    "More data helps": Plant(accuracy=(0.5, 0.68, 0.75), num_examples=3000, seed_sd=0.002),
    "More data does not help noticeably": Plant(num_examples=4000, seed_sd=0.001),
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


FOLLOWS_NO_LAW = {
    "it falls": Plant(accuracy=(0.8, 0.7, 0.6), num_examples=3000),
    "it rises late": Plant(accuracy=(0.5, 0.5, 0.8), num_examples=300),
    "it dips": Plant(accuracy=(0.7, 0.5, 0.75), num_examples=3000, seed_sd=0.002),
}


@pytest.mark.parametrize("shape", FOLLOWS_NO_LAW)
def test_no_gain_is_promised_where_the_metric_follows_no_law(tmp_path, shape):
    verdict = verdict_on(tmp_path, replace(FOLLOWS_NO_LAW[shape], study="data_size"))
    assert verdict_sentence(verdict).startswith(
        "Cannot tell whether more data helps noticeably: label accuracy does not follow a power "
        "law. "
    )
    assert "twice the data" not in verdict_sentence(verdict)


def test_fewer_data_are_recommended_where_the_metric_falls_with_them(tmp_path):
    verdict = verdict_on(tmp_path, replace(FOLLOWS_NO_LAW["it falls"], study="data_size"))
    assert re.search(
        r" Train fraction 0\.1 is detectably better than train fraction 1 in label accuracy: "
        rf"{NUMBER}, as is 1 other\.$",
        verdict_sentence(verdict),
    )
    assert recommendation(verdict) == "Use train fraction 0.1."


def test_the_profile_is_named(tmp_path):
    verdict = verdict_on(tmp_path, Plant(num_examples=20))
    assert profile_text(verdict.results.profile) == "mini on mini-nli"


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("smoothing", "3 seeds x 120 examples"),
        ("one seed", "1 seed x 60 examples"),
        ("one example", "3 seeds x 1 example"),
        ("samples", "3 seeds x 40 examples, up to 5 answers each"),
        ("all pruned", "0 seeds x 0 examples"),
    ],
)
def test_the_size_is_that_of_what_was_measured(studies, name, size):
    verdict = studies.verdict(name)
    assert size_text(verdict) == size
    assert f"{size};" in evidence_sentence(verdict) or f"{size}." in evidence_sentence(verdict)


# These names have spaces at their ends.
@pytest.mark.parametrize("name", [name for name in PLANTS if name != "hard names"])
def test_every_sentence_is_whole(studies, name):
    for line in three_lines(studies.verdict(name)):
        sentence = line.split(": ", 1)[1]
        assert sentence.endswith(".")
        assert not re.search(r"\bnan\b|\binf\b|None(?!:)|  |\.\.|: \.", sentence)
