"""All shipped studies with the study command, on one real Ray."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import optuna
import pandas as pd
import pytest
from optuna.storages.journal import JournalFileBackend
from rouge_score.rouge_scorer import RougeScorer

import tune_distill
from tests.guest import INLINE, SMALL
from tests.nli import NLI
from tests.study_process import results_of, run
from tests.tiny import mini_examples
from tune_distill.spec.yaml_files import shipped_studies
from tune_distill.study import main


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

    def test_tables_have_a_row_for_each_trial(self, tables: dict[str, pd.DataFrame]) -> None:
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
        # smoothing 3, data_size 2 (its whole pool is as small as the other studies' here),
        # learning_rate 11, sequence_length 5: the other trials only decode.
        assert last["trainings"] == 21
        assert last["reused"] == 13

    def test_a_search_has_its_baseline(self, folder: Path, tables: dict[str, pd.DataFrame]) -> None:
        frame = tables["learning_rate"].set_index("learning_rate")
        smoothing = tables["smoothing"].set_index("label_smoothing")
        assert frame.loc[2e-3, "state"] == "complete"
        assert frame.loc[2e-3, "evaluation_key"] == smoothing.loc[0.1, "evaluation_key"]
        # Optuna knows the baseline's result, although another study trained it.
        (journal,) = (folder / ".store" / "searches").glob("*/optuna.journal")
        storage = optuna.storages.JournalStorage(JournalFileBackend(str(journal)))
        ended = optuna.load_study(study_name="tune_distill", storage=storage).trials
        assert ended[0].params == {"train.learning_rate": 2e-3}
        assert len(ended) == 12

    def test_metrics_follow_from_the_predictions(
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

    def test_the_same_command_again_trains_nothing_and_gives_the_same_numbers(
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

    def test_this_process_gives_the_tables_that_ray_gives(
        self, tables: dict[str, pd.DataFrame], tmp_path: Path
    ) -> None:
        names = ["smoothing", "decoding", "sequence_length"]
        program = (
            "import sys; from tune_distill.study import main; code = main(); "
            "assert 'ray' not in sys.modules; sys.exit(code)"
        )
        arguments = [*names, *INLINE, "--results", str(tmp_path), "--quiet"]
        subprocess.run([sys.executable, "-c", program, *arguments], check=True, timeout=300)
        for name in names:
            ours = results_of(tune_distill.load(name, results=tmp_path))
            pd.testing.assert_frame_equal(ours, results_of(tables[name]), check_exact=True)

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
