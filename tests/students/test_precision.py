"""Only a profile's precision determines the arithmetic of training, losses and decoding."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import T5ForConditionalGeneration

from tests.tiny import (
    evaluation_loss,
    load_student,
    mini_examples,
    token_pairs,
    tokenize_examples,
    without_dropout,
)
from tune_distill.records.examples import Example
from tune_distill.spec.profile import Decode, Precision, Student, Train
from tune_distill.students.mini_tokenizer import mini_tokenizer
from tune_distill.students.precision import exact_products
from tune_distill.students.t5.model import T5
from tune_distill.students.tokens import Pairs
from tune_distill.training.checkpoints import load_checkpoint, save_checkpoint
from tune_distill.training.loop import Training
from tune_distill.training.losses import example_losses

# Losses of five steps of mini on a CPU, from before precision could be chosen.
GOLDEN = [6.600290298461914, 6.111481189727783, 5.637726306915283, 5.293514728546143]
GOLDEN += [5.570994853973389]
GOLDEN_EVAL = 4.780214786901489

BOTH: list[Precision] = ["fp32", "bf16"]
SMALL = {"batch_size": 8, "num_epochs": 1, "learning_rate": 1e-3, "logging_steps": 1}
PRODUCTS = ("mm", "bmm", "addmm", "baddbmm", "linear", "matmul", "_linear_pointwise")

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


@pytest.fixture(scope="module")
def pairs(tiny_t5: Path, examples: list[Example]) -> Pairs:
    return token_pairs(tiny_t5, examples)


@pytest.fixture
def make(tiny_t5: Path, pairs: Pairs) -> Any:
    def training(precision: Precision, device: str = "cpu", **settings: Any) -> Training:
        torch.manual_seed(0)
        student = load_student(Student(source=str(tiny_t5))).to(device)
        train = Train.model_validate({**SMALL, "precision": precision, **settings})
        return Training(student, pairs, pairs, train, 0)

    return training


class ProductTypes(TorchDispatchMode):
    """Collects the dtypes of the operands of matrix products."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[torch.dtype] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.overloadpacket.__name__ in PRODUCTS:
            self.seen |= {each.dtype for each in args[-3:] if isinstance(each, torch.Tensor)}
        return func(*args, **(kwargs or {}))


@contextmanager
def product_types() -> Iterator[set[torch.dtype]]:
    with ProductTypes() as types:
        yield types.seen


def train_losses(training: Training) -> list[float]:
    list(training.run())
    return [row.train_loss for row in training.position.history]


def texts(model: T5, pairs: Pairs, **settings: Any) -> list[list[str]]:
    def spell(rows: list[list[int]]) -> list[str]:
        return [" ".join(map(str, row)) for row in rows]

    return model.generate(spell, pairs.sources[:12], Decode.model_validate(settings))


@pytest.mark.parametrize("precision", BOTH)
def test_training_losses_and_decoding_share_one_precision(
    make: Any, pairs: Pairs, precision: Precision
) -> None:
    expected = {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
    training = make(precision)
    with product_types() as types:
        train_losses(training)
    assert types == {expected}
    with product_types() as types:
        example_losses(training.model, pairs)
    assert types == {expected}
    for strategy in ("greedy", "beam", "sample"):
        with product_types() as types:
            texts(training.model, pairs, strategy=strategy, max_new_tokens=3)
        assert types == {expected}, strategy


def test_bf16_changes_the_numbers_a_little(make: Any) -> None:
    exact, rounded = (train_losses(make(precision)) for precision in BOTH)
    assert exact != rounded
    assert rounded == pytest.approx(exact, rel=0.02)


def test_bf16_is_as_exact_as_hf_under_autocast(tiny_t5: Path, pairs: Pairs) -> None:
    model = load_student(Student(source=str(tiny_t5)))
    exact = evaluation_loss(model, pairs)
    model.precision = "bf16"
    hf = T5ForConditionalGeneration.from_pretrained(tiny_t5).eval()
    total = count = 0.0
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        for source, target in zip(pairs.sources, pairs.targets, strict=True):
            ids, labels = (torch.from_numpy(row).long()[None] for row in (source, target))
            total += float(hf(input_ids=ids, labels=labels).loss) * labels.numel()
            count += labels.numel()
    ours, theirs = (abs(loss - exact) for loss in (evaluation_loss(model, pairs), total / count))
    assert 0 < ours < max(2 * theirs, 1e-3 * exact)


def test_weights_gradients_and_the_optimizer_stay_float32(make: Any) -> None:
    training = make("bf16")
    gradients: set[torch.dtype] = set()
    for parameter in training.model.parameters():
        parameter.register_hook(lambda gradient: gradients.add(gradient.dtype))
    train_losses(training)
    states = [value for state in training.optimizer.state.values() for value in state.values()]
    kept = [*training.model.parameters(), *states]
    assert {value.dtype for value in kept} | gradients == {torch.float32}


def test_a_bf16_training_repeats_itself_and_goes_on_from_a_checkpoint(
    make: Any, tmp_path: Path
) -> None:
    whole = make("bf16", eval_steps=2)
    expected = train_losses(whole)
    assert train_losses(make("bf16", eval_steps=2)) == expected
    stopped = make("bf16", eval_steps=2)
    next(stopped.run())
    path = tmp_path / "checkpoint.safetensors"
    save_checkpoint(path, stopped.model, stopped.optimizer, stopped.position, "run")
    resumed = make("bf16", eval_steps=2)
    torch.manual_seed(99)
    resumed.position = load_checkpoint(path, resumed.model, resumed.optimizer, "run")
    assert train_losses(resumed) == expected
    for ours, theirs in zip(resumed.model.parameters(), whole.model.parameters(), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize("strategy", ["greedy", "beam"])
def test_a_bf16_student_answers_as_its_losses_are_computed(
    make: Any, pairs: Pairs, strategy: str
) -> None:
    """A decoder with other arithmetic would write texts that the student itself finds unlikely."""
    training = make("bf16", num_epochs=40, learning_rate=1e-2, logging_steps=1000)
    without_dropout(training.model)
    list(training.run())
    written = texts(training.model, pairs, strategy=strategy, max_new_tokens=40)
    training.model.precision = "fp32"
    exact = texts(training.model, pairs, strategy=strategy, max_new_tokens=40)
    same = sum(ours == theirs for ours, theirs in zip(written, exact, strict=True))
    assert same >= 9, "of 12"


def test_fp32_is_what_it_always_was() -> None:
    tokens = tokenize_examples(mini_tokenizer(), mini_examples("train", 40))
    pairs = Pairs(tokens.sources.rows(40, 128), tokens.targets.rows(40, 64))
    torch.manual_seed(0)
    training = Training(
        load_student(Student(source="mini")), pairs, pairs, Train.model_validate(SMALL), 0
    )
    assert train_losses(training) == pytest.approx(GOLDEN, rel=1e-6)
    assert training.position.history[-1].eval_loss == pytest.approx(GOLDEN_EVAL, rel=1e-6)


# Settings of the host process


def matmul_settings() -> list[Any]:
    cuda, mkldnn = torch.backends.cuda.matmul, torch.backends.mkldnn.matmul
    flags = [getattr(each, "fp32_precision", None) for each in (cuda, mkldnn)]
    return [*flags, cuda.allow_bf16_reduced_precision_reduction, torch.is_autocast_enabled("cpu")]


@pytest.fixture
def own_matmul_settings() -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    yield
    torch.set_float32_matmul_precision(before)


@pytest.mark.usefixtures("own_matmul_settings")
@pytest.mark.parametrize("precision", BOTH)
def test_what_the_host_allows_changes_no_number_and_stays(
    make: Any, pairs: Pairs, precision: Precision
) -> None:
    trained = make(precision)
    expected = train_losses(trained)
    answers = texts(trained.model, pairs, max_new_tokens=3)
    torch.set_float32_matmul_precision("medium")
    before = matmul_settings()
    with torch.autocast("cpu", torch.bfloat16):
        training = make(precision)
        assert train_losses(training) == expected
        assert texts(training.model, pairs, max_new_tokens=3) == answers
    assert matmul_settings() == before


@pytest.mark.usefixtures("own_matmul_settings")
def test_an_error_leaves_the_settings_as_they_were() -> None:
    torch.set_float32_matmul_precision("medium")
    before = matmul_settings()

    @exact_products()
    def fail() -> None:
        assert matmul_settings() != before
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert matmul_settings() == before


# On a GPU


@needs_gpu
def test_fp32_on_a_gpu_is_float32(make: Any, pairs: Pairs) -> None:
    torch.set_float32_matmul_precision("high")
    try:
        here, there = (make("fp32", device) for device in ("cpu", "cuda"))
        with product_types() as types:
            losses = [evaluation_loss(each.model, pairs) for each in (here, there)]
        assert types == {torch.float32}
        # TF32 would differ by 1e-4.
        assert losses[1] == pytest.approx(losses[0], rel=2e-6)
    finally:
        torch.set_float32_matmul_precision("highest")


@needs_gpu
@pytest.mark.parametrize("precision", BOTH)
def test_a_gpu_repeats_itself_in_each_precision(
    make: Any, pairs: Pairs, precision: Precision
) -> None:
    first, again = (make(precision, "cuda") for _ in range(2))
    with product_types() as types:
        assert train_losses(first) == train_losses(again)
    assert types == {{"fp32": torch.float32, "bf16": torch.bfloat16}[precision]}
    assert texts(first.model, pairs) == texts(again.model, pairs)
