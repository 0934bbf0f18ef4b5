"""A run records what it was computed on, with every limit that changes the last digits."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tune_distill.students import machine
from tune_distill.students.machine import device_name, instruction_set

TRAIN = """
import torch
from tests.tiny import load_student, mini_examples, tokenize_examples
from tune_distill.students.machine import instruction_set
from tune_distill.students.mini_tokenizer import mini_tokenizer
from tune_distill.students.tokens import Pairs
from tune_distill.training.loop import Training
from tune_distill.spec.profile import Student, Train

torch.set_num_threads(1)
tokens = tokenize_examples(mini_tokenizer(), mini_examples("train", 24))
pairs = Pairs(tokens.sources.rows(24, 128), tokens.targets.rows(24, 64))
torch.manual_seed(0)
model = load_student(Student(source="mini"))
training = Training(model, pairs, pairs, Train(num_epochs=1, batch_size=8), 0)
[row] = training.run()
print(instruction_set())
print(repr(row.eval_loss))
"""


def trained(**environment: str) -> tuple[str, float]:
    """Return the instruction set and the loss of a process with these variables."""
    ended = subprocess.run(
        [sys.executable, "-c", TRAIN],
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "", **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    which, loss = ended.stdout.splitlines()
    return which, float(loss)


@pytest.mark.proof
def test_another_instruction_set_is_told_and_differs_in_the_last_digits_alone() -> None:
    which, loss = trained()
    assert trained() == (which, loss)
    limited = trained(ATEN_CPU_CAPABILITY="default")
    assert limited[0].startswith("DEFAULT on ")
    assert limited[0] != which
    assert limited[1] == pytest.approx(loss, rel=1e-6)
    limits = {"ONEDNN_MAX_CPU_ISA": "SSE41", "MKL_ENABLE_INSTRUCTIONS": "SSE4_2"}
    limited = trained(**limits)
    assert limited[0] == f"{which}, ONEDNN_MAX_CPU_ISA=SSE41, MKL_ENABLE_INSTRUCTIONS=SSE4_2"
    assert limited[1] == pytest.approx(loss, rel=1e-6)


def test_a_cpu_is_told_with_its_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    capability, _, processor = instruction_set().partition(" on ")
    assert device_name() == "cpu"
    assert capability == torch.backends.cpu.get_cpu_capability()
    assert processor


def test_a_gpu_is_told_with_its_architecture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "NVIDIA H100")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (9, 0))
    assert (device_name(), instruction_set()) == ("NVIDIA H100", "sm_90")


@pytest.mark.parametrize(
    ("files", "num_cpus"),
    [
        ({}, 64),
        ({"cpu.max": "max 100000"}, 64),
        ({"cpu.max": "400000 100000"}, 4),
        ({"cpu.max": "50000 100000"}, 1),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 64),
        ({"cpu/cpu.cfs_quota_us": "300000", "cpu/cpu.cfs_period_us": "100000"}, 3),
        ({"cpu.max": "nonsense"}, 64),
    ],
)
def test_a_container_has_the_cpus_that_it_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], num_cpus: int
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"{text}\n")
    monkeypatch.setattr(machine, "_CGROUP", tmp_path)
    monkeypatch.setattr("os.cpu_count", lambda: 64)
    assert machine.num_cpus() == num_cpus
