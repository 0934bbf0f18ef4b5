"""A whole study with results and store in an object store."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
from safetensors import safe_open

from tests.object_store import object_store
from tune_distill.records.mirror import mirrored
from tune_distill.records.objects import ObjectStore
from tune_distill.study import main

pytestmark = pytest.mark.proof

RESULTS = "s3://studies/results"
STUDY = [
    *("smoothing", "--results", RESULTS, "--json"),
    *("--set", "data.num_train=64", "--set", "train.num_epochs=1"),
]


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[ObjectStore]:
    with object_store() as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        yield ObjectStore.open(RESULTS, "--results")


def test_a_study_is_stored_in_and_resumed_from_an_object_store(
    place: ObjectStore,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(STUDY) == 0
    trials = pd.read_parquet(io.BytesIO(place.read("smoothing/trials.parquet")))
    assert trials["state"].tolist() == ["complete"] * 3
    for key in trials["run_key"]:
        folder = f".store/runs/{key}"
        identity, record, student = place.names(folder)
        assert (identity, record) == ("identity.json", "run.json")
        with (
            place.reading(f"{folder}/{student}/model.safetensors") as path,
            safe_open(path, framework="np") as weights,
        ):
            assert len(weights.keys()) > 10
    assert b"smoothing" in place.read("report.html")

    # A command that finds all results there trains nothing, and other studies stay in the report.
    capsys.readouterr()
    assert main(STUDY) == 0
    end = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (end["complete"], end["reused"]) == (3, 3)
    with mirrored(place) as mirror:
        mirror.fetch()
        again = pd.read_parquet(mirror.folder / "smoothing" / "trials.parquet")
        assert not (mirror.folder / ".store").exists()
    changing = ["reused", "num_retries"]
    assert again.drop(columns=changing).equals(trials.drop(columns=changing))
    # No file is left on this machine.
    assert list(tmp_path.iterdir()) == []
