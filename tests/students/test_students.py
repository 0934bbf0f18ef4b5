"""A student is identified by its content, and an invalid one is refused with a remedy."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.tiny import at, load_student, load_tokenizer
from tune_distill.spec.errors import StudentError
from tune_distill.spec.profile import Student
from tune_distill.students.mini import mini_student
from tune_distill.students.registry import num_parameters, student_identity

MINI = Student(source="mini")


# Identity


def test_a_directory_is_known_by_its_files_not_its_path(folder: Path, tmp_path: Path) -> None:
    elsewhere = shutil.copytree(folder, tmp_path / "else where")
    (elsewhere / "README.md").write_text("Not a part of the student.")
    identity = student_identity(at(folder))
    assert student_identity(at(elsewhere)) == identity
    assert list(identity) == ["files_digest"]


def change_weight(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    weights["shared.weight"][7, 7] += 1e-3
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


def change_tokenizer(folder: Path) -> None:
    path = folder / "tokenizer.json"
    path.write_text(path.read_text() + "\n")


def change_config(folder: Path) -> None:
    raw = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(raw | {"dropout_rate": 0.2}))


def rename_a_shard(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "model-00001-of-00001.safetensors")


@pytest.mark.parametrize("change", [change_weight, change_tokenizer, change_config, rename_a_shard])
def test_another_content_is_another_student(folder: Path, change: Any) -> None:
    before = student_identity(at(folder))
    change(folder)
    assert student_identity(at(folder)) != before


def test_the_built_in_is_known_by_its_version() -> None:
    identity = student_identity(MINI)
    assert identity == {"builtin": "mini", "version": "1"}


# Invalid students


def remove_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def break_config(folder: Path) -> None:
    (folder / "config.json").write_text("{")


def make_bert(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": "bert"}')


def list_config(folder: Path) -> None:
    (folder / "config.json").write_text("[]")


def remove_weights(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def remove_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (remove_config, r"student has no config\.json; make the directory with"),
        (break_config, r"config\.json must be JSON"),
        (make_bert, "must hold a T5, got model_type 'bert'"),
        (list_config, r"config\.json must be a JSON object, got \[\]"),
        (remove_weights, r"has no weights \(model\*\.safetensors\); save them"),
        (remove_tokenizer, r"has no tokenizer \(tokenizer\.json or spiece\.model\); save it"),
    ],
)
def test_a_directory_that_is_no_student_is_refused(folder: Path, spoil: Any, message: str) -> None:
    spoil(folder)
    with pytest.raises(StudentError, match=f"^student.source: .*{message}"):
        student_identity(at(folder))


@pytest.mark.parametrize("name", ["gone", "model.safetensors"])
def test_a_path_without_a_directory_is_refused(folder: Path, name: str) -> None:
    with pytest.raises(StudentError, match="must be a directory made with save_pretrained, got"):
        student_identity(at(folder / name))


def test_a_damaged_tokenizer_does_not_load(folder: Path) -> None:
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(StudentError, match="its tokenizer must load with AutoTokenizer, got"):
        load_tokenizer(at(folder))


# Loading


def test_num_parameters_is_about_the_true_count(folder: Path) -> None:
    true = sum(parameter.numel() for parameter in load_student(at(folder)).parameters())
    assert num_parameters(at(folder)) == pytest.approx(true, rel=0.05)
    mini = sum(parameter.numel() for parameter in mini_student().parameters())
    assert num_parameters(MINI) == pytest.approx(mini, rel=0.3)


def test_the_built_in_loads_without_files() -> None:
    assert torch.equal(load_student(MINI).shared.weight, mini_student().shared.weight)
    assert load_tokenizer(MINI)("a man").input_ids[-1] == 1


# The hub


class FakeHub:
    """A `snapshot_download` that returns a folder, or fails as without a network."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self.asked: list[tuple[str, str | None]] = []
        self.patterns: list[str] = []

    def __call__(
        self,
        name: str,
        *,
        revision: str | None,
        allow_patterns: list[str],
        local_files_only: bool = False,
    ) -> str:
        self.asked.append((name, revision))
        self.patterns = allow_patterns
        if self.folder is None:
            raise huggingface_hub.errors.LocalEntryNotFoundError("Can't reach\nthe hub")
        return str(self.folder)


def fake_hub(monkeypatch: pytest.MonkeyPatch, folder: Path | None) -> FakeHub:
    hub = FakeHub(folder)
    monkeypatch.setattr("tune_distill.students.registry.snapshot_download", hub)
    return hub


def test_a_hub_student_is_known_by_its_files_as_a_directory_is(
    monkeypatch: pytest.MonkeyPatch, tiny_t5: Path, tmp_path: Path
) -> None:
    snapshot = shutil.copytree(tiny_t5, tmp_path / "snapshots" / "0123abcd")
    hub = fake_hub(monkeypatch, snapshot)
    student = Student(source="google/flan-t5-small", revision="main")
    identity = student_identity(student)
    assert identity == student_identity(at(tiny_t5))
    assert hub.asked == [("google/flan-t5-small", "main")]
    # Formats that run code when they are read are not even downloaded.
    assert not any("bin" in pattern or pattern == "*" for pattern in hub.patterns)
    assert torch.equal(load_student(student).shared.weight, load_student(at(tiny_t5)).shared.weight)
    assert num_parameters(student) == num_parameters(at(tiny_t5))


@pytest.mark.parametrize("use", [student_identity, load_student, load_tokenizer, num_parameters])
def test_without_a_network_the_error_names_the_ways_around(
    monkeypatch: pytest.MonkeyPatch, use: Any
) -> None:
    fake_hub(monkeypatch, None)
    expected = (
        "^student.source: 'google/flan-t5-small' must be on the hub or in its cache here, "
        "got no answer and no copy; "
        "use --student DIR for a local T5, or --profile mini, which needs no network$"
    )
    with pytest.raises(StudentError, match=expected):
        use(Student(source="google/flan-t5-small"))


def test_a_hub_model_of_another_kind_is_refused(
    monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    make_bert(folder)
    fake_hub(monkeypatch, folder)
    with pytest.raises(StudentError, match="must hold a T5, got model_type 'bert'"):
        student_identity(Student(source="someone/bert"))


def test_a_cut_file_of_weights_is_found_without_loading_it(tiny_t5: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_t5, tmp_path / "cut"))
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(StudentError, match=r"cut/model\.safetensors must be whole safetensors"):
        student_identity(at(folder))


def test_a_commit_in_the_cache_needs_no_hub(monkeypatch: pytest.MonkeyPatch, tiny_t5: Path) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("the hub was asked")

    hub = fake_hub(monkeypatch, tiny_t5)
    monkeypatch.setattr(huggingface_hub.HfApi, "repo_info", refuse)
    load_tokenizer(Student(source="google/flan-t5-small", revision="a" * 40))
    assert hub.asked == [("google/flan-t5-small", "a" * 40)]
