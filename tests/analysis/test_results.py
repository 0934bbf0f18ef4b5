import shutil

import pandas as pd
import pytest

from tests.analysis.planted import Plant, plant, planted_settings
from tests.records.made import study_of
from tune_distill.analysis.remarks import notes
from tune_distill.analysis.results import (
    read_results,
    setting_name,
    setting_phrase,
    short_name,
)
from tune_distill.analysis.tables import load
from tune_distill.analysis.verdict import judge
from tune_distill.spec.errors import StoreError, StudyFileError

ALL_FAILED = {(1, seed): "failed" for seed in range(3)}


def read(tmp_path, what):
    return read_results(plant(tmp_path, what))


def test_settings_are_in_the_tables_order(tmp_path):
    what = Plant(study="sequence_length", accuracy=(0.7,) * 6, num_seeds=2, num_examples=20)
    results = read(tmp_path, what)
    assert results.settings == planted_settings(what)
    assert results.columns == ["max_source_length", "max_target_length"]
    assert results.trials["setting"].tolist() == [n for n in range(6) for _ in range(2)]
    assert results.settings[results.baseline] == {"max_source_length": 128, "max_target_length": 64}
    assert results.baseline_note == ""
    assert results.text(0).count("16") == 2
    assert results.name == "sequence_length"


def test_trials_are_found_by_setting_and_seed(tmp_path):
    results = read(tmp_path, Plant(num_examples=20, states={(0, 1): "failed", (2, 0): "pruned"}))
    assert len(results.trials) == 9
    assert len(results.complete) == 7
    assert results.measured() == [0, 1, 2]
    assert results.trials_of(0).keys() == {0, 2}
    for setting in results.measured():
        for seed, row in results.trials_of(setting).items():
            assert results.scores.trial_ids[row] == results.complete["trial_id"][row]
            assert results.complete["trial_id"][row].endswith(f"seed={seed}")
            assert results.complete["setting"][row] == setting


def test_history_says_whose_it_is(tmp_path):
    results = read(tmp_path, Plant(num_examples=20, states={(2, 0): "pruned"}))
    pruned = results.history[results.history["state"] == "pruned"]
    assert set(pruned["setting"]) == {2}
    assert set(pruned["seed"]) == {0}
    assert len(results.history) == 8 * 6 + 2


def test_what_cases_do_is_a_setting_of_words(tmp_path):
    results = read(tmp_path, Plant(study="decoding", accuracy=(0.7,) * 6, num_examples=20))
    assert results.settings[results.baseline] == {"strategy": "greedy"}
    assert results.text(results.baseline) == "greedy"


def test_null_is_a_value(tmp_path):
    study = study_of({"student.revision": ["first", None, "second"]})
    results = read(tmp_path, Plant(study=study, num_examples=20))
    assert [setting["revision"] for setting in results.settings] == ["first", None, "second"]
    assert results.settings[results.baseline] == {"revision": None}


@pytest.mark.parametrize("copied", [False, True])
def test_a_folder_may_have_another_name(tmp_path, copied):
    folder = plant(tmp_path, Plant(num_examples=20))
    other = tmp_path / "elsewhere" / "smoothing before"
    other.parent.mkdir()
    (shutil.copytree if copied else shutil.move)(folder, other)
    results = read_results(other)
    assert results.name == "smoothing"
    assert results.settings[results.baseline] == {"label_smoothing": 0.1}
    assert len(results.scores.trial_ids) == 9
    assert len(results.history) == 54


def test_the_baseline_that_the_study_names(tmp_path):
    study = study_of({"train.label_smoothing": [0.0, 0.1]}, baseline={"train.label_smoothing": 0.0})
    results = read(tmp_path, Plant(study=study, num_examples=20))
    assert results.settings[results.baseline] == {"label_smoothing": 0.0}


def test_the_nearest_stands_in_for_a_baseline_that_failed(tmp_path):
    study = study_of({"train.learning_rate": [1e-4, 2e-3, 6e-3]})
    results = read(tmp_path, Plant(study=study, num_examples=20, states=ALL_FAILED))
    assert results.settings[results.baseline] == {"learning_rate": 6e-3}
    assert results.baseline_note == (
        "The baseline 0.002 has no complete trial; 0.006 stands in for it."
    )


def test_zero_stands_in_for_nothing(tmp_path):
    states = {(setting, seed): "failed" for setting in (1, 2) for seed in range(3)}
    results = read(tmp_path, Plant(num_examples=20, states=states))
    assert results.settings[results.baseline] == {"label_smoothing": 0.0}
    assert "0 stands in for it" in results.baseline_note


def test_a_setting_stands_in_where_the_profiles_own_is_not_in_the_study(tmp_path):
    study = study_of({"train.label_smoothing": [0.05, 0.3]})
    results = read(tmp_path, Plant(study=study, num_examples=20))
    assert results.settings[results.baseline] == {"label_smoothing": 0.05}
    assert results.baseline_note == (
        "The profile's own setting is not in the study; 0.05 stands in for it."
    )


@pytest.mark.parametrize("study", ["decoding", "sequence_length"])
def test_the_first_measured_stands_in_where_nothing_is_near(tmp_path, study):
    what = Plant(study=study, accuracy=(0.7,) * 6, num_seeds=1, num_examples=20)
    chosen = read(tmp_path / "whole", what).baseline
    states = {(chosen, 0): "failed", (0, 0): "pruned"}
    results = read(tmp_path / "part", Plant(**{**vars(what), "states": states}))
    assert results.baseline == results.measured()[0]
    assert "has no complete trial" in results.baseline_note


def test_nothing_is_the_baseline_where_nothing_is_complete(tmp_path):
    states = {(setting, seed): "pruned" for setting in range(3) for seed in range(3)}
    results = read(tmp_path, Plant(num_examples=20, states=states))
    assert results.baseline is None
    assert results.baseline_note == ""
    assert results.measured() == []
    assert results.scores.trial_ids == []


def test_a_setting_of_several_values_says_which_is_which():
    values = {"max_source_length": 32, "max_target_length": 16}
    assert setting_name(values) == "max source length 32, max target length 16"
    assert short_name(values) == "32, 16"
    assert setting_name({"label_smoothing": 0.1}) == "0.1"
    assert setting_phrase({"label_smoothing": 0.1}) == "label smoothing 0.1"


@pytest.mark.parametrize("file", ["study.yaml", "trials.parquet"])
def test_a_missing_file_is_an_error(tmp_path, file):
    folder = plant(tmp_path, Plant(num_examples=20))
    (folder / file).unlink()
    with pytest.raises(StoreError, match=file):
        read_results(folder)


def test_a_missing_study_file_says_what_to_do(tmp_path):
    folder = plant(tmp_path, Plant(num_examples=20))
    (folder / "study.yaml").unlink()
    with pytest.raises(StoreError, match=r"must hold study\.yaml .* copy the whole folder"):
        read_results(folder)


def test_a_table_of_another_study_is_an_error(tmp_path):
    folder = plant(tmp_path, Plant(num_examples=20))
    path = folder / "trials.parquet"
    pd.read_parquet(path).drop(columns="label_smoothing").to_parquet(path)
    with pytest.raises(StoreError, match="got no column label_smoothing"):
        read_results(folder)


def test_tables_of_earlier_versions_are_read(tmp_path):
    folder = plant(tmp_path, Plant(num_examples=20))
    path = folder / "trials.parquet"
    later = ["num_retries", "device", "instruction_set", "precision"]
    pd.read_parquet(path).drop(columns=later).to_parquet(path)
    results = read_results(folder)
    assert len(results.trials) == len(load(folder.name, results=tmp_path)) == 9
    assert notes(judge(results)) == []


def test_a_study_file_with_a_fault_says_which(tmp_path):
    folder = plant(tmp_path, Plant(num_examples=20))
    path = folder / "study.yaml"
    text = path.read_text()
    path.write_text(text.replace("train.batch_size: 8", "train.batch_size: -8"))
    assert path.read_text() != text
    with pytest.raises(StudyFileError, match=r"study\.yaml: overrides.*batch_size"):
        read_results(folder)
