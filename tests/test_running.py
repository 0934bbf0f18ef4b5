"""Studies run from Python, twice in one process."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub import constants

import tune_distill
from tune_distill.analysis.tables import load
from tune_distill.running import ExecutorName
from tune_distill.spec.errors import StoreError, StudentError, StudyFileError
from tune_distill.tuning.inline_executor import InlineExecutor

SMALL = {
    "data.num_train": 64,
    "data.num_validation": 16,
    "train.num_epochs": 1,
    "train.eval_steps": 4,
    "decode.max_new_tokens": 4,
}


def test_dir_lists_the_public_names() -> None:
    assert dir(tune_distill) == ["__version__", "load", "load_all", "run", "verdict"]
    assert all(hasattr(tune_distill, name) for name in dir(tune_distill))


def test_a_study_is_run_and_judged(tmp_path: Path) -> None:
    events: list[Any] = []
    found = tune_distill.run(
        "smoothing", set=SMALL, results=tmp_path, executor="inline", on_event=events.append
    )
    assert list(found) == ["smoothing"]
    results = found["smoothing"]
    assert list(results.trials["state"]) == ["complete"] * 3
    assert results.trials.equals(load("smoothing", results=tmp_path))
    assert results.verdict == tune_distill.verdict("smoothing", results=tmp_path)
    assert (tmp_path / "report.html").is_file()
    assert [event["event"] for event in events].count("ended") == 3
    again = tune_distill.run("smoothing", set=SMALL, results=tmp_path, executor="inline")
    assert list(again["smoothing"].trials["reused"]) == [True] * 3


def test_a_failing_hub_does_not_affect_the_next_study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []

    def unreachable(*arguments: Any, **options: Any) -> Any:
        asked.append(constants.HF_HUB_OFFLINE)
        raise ConnectionError("Name or service not known")

    monkeypatch.setenv("HF_HOME", str(tmp_path / "empty"))
    monkeypatch.setattr(huggingface_hub.HfApi, "repo_info", unreachable)
    first = tune_distill.run("smoothing", set=SMALL, results=tmp_path, executor="inline")
    for _ in range(2):
        with pytest.raises(StudentError, match="google/flan-t5-small"):
            tune_distill.run(
                "smoothing",
                set={**SMALL, "student.source": "google/flan-t5-small"},
                results=tmp_path,
                executor="inline",
            )
    # The second call asks the hub again, because the process is not marked as offline.
    assert asked.count(False) == 2
    second = tune_distill.run("smoothing", set=SMALL, results=tmp_path, executor="inline")
    assert first["smoothing"].verdict == second["smoothing"].verdict


@pytest.mark.parametrize(
    ("studies", "options", "message"),
    [
        (["smothing"], {}, "smothing"),
        (["smoothing"], {"set": {"train.learing_rate": 1e-3}}, "train.learning_rate"),
        (["smoothing"], {"executor": "threads"}, "executor: must be ray or inline, got 'threads'"),
        (["smoothing", "smoothing"], {}, "got 'smoothing' twice"),
        (["smoothing"], {"seeds": -1}, "seeds: must be a whole number from 1 to 1000, got -1"),
        (["smoothing"], {"seeds": True}, "seeds: must be a whole number from 1 to 1000, got True"),
        (["smoothing"], {"store": Path("s3://b/x")}, "store: must be text if it is a URI, got "),
        ([], {}, "studies: must name a study, 'all' or a study file, got none"),
    ],
)
def test_invalid_arguments_are_refused_before_anything_runs(
    tmp_path: Path, studies: list[str], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(StudyFileError) as caught:
        tune_distill.run(*studies, results=tmp_path / "results", **options)
    assert message in str(caught.value)
    assert not (tmp_path / "results").exists()


def test_a_place_without_a_name_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StoreError, match="--results: must name a folder or a URI, got ''"):
        tune_distill.run("smoothing", results="")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("which", [1, 3])
def test_a_callback_that_raises_is_not_called_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, which: int
) -> None:
    heard: list[str] = []

    def raising(event: Any) -> None:
        heard.append(event["event"])
        if heard.count("ended") == which:
            raise ValueError("boom")

    found = tune_distill.run(
        "smoothing", set=SMALL, results=tmp_path, executor="inline", on_event=raising
    )
    assert list(found["smoothing"].trials["state"]) == ["complete"] * 3
    assert heard.count("ended") == which
    assert heard[-1] == "ended"
    assert "on_event is not called any more: ValueError: boom" in caplog.text


def run_interrupted(results: Path, executor: ExecutorName, which: int) -> None:
    """Run a study with Ctrl-C after so many trials have ended."""
    heard: list[str] = []

    def interrupting(event: Any) -> None:
        heard.append(event["event"])
        if heard.count("ended") == which:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        tune_distill.run(
            "smoothing", set=SMALL, results=results, executor=executor, on_event=interrupting
        )
    states = list(load("smoothing", results=results)["state"])
    assert states.count("complete") == which
    assert (results / "report.html").is_file()


# With all three ended, a caller's loop over studies has to stop all the same.
@pytest.mark.parametrize("which", [1, 3])
def test_ctrl_c_is_raised_after_the_tables_are_written(tmp_path: Path, which: int) -> None:
    run_interrupted(tmp_path, "inline", which)


def test_a_callers_executor_stays_open_and_one_that_was_made_here_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[InlineExecutor] = []
    monkeypatch.setattr(InlineExecutor, "close", lambda self: closed.append(self))
    own = InlineExecutor()
    for _ in range(2):
        tune_distill.run("smoothing", set=SMALL, results=tmp_path, executor=own)
    assert closed == []
    tune_distill.run("smoothing", set=SMALL, results=tmp_path, executor="inline")
    assert len(closed) == 1


@pytest.mark.slow
def test_ray_runs_the_same_study_and_is_shut_down_after_ctrl_c(tmp_path: Path) -> None:
    import ray

    run_interrupted(tmp_path / "ray", "ray", 3)
    assert not ray.is_initialized()
    tune_distill.run("smoothing", set=SMALL, results=tmp_path / "inline", executor="inline")
    one, other = (
        tune_distill.verdict("smoothing", results=tmp_path / e) for e in ("ray", "inline")
    )
    assert one["comparisons"] == other["comparisons"]
