"""The study command on a user's own data and studies, with trials that fail or are pruned."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

import tune_distill
from tests.guest import INLINE, SMALL
from tests.records.made import LocalStore
from tests.study_process import results_of
from tests.tiny import mini_examples, write_csv
from tune_distill.study import main


@pytest.mark.slow
class TestOwnData:
    """Files in e-SNLI's columns, a T5 directory, and settings that fail."""

    @pytest.fixture(scope="class")
    @classmethod
    def data(cls, tmp_path_factory: pytest.TempPathFactory) -> Path:
        folder = tmp_path_factory.mktemp("data")
        write_csv(folder / "esnli_train_1.csv", mini_examples("train", 40))
        write_csv(folder / "esnli_train_2.csv", mini_examples("train", 80)[40:])
        write_csv(folder / "esnli_dev.csv", mini_examples("validation", 24))
        return folder

    def test_a_t5_directory_learns_from_csv(
        self, data: Path, tiny_student: Path, tmp_path: Path
    ) -> None:
        sources = ["--data", str(data), "--student", str(tiny_student)]
        assert main(["smoothing", *sources, *INLINE, "--results", str(tmp_path), "--quiet"]) == 0
        frame = tune_distill.load("smoothing", results=tmp_path)
        assert frame["state"].tolist() == ["complete"] * 3
        assert frame["num_train"].tolist() == [48] * 3

    def test_a_diverging_trial_is_a_row_and_the_others_complete(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        study = tmp_path / "rates.yaml"
        study.write_text(
            "name: rates\nquestion: Which rates diverge?\n"
            "vary: {train.learning_rate: [1e-3, 1e30]}\n"
        )
        assert main([str(study), *INLINE, "--results", str(tmp_path)]) == 1
        frame = tune_distill.load("rates", results=tmp_path).set_index("learning_rate")
        assert frame.loc[1e-3, "state"] == "complete"
        assert frame.loc[1e30, "state"] == "failed"
        assert "train.loss: must be finite, got nan at step" in frame.loc[1e30, "error"]
        assert "1 complete, 0 pruned, 1 failed" in capsys.readouterr().out

    def test_seeds_are_replicates_and_one_seed_is_kept(self, tmp_path: Path) -> None:
        arguments = ["smoothing", *INLINE, "--results", str(tmp_path), "--quiet"]
        assert main(arguments) == 0
        assert main([*arguments, "--seeds", "2"]) == 0
        frame = tune_distill.load("smoothing", results=tmp_path)
        assert frame["seed"].tolist() == [0, 1] * 3
        assert frame["reused"].tolist() == [True, False] * 3

    def test_no_reuse_makes_everything_again_with_the_same_numbers(self, tmp_path: Path) -> None:
        arguments = ["smoothing", *INLINE, "--results", str(tmp_path), "--quiet"]
        assert main(arguments) == 0
        before = tune_distill.load("smoothing", results=tmp_path)
        assert main([*arguments, "--no-reuse"]) == 0
        after = tune_distill.load("smoothing", results=tmp_path)
        assert not after["reused"].any()
        pd.testing.assert_frame_equal(results_of(after), results_of(before), check_exact=True)

    def test_optuna_maximises_a_metric_computed_at_the_end(self, tmp_path: Path) -> None:
        study = tmp_path / "hot.yaml"
        study.write_text(
            "name: hot\nquestion: Which temperature?\n"
            "vary: {decode.temperature: {type: uniform, low: 0.5, high: 1.5}}\n"
            "overrides: {decode.strategy: sample}\n"
            "search: {method: optuna, num_samples: 3}\n"
        )
        arguments = [str(study), *INLINE, "--results", str(tmp_path), "--quiet"]
        assert main(arguments) == 0
        frame = tune_distill.load("hot", results=tmp_path)
        assert frame["state"].tolist() == ["complete"] * 3
        # The profile's own temperature is among the three, because it is the baseline.
        assert 1.0 in frame["temperature"].tolist()
        # The first trial trains the run, and all decode it.
        assert frame["run_key"].nunique() == 1
        assert sorted(frame["reused"]) == [False, True, True]

    def test_settings_that_share_a_pruned_run_are_pruned_too(self, tmp_path: Path) -> None:
        study = tmp_path / "asha.yaml"
        study.write_text(
            "name: asha\nquestion: Which rate and temperature?\n"
            "vary: {train.learning_rate: [2e-3, 1e-6, 1e-7], decode.temperature: [0.5, 1.0]}\n"
            "baseline: {train.learning_rate: 1e-7}\n"
            "overrides: {decode.strategy: sample}\n"
            "scheduler: {type: asha, grace_fraction: 0.3, reduction_factor: 2}\n"
            "metric: {name: eval_loss, mode: min}\n"
        )
        arguments = [str(study), *INLINE, "--results", str(tmp_path), "--quiet"]
        first = main(arguments)
        frame = tune_distill.load("asha", results=tmp_path).set_index(
            ["learning_rate", "temperature"]
        )
        assert first == 0
        # The worst rate is the baseline, which is not pruned, and neither are its decodings.
        assert frame["state"].tolist() == [
            *("complete", "complete"),
            *("pruned", "pruned"),
            *("complete", "complete"),
        ]

    def test_damaged_entries_of_the_store_are_made_again(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        arguments = ["smoothing", *INLINE, "--results", str(tmp_path), "--quiet"]
        assert main(arguments) == 0
        before = tune_distill.load("smoothing", results=tmp_path)
        store = LocalStore(tmp_path / ".store")
        first, second, third = before["evaluation_key"]
        (store.evaluation_dir(first) / "predictions.parquet").write_bytes(b"PAR1")
        (store.evaluation_dir(second) / "evaluation.json").write_text("null")
        (store.run_dir(before["run_key"][2]) / "run.json").write_text("{")
        (store.student_dir(before["run_key"][1]) / "model.safetensors").write_bytes(b"cut")
        assert main(arguments) == 0
        after = tune_distill.load("smoothing", results=tmp_path)
        pd.testing.assert_frame_equal(results_of(after), results_of(before), check_exact=True)
        assert after["reused"].tolist() == [True, False, False]
        told = "\n".join(record.getMessage() for record in caplog.records)
        for key in (first, second, before["run_key"][2], before["run_key"][1]):
            assert key in told
        assert third in after["evaluation_key"].tolist()

    @pytest.mark.parametrize("flags", [["--dry-run"], pytest.param([], marks=pytest.mark.proof)])
    def test_gpus_that_no_node_has_are_refused(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: list[str]
    ) -> None:
        arguments = ["smoothing", *SMALL, *flags, "--results", str(tmp_path)]
        assert main([*arguments, "--gpus-per-trial", "4096"]) == 2
        refused = capsys.readouterr().err
        assert refused.count("\n") == 1
        assert "a trial must fit on one node" in refused
        assert "got 1 CPU and 4096 GPUs where the cluster has nodes with " in refused
