"""The study command as users run it: on real Ray, on real files, killed for real."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import optuna
import pandas as pd
import pytest
from optuna.storages.journal import JournalFileBackend
from rouge_score.rouge_scorer import RougeScorer

import tune_distill
from tests.guest import INLINE, SMALL
from tests.nli import NLI
from tests.records.made import LocalStore
from tests.tiny import mini_examples, write_csv
from tune_distill.cli.options import parse_arguments
from tune_distill.records.store import Store
from tune_distill.spec.plan import planned_trials
from tune_distill.spec.yaml_files import shipped_studies
from tune_distill.students.process import configure_torch
from tune_distill.study import main, resolve
from tune_distill.training.inputs import Inputs
from tune_distill.training.trial import run_trial

NOT_IN_A_RESULT = ["training_time_s", "decode_time_s", "examples_per_s", "reused"]


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "tune_distill.study", *arguments]


def run(*arguments: str, timeout: float = 300) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*arguments), capture_output=True, text=True, timeout=timeout)


def results_of(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.drop(columns=NOT_IN_A_RESULT)


def wait_until(condition: Callable[[], bool], timeout_s: float = 120) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "the state waited for did not come"
        time.sleep(0.05)


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
    def test_ends_in_code_2_with_one_message(
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

    def test_data_without_its_columns(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for split in ("train", "validation"):
            (tmp_path / f"{split}.csv").write_text("premise,label\na dog runs,0\n")
        arguments = ["smoothing", "--data", str(tmp_path), "--results", str(tmp_path / "results")]
        assert main(arguments) == 2
        assert "must have the columns Sentence1" in capsys.readouterr().err

    def test_an_empty_file(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        for split in ("train", "validation"):
            (tmp_path / f"{split}.csv").touch()
        arguments = ["smoothing", "--data", str(tmp_path), "--results", str(tmp_path / "results")]
        assert main(arguments) == 2
        assert "train.csv: must be a CSV file with a header" in capsys.readouterr().err

    def test_results_below_a_file_leave_nothing(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "file").touch()
        assert main(["smoothing", "--results", str(tmp_path / "file" / "results")]) == 2
        assert "must be writable" in capsys.readouterr().err
        assert [path.name for path in tmp_path.iterdir()] == ["file"]

    def test_a_process_shows_no_traceback(self, tmp_path: Path) -> None:
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
        # Its baseline is the run that smoothing makes at 0.1.
        assert counts["learning_rate"].startswith("learning_rate: 12 trials, 11 trainings")
        assert "  temperature=0.5,seed=0: to run" in lines
        assert lines[-1] == "34 trials, 22 trainings, 0 hits"
        assert not (tmp_path / "results").exists()

    def test_a_plan_is_json_for_programs_and_counts_for_the_quiet(
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
    def test_a_plan_says_how_trials_fit_and_when_they_never_can(self, tmp_path: Path) -> None:
        arguments = ["smoothing", "--results", str(tmp_path / "results"), "--dry-run"]
        fits = run(*arguments, "--max-concurrent", "1")
        assert fits.returncode == 0, fits.stderr
        assert "3 trainings, 0 hits; 1 at once, each with 1 CPU and " in fits.stdout
        never = run(*arguments, "--gpus-per-trial", "100")
        assert (never.returncode, never.stderr.count("\n")) == (2, 1)
        assert "got 1 CPU and 100 GPUs where the cluster has nodes with " in never.stderr
        assert not (tmp_path / "results").exists()

    def test_two_studies_of_one_name_would_share_a_folder(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["smoothing", "smoothing", "--results", str(tmp_path)]) == 2
        assert "got 'smoothing' twice" in capsys.readouterr().err


@pytest.mark.slow
class TestAll:
    """All six studies, small, on one Ray; then the same command again."""

    @pytest.fixture(scope="class")
    @classmethod
    def folder(cls, tmp_path_factory: pytest.TempPathFactory) -> Path:
        return tmp_path_factory.mktemp("all")

    @pytest.fixture(scope="class")
    @classmethod
    def first(cls, folder: Path) -> list[dict[str, object]]:
        ended = run("all", *SMALL, "--json", "--results", str(folder))
        assert ended.returncode == 0, ended.stderr
        return [json.loads(line) for line in ended.stdout.splitlines()]

    @pytest.fixture(scope="class")
    @classmethod
    def tables(cls, folder: Path, first: object) -> dict[str, pd.DataFrame]:
        names = sorted(path.parent.name for path in folder.glob("*/trials.parquet"))
        return {name: tune_distill.load(name, results=folder) for name in names}

    def test_rows(self, tables: dict[str, pd.DataFrame]) -> None:
        assert {name: len(frame) for name, frame in tables.items()} == {
            "smoothing": 3,
            "temperature": 4,
            "data_size": 3,
            "decoding": 6,
            "learning_rate": 12,
            "sequence_length": 6,
        }
        states = {state for frame in tables.values() for state in frame["state"]}
        assert states <= {"complete", "pruned"}

    def test_decode_studies_share_smoothings_run(self, tables: dict[str, pd.DataFrame]) -> None:
        smoothing = tables["smoothing"].set_index("label_smoothing")
        shared = {smoothing.loc[0.1, "run_key"]}
        assert set(tables["temperature"]["run_key"]) == shared
        assert set(tables["decoding"]["run_key"]) == shared
        assert tables["temperature"]["reused"].all()

    def test_fewer_trainings_than_trials(self, first: list[dict[str, object]]) -> None:
        last = first[-1]
        assert last["event"] == "end"
        assert last["complete"] + last["pruned"] == 34  # type: ignore[operator]
        # smoothing 3, data_size 2 (its whole pool is as small as the others here),
        # learning_rate 11, sequence_length 5: the rest decode only.
        assert last["trainings"] == 21
        assert last["reused"] == 13

    def test_a_search_has_its_baseline(self, folder: Path, tables: dict[str, pd.DataFrame]) -> None:
        frame = tables["learning_rate"].set_index("learning_rate")
        smoothing = tables["smoothing"].set_index("label_smoothing")
        assert frame.loc[2e-3, "state"] == "complete"
        assert frame.loc[2e-3, "evaluation_key"] == smoothing.loc[0.1, "evaluation_key"]
        # Optuna knows how it ended, though another study made it.
        (journal,) = (folder / ".store" / "searches").glob("*/optuna.journal")
        storage = optuna.storages.JournalStorage(JournalFileBackend(str(journal)))
        ended = optuna.load_study(study_name="tune_distill", storage=storage).trials
        assert ended[0].params == {"train.learning_rate": 2e-3}
        assert len(ended) == 12

    def test_predictions_give_the_metrics_again(
        self, folder: Path, tables: dict[str, pd.DataFrame]
    ) -> None:
        predictions = tune_distill.load("temperature", results=folder, table="predictions")
        examples = {example.example_id: example for example in mini_examples("validation", 1200)}
        scorer = RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=True)
        for _, trial in tables["temperature"].iterrows():
            rows = predictions[predictions["trial_id"] == trial["trial_id"]]
            assert len(rows) == 24 * 5
            asked = [examples[name] for name in rows["example_id"]]
            labels = [
                NLI.parse(text, example).label
                for text, example in zip(rows["prediction"], asked, strict=True)
            ]
            gold = [example.label for example in asked]
            hits = [label == answer for label, answer in zip(labels, gold, strict=True)]
            assert sum(hits) / len(hits) == pytest.approx(trial["label_accuracy"], abs=1e-12)
            for kind in ("rouge1", "rouge2", "rougeL"):
                scores = [
                    scorer.score_multi(examples[name].explanations, text)[kind].fmeasure
                    for name, text in zip(rows["example_id"], rows["explanation"], strict=True)
                ]
                assert sum(scores) / len(scores) == pytest.approx(trial[kind], abs=1e-12)
            tokens = rows["num_target_tokens"]
            loss = (rows["eval_loss"] * tokens).sum() / tokens.sum()
            assert loss == pytest.approx(trial["eval_loss"], rel=1e-12)

    def test_examples_are_those_that_were_answered(
        self, folder: Path, tables: dict[str, pd.DataFrame]
    ) -> None:
        known = {example.example_id: example for example in mini_examples("validation", 1200)}
        for name in tables:
            frame = tune_distill.load(name, results=folder, table="examples")
            answers = tune_distill.load(name, results=folder, table="predictions")
            assert frame["example_id"].is_unique
            assert set(frame["example_id"]) == set(answers["example_id"])
            for row in frame.itertuples():
                example = known[row.example_id]
                assert (row.premise, row.hypothesis) == example.inputs
                assert row.gold_label == example.label
                assert tuple(row.explanations) == example.explanations

    def test_history_covers_every_trial(
        self, folder: Path, tables: dict[str, pd.DataFrame]
    ) -> None:
        history = tune_distill.load("learning_rate", results=folder, table="history")
        steps = history.groupby("trial_id")["step"].max()
        trials = tables["learning_rate"].set_index("trial_id")
        assert steps.sort_index().tolist() == trials["num_steps"].sort_index().tolist()

    def test_study_yaml_and_environment(self, folder: Path, first: object) -> None:
        environment = json.loads((folder / "smoothing" / "environment.json").read_text())
        assert environment["packages"]["ray"]
        assert environment["nodes"][0]["CPU"] >= 1
        assert main([str(folder / "smoothing" / "study.yaml"), "--results", str(folder)]) == 0
        assert tune_distill.load("smoothing", results=folder)["reused"].all()

    def test_again_trains_nothing_and_gives_the_same_numbers(
        self, folder: Path, tables: dict[str, pd.DataFrame]
    ) -> None:
        ended = run("all", *SMALL, "--json", "--results", str(folder))
        assert ended.returncode == 0
        *verdicts, end = [json.loads(line) for line in ended.stdout.splitlines()]
        assert [(event["event"], event["study"]) for event in verdicts] == [
            ("verdict", name) for name in shipped_studies()
        ]
        assert end["trainings"] == 0
        assert end["reused"] == 34
        for name, before in tables.items():
            after = tune_distill.load(name, results=folder)
            pd.testing.assert_frame_equal(results_of(after), results_of(before), check_exact=True)

    def test_a_widened_search_keeps_its_trials(
        self, folder: Path, tables: dict[str, pd.DataFrame], tmp_path: Path
    ) -> None:
        wider = (Path("search_spaces") / "learning_rate.yaml").read_text()
        study = tmp_path / "wider.yaml"
        study.write_text(wider.replace("num_samples: 12", "num_samples: 14"))
        store = str(folder / ".store")
        arguments = [str(study), *INLINE, "--results", str(tmp_path), "--store", store, "--quiet"]
        assert main(arguments) == 0
        frame = tune_distill.load("learning_rate", results=tmp_path)
        assert len(frame) == 14
        kept = frame[frame["trial_id"].isin(tables["learning_rate"]["trial_id"])]
        assert len(kept) == 12
        assert kept["reused"].all()


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

    def test_a_trial_that_diverges_is_a_row_and_the_others_complete(
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

    def test_optuna_maximises_a_metric_that_comes_last(self, tmp_path: Path) -> None:
        study = tmp_path / "hot.yaml"
        study.write_text(
            "name: hot\nquestion: Which temperature?\n"
            "vary: {decode.temperature: {type: uniform, low: 0.5, high: 1.5}}\n"
            "overrides: {decode.strategy: sample}\n"
            "search: {method: optuna, num_samples: 3}\n"
        )
        arguments = [str(study), *SMALL, "--results", str(tmp_path), "--quiet"]
        assert main(arguments) == 0
        frame = tune_distill.load("hot", results=tmp_path)
        assert frame["state"].tolist() == ["complete"] * 3
        # The profile's own temperature is among the three: the others are compared with it.
        assert 1.0 in frame["temperature"].tolist()
        # One run, though two workers asked for it at once: trained by one, decoded by all.
        assert frame["run_key"].nunique() == 1
        assert sorted(frame["reused"]) == [False, True, True]

    def test_pruned_settings_prune_what_would_decode_them_otherwise(self, tmp_path: Path) -> None:
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
        # The worst rate is the baseline, which is not pruned, nor what decodes its student.
        assert frame["state"].tolist() == [
            *("complete", "complete"),
            *("pruned", "pruned"),
            *("complete", "complete"),
        ]

    def test_what_is_damaged_in_the_store_is_made_again(
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

    def test_gpus_that_no_node_has_are_refused(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        arguments = ["smoothing", *SMALL, "--results", str(tmp_path), "--gpus-per-trial", "4096"]
        assert main(arguments) == 2
        assert "a trial must fit on one node" in capsys.readouterr().err


# Some seconds of training, with a checkpoint at every eighth of its 120 steps.
LONGER = [
    f"--set={field}" for field in ("data.num_train=240", "train.num_epochs=4", "train.eval_steps=8")
]


@pytest.mark.slow
class TestKilled:
    """The command is killed in the middle; the same command again goes on."""

    @pytest.mark.proof
    def test_sigkill_then_the_same_command_ends_in_the_same_weights(self, tmp_path: Path) -> None:
        longer = [*SMALL, *LONGER]
        store = LocalStore(tmp_path / "killed" / ".store")
        arguments = ["smoothing", *longer, "--results", str(tmp_path / "killed")]
        process = subprocess.Popen(
            command(*arguments, "--max-concurrent", "1"),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        wait_until(lambda: len(_finished(store)) == 1 and len(_checkpoints(store)) == 1)
        process.kill()
        process.wait()
        finished = _finished(store)
        resumed_from = _checkpoints(store)[0].parent.name
        wait_until(lambda: not _written_lately(store.root))

        ended = run(*arguments, "--json")
        assert ended.returncode == 0, ended.stderr
        events = [json.loads(line) for line in ended.stdout.splitlines()]
        started = [event["run_key"] for event in events if event["event"] == "started"]
        assert not set(started) & finished
        (first,) = [
            event
            for event in events
            if event["event"] == "started" and event["run_key"] == resumed_from
        ]
        resumed = [
            event["resumed_step"]
            for event in events
            if event["event"] == "progressed" and event["trial_id"] == first["trial_id"]
        ]
        assert min(resumed) >= 8

        undisturbed = LocalStore(tmp_path / "undisturbed")
        inputs = Inputs()
        trials = planned_trials(resolve("smoothing", parse_arguments(arguments)), inputs)
        inputs.prepare([trial.profile for trial in trials], undisturbed)
        configure_torch(1)
        for trial in trials:
            list(run_trial(trial, inputs, undisturbed))
            ours, theirs = (
                (kept.student_dir(trial.run_key) / "model.safetensors").read_bytes()
                for kept in (store, undisturbed)
            )
            assert ours == theirs

    @pytest.mark.parametrize("num_complete", [pytest.param(0, marks=pytest.mark.proof), 1])
    def test_ctrl_c_keeps_what_is_complete(self, tmp_path: Path, num_complete: int) -> None:
        longer = [*SMALL, *LONGER]
        store = LocalStore(tmp_path / ".store")
        process = subprocess.Popen(
            # A second study, which must not start.
            command(
                *("smoothing", "sequence_length"),
                *(*longer, "--max-concurrent", "1", "--results", str(tmp_path)),
            ),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        wait_until(lambda: len(_finished(store)) == num_complete and bool(_checkpoints(store)))
        os.kill(process.pid, signal.SIGINT)
        output, errors = process.communicate(timeout=120)
        assert process.returncode == 1, errors
        assert "Traceback" not in errors
        frame = tune_distill.load("smoothing", results=tmp_path)
        states = list(frame["state"])
        assert (states.count("complete"), states.count("failed")) == (
            num_complete,
            3 - num_complete,
        )
        assert "interrupted; run the same command again" in output
        assert "sequence_length: not begun" in output
        assert not (tmp_path / "sequence_length").exists()


def _finished(store: Store) -> set[str]:
    return {path.parent.name for path in (store.root / "runs").glob("*/run.json")}


def _checkpoints(store: Store) -> list[Path]:
    return list((store.root / "runs").glob("*/checkpoint.safetensors"))


def _written_lately(root: Path) -> bool:
    """Whether a worker that has lost its driver is still at it: it ends within a second or two."""
    newest = max(path.stat().st_mtime for path in root.rglob("*"))
    return time.time() - newest < 3
