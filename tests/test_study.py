"""The study command: errors of usage, and previews."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.study_process import run
from tune_distill.study import main


class TestUsage:
    """Exit code 2, one message, no traceback."""

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["smoothin"], "smoothin: no such study; did you mean 'smoothing'?"),
            (["./no.yaml"], "./no.yaml: no such study file"),
            (
                ["smoothing", "--set", "train.learing_rate=1"],
                "--set: unknown field 'train.learing_rate'; did you mean 'train.learning_rate'?",
            ),
            (
                ["smoothing", "--set", "train.batch_size=big"],
                "--set: train.batch_size: must be a valid integer, got 'big'",
            ),
            (
                ["smoothing", "--set", "train.learning_rate=-1"],
                "--set: train.learning_rate: must be greater than 0, got -1",
            ),
            (
                ["smoothing", "--set", "data.num_train=9999"],
                "data.num_train: mini-nli has 4200 train examples, got 9999; "
                "lower it with --set data.num_train=4200",
            ),
            (["smoothing", "--data", "./none"], "data.source: no such directory, got ./none"),
            (["smoothing", "--student", "./none"], "student.source: must be a directory"),
            (["smoothing", "--store", "none://bucket/x"], "--store: must be"),
            (
                ["smoothing", "--address", "127.0.0.1:1"],
                "--address: a Ray cluster must answer at 127.0.0.1:1",
            ),
        ],
    )
    def test_invalid_usage_is_one_message(
        self,
        arguments: list[str],
        message: str,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        assert main([*arguments, "--results", str(tmp_path / "results")]) == 2
        errors = capsys.readouterr().err
        assert errors.startswith(f"error: {message}")
        assert errors.count("\n") == 1

    def test_data_without_the_columns_are_refused(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for split in ("train", "validation"):
            (tmp_path / f"{split}.csv").write_text("premise,label\na dog runs,0\n")
        arguments = ["smoothing", "--data", str(tmp_path), "--results", str(tmp_path / "results")]
        assert main(arguments) == 2
        assert "must have the columns Sentence1" in capsys.readouterr().err

    def test_an_empty_file_is_refused(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for split in ("train", "validation"):
            (tmp_path / f"{split}.csv").touch()
        arguments = ["smoothing", "--data", str(tmp_path), "--results", str(tmp_path / "results")]
        assert main(arguments) == 2
        assert "train.csv: must be a CSV file with a header" in capsys.readouterr().err

    def test_results_below_a_file_are_refused(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "file").touch()
        assert main(["smoothing", "--results", str(tmp_path / "file" / "results")]) == 2
        assert "must be writable" in capsys.readouterr().err
        assert [path.name for path in tmp_path.iterdir()] == ["file"]

    def test_the_process_prints_no_traceback(self, tmp_path: Path) -> None:
        ended = run("smoothin", "--results", str(tmp_path))
        assert ended.returncode == 2
        assert ended.stdout == ""
        assert ended.stderr == "error: smoothin: no such study; did you mean 'smoothing'?\n"


class TestPreview:
    def test_dry_run_names_trials_trainings_and_time(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["all", "--dry-run", "--results", str(tmp_path / "results")]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert lines[0].startswith("profile mini: student mini, data mini-nli")
        counts = {line.split(":")[0]: line for line in lines if " trainings" in line}
        assert counts["smoothing"].startswith("smoothing: 3 trials, 3 trainings, 0 hits; about ")
        assert counts["temperature"].startswith("temperature: 4 trials, 0 trainings")
        assert counts["decoding"].startswith("decoding: 6 trials, 0 trainings")
        # The search's baseline is the run that smoothing trains at 0.1.
        assert counts["learning_rate"].startswith("learning_rate: 12 trials, 11 trainings")
        assert "  temperature=0.5,seed=0: to run" in lines
        assert lines[-1] == "34 trials, 22 trainings, 0 hits"
        assert not (tmp_path / "results").exists()

    def test_a_plan_is_shown_as_json_and_as_counts(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        arguments = ["smoothing", "--results", str(tmp_path), "--dry-run"]
        assert main([*arguments, "--json"]) == 0
        (plan,) = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert (plan["event"], plan["study"], plan["trainings"]) == ("plan", "smoothing", 3)
        assert main([*arguments, "--quiet"]) == 0
        assert capsys.readouterr().out == "3 trials, 3 trainings, 0 hits\n"
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.slow
    def test_a_plan_shows_resources(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        arguments = ["smoothing", "--results", str(tmp_path / "results"), "--dry-run"]
        assert main([*arguments, "--max-concurrent", "1"]) == 0
        fits = capsys.readouterr().out
        assert "3 trainings, 0 hits; 1 at once, each with 1 CPU and " in fits
        assert not (tmp_path / "results").exists()

    def test_two_studies_of_one_name_are_refused(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["smoothing", "smoothing", "--results", str(tmp_path)]) == 2
        assert "got 'smoothing' twice" in capsys.readouterr().err
