import pytest

from tests.spec.fakes import SMOOTHING, faults, make_study, study_faults
from tune_distill.records.schemas import TRIALS_AFTER_SETTING, TRIALS_BEFORE_SETTING
from tune_distill.spec.metrics import JUDGED
from tune_distill.spec.study import Study
from tune_distill.spec.varied import FIXED_COLUMNS

CASES = {
    "type": "cases",
    "cases": {
        "greedy": {"decode.strategy": "greedy"},
        "beam 2": {"decode.strategy": "beam", "decode.num_beams": 2},
    },
}
RANGE = {"type": "loguniform", "low": 0.1, "high": 10}


def test_a_study_needs_a_name_a_question_and_something_to_vary():
    study = make_study()
    assert (study.search.method, study.search.num_samples) == ("grid", None)
    assert (study.metric.name, study.metric.mode) == ("label_accuracy", "max")
    assert (study.scheduler, study.replicates) == (None, 1)
    assert faults(Study, {}) == [
        f"my.yaml: {name}: required, got nothing; add it" for name in ("name", "question", "vary")
    ]


@pytest.mark.parametrize("name", ["", ".hidden", "a/b", "a b", "-x", "a\n", "ä"])
def test_a_name_must_be_valid_as_a_folders_name(name):
    told = study_faults(name=name)
    assert told == [
        "my.yaml: name: must be 1 to 100 letters, digits, _ and -, the first a letter or digit, "
        f"got {name!r}"
    ]


def test_columns_are_named_after_fields_and_cases():
    study = make_study({"strategy": CASES, "student.source": ["a", "b"], "train.num_epochs": [1]})
    assert study.columns == {
        "strategy": "strategy",
        "student.source": "student",
        "train.num_epochs": "num_epochs",
    }
    assert study.varied_fields() == {
        "decode.strategy",
        "decode.num_beams",
        "student.source",
        "train.num_epochs",
    }


def test_misspelt_keys_and_fields_get_the_nearest_valid_one_all_at_once():
    told = study_faults(
        {"train.learing_rate": [1e-3], "temperature": [1.0]},
        repliactes=3,
        values=[1],
        search={"methd": "grid"},
        overrides={"decode.strateggy": "beam"},
        profile_overrides={"mini": {"data.numtrain": 3}},
    )
    assert sorted(told) == [
        "my.yaml: overrides.decode.strateggy: unknown field 'decode.strateggy'; "
        "did you mean 'decode.strategy'?",
        "my.yaml: profile_overrides.mini.data.numtrain: unknown field 'data.numtrain'; "
        "did you mean 'data.num_train'?",
        "my.yaml: repliactes: unknown key; did you mean 'replicates'?",
        "my.yaml: search.methd: unknown key; did you mean 'method'?",
        "my.yaml: values: unknown key; valid are name, question, vary, search, scheduler, metric, "
        "baseline, replicates, overrides, profile_overrides",
        "my.yaml: vary.temperature: unknown field 'temperature'; "
        "did you mean 'decode.temperature'?",
        "my.yaml: vary.train.learing_rate: unknown field 'train.learing_rate'; "
        "did you mean 'train.learning_rate'?",
    ]


def test_cases_set_fields_that_exist():
    raw = {"type": "cases", "cases": {"hot": {"decode.temprature": 2.0}, "x": {"beams": 2}}}
    told = study_faults({"how": raw})
    assert told[0] == (
        "my.yaml: vary.how.hot.decode.temprature: unknown field 'decode.temprature'; "
        "did you mean 'decode.temperature'?"
    )
    assert told[1].startswith("my.yaml: vary.how.x.beams: unknown field 'beams'; ")
    assert len(told) == 2


def test_the_name_of_cases_is_a_plain_word():
    assert study_faults({"decode.strategy": CASES}) == [
        "my.yaml: vary.decode.strategy: the name of cases must be a plain word of at most 200 "
        "letters, got 'decode.strategy'"
    ]


def test_the_name_of_cases_is_not_a_column_of_every_table():
    assert study_faults({"state": CASES}) == [
        "my.yaml: vary.state: the name of cases must not be a column that every table has, "
        "got 'state'; rename it"
    ]


def test_fixed_columns_are_those_of_the_trials_table():
    assert {c.name for c in (*TRIALS_BEFORE_SETTING, *TRIALS_AFTER_SETTING)} == FIXED_COLUMNS


def test_two_varied_names_share_no_column():
    raw = {"type": "cases", "cases": {"a": {"decode.top_k": 5}}}
    assert study_faults({"temperature": raw, "decode.temperature": [0.5, 1.0]}) == [
        "my.yaml: vary: two fields share the column 'temperature'; vary one of them"
    ]


def test_two_varied_names_set_no_common_field():
    assert study_faults({"how": CASES, "decode.num_beams": [2, 4]}) == [
        "my.yaml: vary: two names set the field 'decode.num_beams'; vary it once"
    ]


def test_a_grid_needs_listed_values():
    vary = {"train.learning_rate": RANGE, "train.num_epochs": {"type": "int", "low": 1, "high": 3}}
    assert study_faults(vary) == [
        "my.yaml: vary.train.learning_rate: a grid needs listed values, got loguniform; "
        "list them, or use search.method random or optuna"
    ]
    make_study(vary, search={"method": "random", "num_samples": 2})


def test_samples_belong_to_random_and_optuna():
    assert study_faults(search={"method": "grid", "num_samples": 5}) == [
        "my.yaml: search.num_samples: a grid tries every setting, got 5; "
        "remove it, or use method random"
    ]
    assert study_faults(search={"method": "optuna"}) == [
        "my.yaml: search.num_samples: method optuna needs it, got none; add one"
    ]
    assert study_faults(search={"method": "bayes"}) == [
        "my.yaml: search.method: must be 'grid', 'random' or 'optuna', got 'bayes'"
    ]


def test_a_scheduler_needs_a_metric_that_training_reports():
    assert study_faults(scheduler={"type": "asha"}) == [
        "my.yaml: metric.name: with a scheduler it must be eval_loss, which trials report while "
        "training, got label_accuracy; change it, or remove the scheduler"
    ]
    make_study(scheduler={"type": "asha"}, metric={"name": "eval_loss", "mode": "min"})


def test_both_faults_of_a_grid_with_a_range_and_a_scheduler_are_reported():
    told = study_faults({"train.learning_rate": RANGE}, scheduler={"type": "asha"})
    assert [line.split(":")[1].strip() for line in told] == [
        "vary.train.learning_rate",
        "metric.name",
    ]


def test_losses_are_minimised_and_scores_maximised():
    assert study_faults(metric={"name": "eval_loss", "mode": "max"}) == [
        "my.yaml: metric.mode: of eval_loss must be min, got max"
    ]
    assert study_faults(metric={"name": "rougeL", "mode": "min"}) == [
        "my.yaml: metric.mode: of rougeL must be max, got min"
    ]
    # The default mode is for scores, so a loss must state its mode.
    assert study_faults(metric={"name": "eval_loss"}) != []


def test_metrics_are_columns_of_the_trials_table():
    assert set(JUDGED) <= {c.name for c in TRIALS_AFTER_SETTING}


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({}, "scheduler.type: required, got nothing; add it"),
        ({"type": "median"}, "scheduler.type: must be 'asha', got 'median'"),
        (
            {"type": "asha", "grace_fraction": 1},
            "scheduler.grace_fraction: must be less than 1, got 1",
        ),
        (
            {"type": "asha", "reduction_factor": 1},
            "scheduler.reduction_factor: must be greater than or equal to 2, got 1",
        ),
    ],
)
def test_the_faults_of_an_invalid_scheduler(settings, told):
    metric = {"name": "eval_loss", "mode": "min"}
    assert study_faults(SMOOTHING, scheduler=settings, metric=metric) == [f"my.yaml: {told}"]


def test_nothing_varied_is_a_fault():
    assert study_faults({}) == ["my.yaml: vary: must not be empty, got {}"]
    assert study_faults(5) == ["my.yaml: vary: must be a mapping, got 5"]
    assert study_faults(replicates=0) == [
        "my.yaml: replicates: must be greater than or equal to 1, got 0"
    ]


VARIED = {
    "strategy": CASES,
    "train.num_epochs": {"type": "int", "low": 1, "high": 6, "step": 2},
    "train.label_smoothing": [0.0, 0.1],
    "train.learning_rate": {"type": "loguniform", "low": 1e-5, "high": 1e-2},
    "train.weight_decay": {"type": "uniform", "low": 0.5, "high": 2, "times_default": True},
}
RANDOM = {"method": "random", "num_samples": 2}


def test_a_baseline_names_some_of_what_varies():
    values = {
        "strategy": "beam 2",
        "train.num_epochs": 5,
        "train.label_smoothing": 0,
        "train.learning_rate": 1e-2,
    }
    assert make_study(VARIED, search=RANDOM, baseline=values).baseline == values
    assert make_study().baseline == {}


def test_every_fault_of_a_baseline_is_reported():
    told = study_faults(
        VARIED,
        search=RANDOM,
        baseline={
            "strategy": "beam 3",
            "train.num_epochs": 2,
            "train.label_smoothing": 0.2,
            "train.learning_rate": 1.0,
            # For factors, the range depends on the profile.
            "train.weight_decay": 5.0,
            "train.learing_rate": 1e-3,
            "train.batch_size": 4,
        },
    )
    remedy = "choose another, or widen vary"
    assert told == [
        "my.yaml: baseline.strategy: must be the name of a case, 'greedy' or 'beam 2', "
        f"got 'beam 3'; {remedy}",
        "my.yaml: baseline.train.num_epochs: must be a whole number from 1 to 6 in steps of 2, "
        f"got 2; {remedy}",
        f"my.yaml: baseline.train.label_smoothing: must be one of 0.0, 0.1, got 0.2; {remedy}",
        "my.yaml: baseline.train.learning_rate: must be a number from 1e-05 to 0.01, "
        f"got 1.0; {remedy}",
        "my.yaml: baseline.train.learing_rate: must be a name under vary, "
        "got 'train.learing_rate'; did you mean 'train.learning_rate'?",
        "my.yaml: baseline.train.batch_size: must be a name under vary, got 'train.batch_size'; "
        f"valid are {', '.join(VARIED)}",
    ]
