"""BERTScore's encoder is identified by its files' content, wherever they are, and read once."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path

import pytest
from transformers import AutoModel

from tests.tiny import trial_of
from tests.training.test_bertscore import EXPLANATIONS, REFERENCES, save_tiny_bert
from tune_distill.spec.errors import MetricError
from tune_distill.spec.profile import Metrics, Profile
from tune_distill.training.bertscore import bertscore
from tune_distill.training.encoders import read_encoder
from tune_distill.training.inputs import Inputs


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(save_tiny_bert(tmp_path / "bert"))


def key_with(encoder: str) -> str:
    """Return the evaluation key of a trial that is scored with this encoder."""
    raw = {"student": {"source": "mini"}, "data": {"source": "mini-nli", "num_train": 20}}
    profile = Profile.model_validate({**raw, "metrics": {"bertscore_model": encoder}})
    return trial_of(profile, Inputs()).evaluation_key


def change_weights(folder: Path) -> None:
    model = AutoModel.from_pretrained(folder)
    for parameter in model.parameters():
        parameter.data.mul_(1.5)
    model.save_pretrained(folder)


def test_other_weights_at_the_same_path_are_another_evaluation(folder: Path) -> None:
    before = key_with(str(folder))
    change_weights(folder)
    assert key_with(str(folder)) != before


def test_the_same_encoder_elsewhere_is_a_hit(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(folder, tmp_path / "copy")
    (tmp_path / "copy" / "README.md").write_text("What is not loaded does not count.")
    cached = Path(shutil.copytree(folder, tmp_path / "hub" / "0123"))
    monkeypatch.setattr(
        "tune_distill.training.encoders.snapshot_download", lambda *_, **__: str(cached)
    )
    monkeypatch.chdir(tmp_path)
    names = (str(folder), "bert", "./bert", str(tmp_path / "copy"), "someone/bert")
    assert len({key_with(name) for name in names}) == 1


def test_workers_score_with_the_bytes_that_were_digested(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = bertscore(EXPLANATIONS, REFERENCES, read_encoder(str(folder)))
    monkeypatch.chdir(tmp_path)
    inputs, metrics = Inputs(), Metrics(bertscore_model="bert")
    digest = inputs.encoder_identity(metrics)
    # A worker runs in another folder, on a machine that may lack these files.
    worker = pickle.loads(pickle.dumps(inputs.for_workers()))
    change_weights(folder)
    monkeypatch.chdir("/")
    assert worker.encoder_identity(metrics) == digest
    encoder = worker.encoder(metrics)
    assert encoder is not None
    assert bertscore(EXPLANATIONS, REFERENCES, encoder) == expected


def test_weights_travel_outside_of_the_pickle(folder: Path) -> None:
    """Inside the pickle, each worker of a node would hold its own copy."""
    buffers: list[pickle.PickleBuffer] = []
    encoder = read_encoder(str(folder))
    pickled = pickle.dumps(encoder, protocol=5, buffer_callback=buffers.append)
    assert len(pickled) < 4_000 < (folder / "model.safetensors").stat().st_size
    assert len(buffers) == len(encoder.contents)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda folder: (folder / "model.safetensors").unlink(), "no model"),
        (lambda folder: (folder / "added_tokens.json").symlink_to("/nowhere"), "leads nowhere"),
        (shutil.rmtree, "no such folder"),
    ],
)
def test_what_is_no_encoder_is_refused_with_the_reason(folder, spoil, reason):  # type: ignore[no-untyped-def]
    spoil(folder)
    with pytest.raises(MetricError, match=rf"^metrics\.bertscore_model: must be .*{reason}"):
        read_encoder(str(folder))


def test_a_hub_that_has_none_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> str:
        raise OSError("no route\nto the hub")

    monkeypatch.setattr("tune_distill.training.encoders.snapshot_download", fail)
    with pytest.raises(MetricError, match=r"'someone/bert' \(OSError: no route to the hub\)"):
        read_encoder("someone/bert")
