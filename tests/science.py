"""What tests of tasks, students and training share: one thread, and a T5 that can answer."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
import pytest
import torch

from tests.tiny import mini_examples, save_tiny_t5, token_pairs, untrained, without_dropout
from tune_distill.records.examples import Example
from tune_distill.spec.profile import Student, Train
from tune_distill.training.loop import Training


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """So small a T5 is many times slower on the threads of a shared machine."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def own_torch_state() -> Iterator[None]:
    """A test leaves torch's random numbers and threads as it found them."""
    with torch.random.fork_rng(devices=[]):
        yield
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def hub_that_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test asks the real hub whether it is there."""
    monkeypatch.setattr(huggingface_hub.HfApi, "repo_info", lambda *_, **__: None)


@pytest.fixture(scope="session")
def examples() -> list[Example]:
    """Forty examples of the built-in corpus."""
    return mini_examples("train", 40)


@pytest.fixture(scope="session")
def tiny_t5(tmp_path_factory: pytest.TempPathFactory, examples: list[Example]) -> Path:
    """The folder of a two-layer T5 with random weights."""
    return save_tiny_t5(tmp_path_factory.mktemp("tiny-t5"), examples)


@pytest.fixture(scope="session")
def taught_t5(
    tmp_path_factory: pytest.TempPathFactory, tiny_t5: Path, examples: list[Example]
) -> Path:
    """The folder of a T5 that knows the format: a random one answers every source alike."""
    student = Student(source=str(tiny_t5))
    fresh = untrained(student)
    pairs = token_pairs(tiny_t5, examples)
    settings = Train(
        num_epochs=25, batch_size=10, learning_rate=1e-2, label_smoothing=0.0, eval_steps=1000
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        training = Training(without_dropout(fresh.model()), pairs, pairs, settings, 0)
        list(training.run())
    folder = tmp_path_factory.mktemp("taught-t5")
    fresh.save(folder, training.model)
    return folder


@pytest.fixture
def folder(tiny_t5: Path, tmp_path: Path) -> Path:
    """A copy of the tiny T5 that a test may spoil."""
    return shutil.copytree(tiny_t5, tmp_path / "student")
