"""A checkpoint restores what was saved, to the last bit; other files are recognised."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from tests.tiny import load_student, token_pairs
from tune_distill.records.examples import Example
from tune_distill.records.refusals import plain_os_errors
from tune_distill.records.runs import HistoryRow
from tune_distill.records.sealed import seal
from tune_distill.spec.profile import Student, Train
from tune_distill.students.t5.model import T5
from tune_distill.students.tokens import Pairs
from tune_distill.training.checkpoints import (
    DamagedCheckpointError,
    Position,
    load_checkpoint,
    save_checkpoint,
)
from tune_distill.training.loop import Training

RUN = "a" * 64

SETTINGS = Train(batch_size=4, num_epochs=3, learning_rate=1e-3, eval_steps=4, logging_steps=3)


@pytest.fixture(scope="module")
def pairs(tiny_t5: Path, examples: list[Example]) -> Pairs:
    return token_pairs(tiny_t5, examples[:12])


@pytest.fixture
def fresh(tiny_t5: Path, pairs: Pairs) -> Callable[[], Training]:
    def training() -> Training:
        torch.manual_seed(3)
        return Training(load_student(Student(source=str(tiny_t5))), pairs, pairs, SETTINGS, 3)

    return training


@pytest.fixture
def saved(fresh: Callable[[], Training], tmp_path: Path) -> tuple[Training, Path]:
    """Return a training after four of its nine steps, and its checkpoint."""
    training, path = fresh(), tmp_path / "checkpoint.safetensors"
    next(training.run())
    save_checkpoint(path, training.model, training.optimizer, training.position, RUN)
    return training, path


def assert_equal_trainings(first: Training, second: Training) -> None:
    for (name, ours), theirs in zip(
        first.model.named_parameters(), second.model.parameters(), strict=True
    ):
        assert torch.equal(ours, theirs), name
    ours, theirs = first.optimizer.state_dict(), second.optimizer.state_dict()
    assert ours["state"].keys() == theirs["state"].keys()
    for index, state in ours["state"].items():
        assert state.keys() == theirs["state"][index].keys()
        for name, value in state.items():
            assert torch.equal(value, theirs["state"][index][name])
            assert value.dtype == theirs["state"][index][name].dtype


def test_everything_comes_back(saved: tuple[Training, Path], fresh: Callable[[], Training]) -> None:
    training, path = saved
    expected_draw = torch.rand(5)
    other = fresh()
    torch.manual_seed(99)
    position = load_checkpoint(path, other.model, other.optimizer, RUN)
    assert torch.equal(torch.rand(5), expected_draw)
    assert position == training.position
    assert position.step == 4
    assert [row.step for row in position.history] == [3, 4]
    assert_equal_trainings(training, other)
    assert {float(state["step"]) for state in other.optimizer.state.values()} == {4.0}


def test_a_resumed_training_ends_as_an_uninterrupted_one(
    saved: tuple[Training, Path], fresh: Callable[[], Training]
) -> None:
    _, path = saved
    whole = fresh()
    list(whole.run())
    resumed = fresh()
    resumed.position = load_checkpoint(path, resumed.model, resumed.optimizer, RUN)
    assert [row.step for row in resumed.run()] == [8, 9]
    assert_equal_trainings(whole, resumed)
    losses = [
        [(row.step, row.train_loss, row.eval_loss) for row in each.position.history]
        for each in (whole, resumed)
    ]
    assert losses[0] == losses[1]


def test_a_checkpoint_of_the_first_step_has_no_moments_yet(
    fresh: Callable[[], Training], tmp_path: Path
) -> None:
    path = tmp_path / "start.safetensors"
    training = fresh()
    save_checkpoint(path, training.model, training.optimizer, Position(0, 0.0, ()), RUN)
    other = fresh()
    assert load_checkpoint(path, other.model, other.optimizer, RUN) == Position(0, 0.0, ())
    assert_equal_trainings(training, other)


def test_a_training_goes_on_with_the_threads_it_began_with(
    fresh: Callable[[], Training], tmp_path: Path
) -> None:
    path, training = tmp_path / "threads.safetensors", fresh()
    torch.set_num_threads(2)
    save_checkpoint(path, training.model, training.optimizer, Position(0, 0.0, ()), RUN)
    torch.set_num_threads(1)
    load_checkpoint(path, training.model, training.optimizer, RUN)
    assert torch.get_num_threads() == 2


def test_losses_survive_to_the_last_digit(fresh: Callable[[], Training], tmp_path: Path) -> None:
    row = HistoryRow(1, 0.1, 1 / 3, 0.1 + 0.2, None, 1e-300, 1.5)
    path, training = tmp_path / "odd.safetensors", fresh()
    save_checkpoint(path, training.model, training.optimizer, Position(1, 1.5, (row,)), RUN)
    loaded = load_checkpoint(path, training.model, training.optimizer, RUN)
    assert loaded.history == (row,)


def test_tied_weights_are_stored_once(saved: tuple[Training, Path]) -> None:
    training, path = saved
    with safe_open(path, framework="pt") as file:
        names = [name for name in file.keys() if name.startswith("model.")]  # noqa: SIM118
    assert "model.shared.weight" in names
    assert not any("embed_tokens" in name or "lm_head" in name for name in names)
    # The file holds weights and two moments in float32, and little else.
    size = 3 * 4 * sum(parameter.numel() for parameter in training.model.parameters())
    assert size < path.stat().st_size < size + 40_000


def damage_truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def damage_empty(path: Path) -> None:
    path.write_bytes(b"")


def damage_random(path: Path) -> None:
    path.write_bytes(bytes(range(256)) * 100)


def damage_metadata(path: Path) -> None:
    save_file(load_file(path), path)


def damage_record(path: Path) -> None:
    record = {"position": {"step": 4, "elapsed_s": 1.0, "history": [{"step": 4}]}}
    save_file(load_file(path), path, {"record": json.dumps(record)})


def damage_sealed_record(path: Path) -> None:
    position = {"step": 4, "elapsed_s": 1.0, "history": [{"step": 4}]}
    record = seal("checkpoint", {"run": RUN}, {"position": position})
    save_file(load_file(path), path, {"record": record.decode()})


def damage_depth(path: Path) -> None:
    save_file(load_file(path), path, {"record": "[" * 100_000})


def damage_step(path: Path) -> None:
    with safe_open(path, framework="pt") as file:
        record = file.metadata()["record"].replace('"step":4', '"step":3')
    save_file(load_file(path), path, {"record": record})


def damage_one_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1000] ^= 1
    path.write_bytes(content)


def damage_swap(path: Path) -> None:
    """Swap two tensors of one shape."""
    tensors = load_file(path)
    first, second = (f"model.decoder.block.{block}.layer.0.layer_norm.weight" for block in (0, 1))
    _rewrite(path, {first: tensors[second] + 1, second: tensors[first]})


def damage_rng(path: Path) -> None:
    _rewrite(path, {"rng.cpu": torch.zeros(3, dtype=torch.uint8)})


def damage_missing_weight(path: Path) -> None:
    _rewrite(path, {}, without="model.shared.weight")


def _rewrite(path: Path, changed: dict[str, torch.Tensor], without: str = "") -> None:
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    tensors = {name: value for name, value in load_file(path).items() if name != without}
    save_file(tensors | changed, path, metadata)


@pytest.mark.parametrize(
    "damage",
    [
        damage_truncate,
        damage_empty,
        damage_random,
        damage_metadata,
        damage_record,
        damage_sealed_record,
        damage_depth,
        damage_step,
        damage_one_bit,
        damage_swap,
        damage_rng,
        damage_missing_weight,
    ],
)
def test_a_damaged_file_is_told_so(
    saved: tuple[Training, Path], fresh: Callable[[], Training], damage: Callable[[Path], None]
) -> None:
    _, path = saved
    damage(path)
    other = fresh()
    with pytest.raises(DamagedCheckpointError, match=str(path)):
        load_checkpoint(path, other.model, other.optimizer, RUN)


def test_the_checkpoint_of_another_run_is_told_so(
    saved: tuple[Training, Path], fresh: Callable[[], Training]
) -> None:
    other = fresh()
    with pytest.raises(DamagedCheckpointError, match="of another entry"):
        load_checkpoint(saved[1], other.model, other.optimizer, "b" * 64)


@given(st.data())
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_no_flipped_bit_goes_unnoticed(
    saved: tuple[Training, Path], fresh: Callable[[], Training], data: st.DataObject
) -> None:
    whole = saved[1].read_bytes()
    # Most of a file is tensors, but a flip in the header may be misread as something else.
    header = 8 + int.from_bytes(whole[:8], "little")
    position = data.draw(st.integers(0, header) | st.integers(0, len(whole) - 1))
    changed = bytearray(whole)
    changed[position] ^= 1 << data.draw(st.integers(0, 7))
    path = saved[1].with_name("changed.safetensors")
    path.write_bytes(changed)
    other = fresh()
    with pytest.raises(DamagedCheckpointError):
        load_checkpoint(path, other.model, other.optimizer, RUN)


@pytest.mark.parametrize(
    "shape",
    [
        {"d_model": 16},
        {"num_layers": 1},
        # Every tensor fits except a narrow one, which would be broadcast.
        {"num_heads": 1, "d_kv": 32},
    ],
)
def test_a_checkpoint_of_another_model_is_told_so(
    saved: tuple[Training, Path], shape: dict[str, int]
) -> None:
    training, path = saved
    if "num_layers" in shape:
        shape = shape | {"num_decoder_layers": shape["num_layers"]}
    other = T5(replace(training.model.config, **shape))
    for parameter in other.parameters():
        torch.nn.init.ones_(parameter)
    for model, file_of in ((other, training.model), (training.model, other)):
        optimizer = torch.optim.AdamW(file_of.parameters())
        save_checkpoint(path, file_of, optimizer, Position(0, 0.0, ()), RUN)
        before = [parameter.detach().clone() for parameter in model.parameters()]
        with pytest.raises(DamagedCheckpointError, match="another model"):
            load_checkpoint(path, model, torch.optim.AdamW(model.parameters()), RUN)
        assert all(map(torch.equal, before, model.parameters()))


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 MiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_lack_of_memory_is_no_damage(
    saved: tuple[Training, Path],
    fresh: Callable[[], Training],
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
) -> None:
    def fail(state: object) -> None:
        raise error

    training = fresh()
    monkeypatch.setattr(training.optimizer, "load_state_dict", fail)
    with pytest.raises(type(error), match="memory"):
        load_checkpoint(saved[1], training.model, training.optimizer, RUN)


def test_a_file_that_is_not_there_is_not_damaged(
    fresh: Callable[[], Training], tmp_path: Path
) -> None:
    training = fresh()
    with pytest.raises(FileNotFoundError):
        load_checkpoint(tmp_path / "none", training.model, training.optimizer, RUN)


def test_a_full_disk_is_told_as_the_system_tells_it() -> None:
    said = "Error while serializing: I/O error: No space left on device (os error 28)"
    with pytest.raises(OSError, match="No space left on device") as told, plain_os_errors():
        raise SafetensorError(said)
    assert told.value.errno == errno.ENOSPC
    with pytest.raises(OSError, match="Input/output error"), plain_os_errors():
        raise SafetensorError("no number")
