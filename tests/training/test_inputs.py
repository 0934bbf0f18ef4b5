"""Inputs are made once, kept by content, and made again if the store has lost them."""

from __future__ import annotations

import logging
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from tests.records.made import LocalStore
from tests.tiny import mini_examples, write_csv
from tune_distill.records.examples import Example
from tune_distill.records.store import Store
from tune_distill.spec.errors import DataError
from tune_distill.spec.keys import SIMULATOR_VERSION
from tune_distill.spec.profile import Data, Profile, Task
from tune_distill.students.mini_tokenizer import mini_tokenizer
from tune_distill.tasks.simulator_fit import fit_simulator
from tune_distill.training import inputs as inputs_module
from tune_distill.training.inputs import Inputs

TASK = Task()


@pytest.fixture
def source(tmp_path: Path, examples: list[Example]) -> str:
    """Return a folder of forty training and twelve validation examples."""
    write_csv(tmp_path / "data" / "train.csv", examples)
    write_csv(tmp_path / "data" / "validation.csv", mini_examples("validation", 12))
    return str(tmp_path / "data")


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


def profile(source: str, student: str = "mini", **data: Any) -> Profile:
    return Profile.model_validate(
        {"student": {"source": student}, "data": {"source": source} | data}
    )


class Counter:
    """A function that counts its calls."""

    def __init__(self, function: Any) -> None:
        self.function, self.calls = function, 0

    def __call__(self, *arguments: Any) -> Any:
        self.calls += 1
        return self.function(*arguments)


def count(monkeypatch: pytest.MonkeyPatch, name: str) -> Counter:
    counter = Counter(getattr(inputs_module, name))
    monkeypatch.setattr(inputs_module, name, counter)
    return counter


def simulator_path(store: Store, inputs: Inputs, data: Data) -> Path:
    digest = inputs.data_identity(TASK, data).pool_digest
    return store.simulator_path(f"{digest}-v{SIMULATOR_VERSION}")


def test_settings_of_one_study_share_what_they_can(
    source: str, store: Store, tiny_t5: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, fit = count(monkeypatch, "read_source"), count(monkeypatch, "fit_simulator_apart")
    tokenize = count(monkeypatch, "_tokenized")
    inputs = Inputs()
    fractions = [profile(source, num_train=30, train_fraction=share) for share in (0.1, 0.5, 1.0)]
    fewer = profile(source, num_train=20, num_validation=5)
    other_student = profile(source, str(tiny_t5), num_train=30)
    inputs.prepare([*fractions, fewer, other_student], store)
    assert read.calls == 1
    assert fit.calls == 2  # for the pools of 30 and of 20
    assert tokenize.calls == 4  # two students, two splits
    for one in (*fractions, fewer, other_student):
        tokens = inputs.tokens[one.student, TASK, source]
        assert len(tokens.train.sources) == len(tokens.train.targets) == 30
        assert len(tokens.validation.sources) == 12
        assert inputs.data_identity(TASK, one.data).pool_digest in inputs.simulators


def test_tokens_follow_the_sampling_order(source: str, store: Store) -> None:
    inputs, one = Inputs(), profile(source)
    inputs.prepare([one], store)
    tokens, corpus = inputs.tokens[one.student, TASK, source], inputs.corpora[TASK, source]
    tokenizer = mini_tokenizer()
    for rows, examples in ((tokens.train, corpus.train), (tokens.validation, corpus.validation)):
        decoded = [tokenizer.decode(row[:-1]) for row in rows.targets.rows(len(examples), 1000)]
        assert decoded == [f"{e.label} explanation: {e.explanations[0]}" for e in examples]


def test_a_simulator_is_read_back_from_the_store(
    source: str, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, one = Inputs(), profile(source, num_train=30)
    first.prepare([one], store)
    pool = first.corpora[TASK, source].train[:30]
    expected = fit_simulator([e.explanations[0] for e in pool], [e.label for e in pool])
    path = simulator_path(store, first, one.data)
    assert path.read_bytes() == expected.to_bytes(path.stem)
    fit = count(monkeypatch, "fit_simulator_apart")
    second = Inputs()
    second.prepare([one], store)
    assert fit.calls == 0
    assert [s.to_bytes(path.stem) for s in second.simulators.values()] == [path.read_bytes()]


@pytest.mark.parametrize("keep", [0, 100, -1])
def test_a_damaged_simulator_is_reported_and_fitted_again(
    source: str, store: Store, caplog: pytest.LogCaptureFixture, keep: int
) -> None:
    first, one = Inputs(), profile(source)
    first.prepare([one], store)
    path = simulator_path(store, first, one.data)
    whole = path.read_bytes()
    path.write_bytes(whole[:keep])
    second = Inputs()
    with caplog.at_level(logging.WARNING):
        second.prepare([one], store)
    (message,) = [record.getMessage() for record in caplog.records]
    aside = path.with_name(f"{path.name}.damaged-1")
    assert message.startswith(f"{path}: damaged (")
    assert message.endswith(f"set aside as {aside.name}")
    assert aside.read_bytes() == whole[:keep]
    assert path.read_bytes() == whole
    assert [s.to_bytes(path.stem) for s in second.simulators.values()] == [whole]


def test_a_pool_of_one_label_is_refused(tmp_path: Path, store: Store) -> None:
    neutral = [e for e in mini_examples("train", 60) if e.label == "neutral"]
    write_csv(tmp_path / "train.csv", neutral)
    write_csv(tmp_path / "validation.csv", neutral)
    expected = (
        rf"^data: training pool of {len(neutral)} examples from {tmp_path}: "
        r"simulator: needs explanations of two labels or more, got \['neutral'\]; train on"
    )
    with pytest.raises(DataError, match=expected):
        Inputs().prepare([profile(str(tmp_path))], store)
    assert not (store.root / "simulators").exists()


def test_workers_know_the_identities_without_the_training_texts(source: str, store: Store) -> None:
    inputs = Inputs()
    one, small = profile(source, num_train=30), profile(source, num_train=30, train_fraction=0.1)
    inputs.prepare([one], store)
    worker = pickle.loads(pickle.dumps(inputs.for_workers()))
    assert worker.packages == {}
    for each in (one, small):
        assert worker.data_identity(TASK, each.data) == inputs.data_identity(TASK, each.data)
    assert worker.student_identity(one.student) == inputs.student_identity(one.student)
    assert worker.corpora[TASK, source].train == []
    assert worker.validation(TASK, one.data) == inputs.validation(TASK, one.data)
    assert worker.ceiling(TASK, one.data) == inputs.ceiling(TASK, one.data)
    # The original keeps its texts.
    assert len(inputs.corpora[TASK, source].train) == 40


def test_the_built_in_is_identified_without_being_built(
    source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = count(monkeypatch, "read_student")
    inputs = Inputs()
    assert inputs.student_identity(profile(source).student)["builtin"] == "mini"
    assert inputs.data_identity(TASK, Data(source=source, num_train=7)).num_train == 7
    assert reads.calls == 0
    assert inputs.tokens == inputs.simulators == {}


def test_what_is_trained_is_what_was_identified(
    source: str, store: Store, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads = count(monkeypatch, "read_student")
    inputs, one = Inputs(), profile(source, str(folder))
    identity = inputs.student_identity(one.student)
    expected = load_file(folder / "model.safetensors")
    changed = {name: value + 1 for name, value in expected.items()}
    save_file(changed, folder / "model.safetensors", {"format": "pt"})
    (folder / "tokenizer.json").write_text("{}")
    inputs.prepare([one], store)
    assert inputs.student_identity(one.student) == identity
    trained = inputs.untrained[one.student].weights
    assert trained.keys() == expected.keys()
    assert all(np.array_equal(trained[name], expected[name]) for name in expected)
    assert reads.calls == 1  # a large one takes seconds
    # Another command reads the new files, which are a different student.
    (folder / "tokenizer.json").write_bytes(
        inputs.untrained[one.student].spelling.files["tokenizer.json"]
    )
    assert Inputs().student_identity(one.student) != identity


def test_what_was_read_is_told_once_for_each_source(source: str) -> None:
    lines: list[str] = []
    inputs = Inputs(tell=lines.append)
    path = Path(source) / "train.csv"
    path.write_text(path.read_text() + "9,-,A man.,A dog.,Because.,,\n")
    for num_train in (30, 20):
        inputs.corpus(TASK, Data(source=source, num_train=num_train))
    inputs.corpus(TASK, Data(source="mini-nli"))
    assert lines == [
        f"{source}: train 41 rows of train.csv, 1 dropped (1 no gold label); "
        "validation 12 rows of validation.csv"
    ]


def test_the_ceiling_is_the_simulator_s_accuracy_on_gold(store: Store) -> None:
    inputs = Inputs()
    one = profile("mini-nli", num_train=300, num_validation=100)
    inputs.prepare([one], store)
    (simulator,) = inputs.simulators.values()
    gold = inputs.validation(TASK, one.data)
    assert len(gold) == 100
    right = [simulator.predict([e.explanations[0]]) == [e.label] for e in gold]
    assert inputs.ceiling(TASK, one.data) == sum(right) / 100
    assert 0.6 < inputs.ceiling(TASK, one.data) <= 1.0
