"""A verdict as JSON has the documented keys, and any reader can parse it."""

import json
import re
from pathlib import Path

import pandas as pd
import pytest

from tests.analysis.made_studies import PLANTS
from tune_distill.analysis.verdict_json import summary_of

README = (Path(__file__).resolve().parents[2] / "results" / "README.md").read_text(encoding="utf-8")
SECTION = re.search(r"^## summary\.json\n(.*?)^## ", README, re.MULTILINE | re.DOTALL).group(1)

COMPARISON = {
    "setting",
    "baseline",
    "metric",
    "difference",
    "ci_low",
    "ci_high",
    "p_value",
    "p_adjusted",
    "detectable",
}
"""Keys that programs rely on, here and below; others may be added."""

SUMMARY = {
    "study",
    "metric",
    "baseline",
    "best",
    "verdict",
    "recommendation",
    "num_seeds",
    "num_examples",
    "comparisons",
}


def documented(text):
    """Return the keys in the first column of a table."""
    rows = re.findall(r"^\| (`.*?) \|", text, re.MULTILINE)
    return [key for row in rows for key in re.findall(r"`(\w+)`", row)]


OF_SUMMARY, OF_COMPARISON = map(documented, SECTION.split("Each of the `comparisons`:"))


@pytest.fixture(params=PLANTS)
def summary(request, studies):
    """Return the summary of each kind of study."""
    return summary_of(studies.verdict(request.param))


def test_the_documentation_has_the_contract():
    assert set(OF_SUMMARY) >= SUMMARY
    assert set(OF_COMPARISON) >= COMPARISON


def test_keys_are_the_documented_ones_in_their_order(summary):
    # `made_from` depends on files, which a verdict does not know.
    assert [*summary, "made_from"] == OF_SUMMARY
    for one in summary["comparisons"]:
        assert list(one) == OF_COMPARISON


def test_json_gives_the_same_back(summary):
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary


def test_settings_are_objects_of_the_varied_parameters(summary):
    settings = [one["setting"] for one in summary["settings"]]
    named = [summary[name] for name in ("baseline", "best", "recommended")]
    compared = [one[side] for one in summary["comparisons"] for side in ("setting", "baseline")]
    left_out = [one["setting"] for one in summary["left_out"]]
    for values in (*compared, *left_out, *summary["equally_good"], *filter(None, named)):
        assert values in settings
    # All three have a setting, or no trial was complete.
    assert len({values is None for values in named}) == 1
    assert (named[0] is None) == (summary["trials"]["complete"] == 0)


def test_every_comparison_is_ordered_and_in_its_family(summary):
    for one in summary["comparisons"]:
        assert one["ci_low"] <= one["difference"] <= one["ci_high"]
        assert 0 <= one["p_value"] <= one["p_adjusted"] <= 1
        assert one["detectable"] == (one["p_adjusted"] < 0.05)
        assert one["baseline"] == summary["best" if one["family"] == "best" else "baseline"]
        assert (one["family"] == "other metrics") == (one["metric"] != summary["metric"])
        assert one["test"] in ("exact McNemar", "paired t")
        assert one["smallest_detectable"] >= 0
        if one["detectable"]:
            assert one["examples_needed"] is one["seeds_needed"] is None
        assert len(one["mcnemar_p_values"]) in (0, one["num_seeds"])


@pytest.mark.parametrize("name", PLANTS)
def test_settings_are_told_as_the_tables_have_them(studies, name):
    verdict = studies.verdict(name)
    trials = pd.read_parquet(verdict.results.folder / "trials.parquet")
    summary = summary_of(verdict)
    counts = trials["state"].value_counts()
    states = ("complete", "pruned", "failed")
    assert summary["trials"] == {state: counts.get(state, 0) for state in states}
    for state in states:
        assert summary["trials"][state] == sum(s["trials"][state] for s in summary["settings"])
    for one in summary["settings"]:
        assert list(one["setting"]) == verdict.results.columns
        assert (one["cost_s"] is None) == (one["trials"]["complete"] == 0)
        assert bool(one["means"]) == (one["trials"]["complete"] > 0)
        for mean in one["means"].values():
            assert set(mean) == {"mean", "ci_low", "ci_high"}
            assert mean["ci_low"] <= mean["mean"] <= mean["ci_high"]


def test_means_are_those_of_the_trials(studies):
    for name in ("smoothing", "samples", "learning_rate"):
        verdict = studies.verdict(name)
        complete = verdict.results.complete
        for one in summary_of(verdict)["settings"]:
            [(column, value)] = one["setting"].items()
            own = complete[complete[column] == value]
            for metric, mean in one["means"].items():
                if metric != "grounding":
                    assert mean["mean"] == pytest.approx(own[metric].mean())


def test_identical_answers_differ_by_nothing(studies, tmp_path):
    from tune_distill.analysis.results import read_results
    from tune_distill.analysis.verdict import judge

    folder = studies.copy("smoothing", tmp_path)
    answers = pd.read_parquet(folder / "predictions.parquet")
    ids = answers["trial_id"].unique()
    first = answers[answers["trial_id"] == ids[0]]
    same = pd.concat([first.assign(trial_id=trial_id) for trial_id in ids])
    same.to_parquet(folder / "predictions.parquet")
    summary = summary_of(judge(read_results(folder)))
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary
    assert summary["outcome"] == "no difference detected"
    assert {one["difference"] for one in summary["comparisons"]} == {0}
    assert {one["p_value"] for one in summary["comparisons"]} == {1}
    assert not any(one["detectable"] for one in summary["comparisons"])
    assert summary["best"] == summary["recommended"] == summary["baseline"]


def test_scaling_is_of_data_size_alone(studies):
    law = summary_of(studies.verdict("data_size"))["scaling"]
    for key in re.findall(
        r"`(\w+)`", re.search(r"^\| `scaling`.*$", SECTION, re.MULTILINE).group()
    )[1:]:
        assert key in law or key == "_ci", key
    assert law["exponent_ci"][0] <= law["exponent"] <= law["exponent_ci"][1]
    low, high = law["gain_of_doubling_ci"]
    assert low <= law["gain_of_doubling"] <= high
    assert law["unit"] == 2000
    assert summary_of(studies.verdict("smoothing"))["scaling"] is None


def test_the_baseline_is_the_study_s_own_where_it_names_one(studies):
    assert summary_of(studies.verdict("own baseline"))["baseline"] == {"label_smoothing": 0.0}
    assert summary_of(studies.verdict("smoothing"))["baseline"] == {"label_smoothing": 0.1}


def test_nulls_stay_nulls(studies):
    summary = summary_of(studies.verdict("null"))
    assert summary["baseline"] == {"revision": None}
    assert {"revision": "v2"} in [one["setting"] for one in summary["comparisons"]]
