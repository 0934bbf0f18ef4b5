"""The contract of the student port, which every kind of student must pass."""

from __future__ import annotations

import itertools
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    BartConfig,
    BartForConditionalGeneration,
    MarianConfig,
    MarianMTModel,
)

from tests.students.student_forms import edit_json, edit_weights, random_model
from tests.tiny import mini_examples, tokenize_examples
from tune_distill.records.examples import Example
from tune_distill.spec.errors import StudentError
from tune_distill.spec.profile import STUDENT_KINDS, Decode, Student, Train
from tune_distill.students.model import Model
from tune_distill.students.port import ReadStudent
from tune_distill.students.registry import read_student, student_identity
from tune_distill.students.tokens import Pairs
from tune_distill.training.loop import Training
from tune_distill.training.losses import example_losses

GREEDY = Decode(max_new_tokens=12)
SAMPLED = Decode(strategy="sample", num_samples=3, top_k=20, max_new_tokens=12)


@pytest.fixture(scope="session")
def bart(tmp_path_factory: pytest.TempPathFactory, taught_t5: Path) -> Path:
    """Return the folder of a small BART, whose generation_config.json affects its answers."""
    folder = tmp_path_factory.mktemp("bart")
    tokenizer = AutoTokenizer.from_pretrained(taught_t5)
    tokenizer.save_pretrained(folder)
    config = BartConfig(
        vocab_size=len(tokenizer),
        d_model=32,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        max_position_embeddings=256,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.unk_token_id,
        eos_token_id=tokenizer.eos_token_id,
        decoder_start_token_id=tokenizer.eos_token_id,
        forced_eos_token_id=tokenizer.eos_token_id,
    )
    random_model(BartForConditionalGeneration, config).save_pretrained(folder)
    edit_json(folder / "generation_config.json", no_repeat_ngram_size=2)
    return folder


@pytest.fixture(params=[*itertools.product(["mini", "T5"], STUDENT_KINDS), ("BART", "hf")], ids=str)
def student(request: pytest.FixtureRequest, taught_t5: Path, bart: Path) -> ReadStudent:
    which, kind = request.param
    source = {"mini": "mini", "T5": str(taught_t5), "BART": str(bart)}[which]
    return read_student(Student(source=source, kind=kind))


@pytest.fixture
def pairs(student: ReadStudent, examples: list[Example]) -> Pairs:
    package: Any = student
    tokens = tokenize_examples(package.tokenizer, examples)
    return Pairs(tokens.sources.rows(40, 1000), tokens.targets.rows(40, 1000))


def trained(model: Model, pairs: Pairs, seed: int = 0) -> Model:
    settings = Train(num_epochs=1, batch_size=8, learning_rate=1e-2, eval_steps=100)
    torch.manual_seed(seed)
    list(Training(model, pairs, pairs, settings, seed).run())
    return model


def test_texts_are_tokens_with_an_end_and_back(student: ReadStudent) -> None:
    texts = ["a man runs.", "entailment explanation: a man is a person."]
    rows = student.encode(texts).rows(2, 1000)
    assert all(row.dtype == np.int32 for row in rows)
    assert rows[0][-1] == rows[1][-1]
    assert [text.strip() for text in student.untrained().texts([*map(list, rows)])] == texts


def test_logits_stand_at_the_labels_and_see_only_what_came_before(
    student: ReadStudent, pairs: Pairs
) -> None:
    model = student.untrained().model().eval()
    indices = [3, 0, 7]
    lengths = [len(pairs.targets[index]) for index in indices]
    logits_MV = model.label_logits(pairs, indices)
    assert logits_MV.dtype == torch.float32
    assert len(logits_MV) == sum(lengths)
    assert len(set(lengths)) > 1
    # A changed last label changes no logits; a changed first label changes all but the first.
    ends = np.cumsum(lengths)
    for place, same in ((-1, lengths[0]), (0, 1)):
        target = pairs.targets[3].copy()
        target[place] = 5
        changed = Pairs(pairs.sources, [*pairs.targets[:3], target, *pairs.targets[4:]])
        others_MV = model.label_logits(changed, indices)
        torch.testing.assert_close(others_MV[:same], logits_MV[:same])
        torch.testing.assert_close(others_MV[ends[0] :], logits_MV[ends[0] :])
        assert same == lengths[0] or not torch.allclose(others_MV[1], logits_MV[1])


def test_an_example_s_loss_does_not_depend_on_the_others(
    student: ReadStudent, pairs: Pairs
) -> None:
    model = student.untrained().model()
    together = example_losses(model, pairs)
    for index in (0, 11):
        [alone] = example_losses(model, Pairs([pairs.sources[index]], [pairs.targets[index]]))
        assert alone.total == pytest.approx(together[index].total, rel=1e-5)
        assert alone.num_tokens == len(pairs.targets[index])


@pytest.mark.parametrize("settings", [GREEDY, SAMPLED], ids=["greedy", "sampled"])
def test_answers_are_repeatable_and_each_source_s_own(
    student: ReadStudent, pairs: Pairs, settings: Decode
) -> None:
    fresh = student.untrained()
    model = fresh.model()
    torch.manual_seed(1)
    texts = model.generate(fresh.texts, pairs.sources[:10], settings)
    assert [len(samples) for samples in texts] == [settings.num_samples] * 10
    torch.manual_seed(2)
    assert model.generate(fresh.texts, pairs.sources[:10], settings) == texts
    assert model.generate(fresh.texts, pairs.sources[4:6], settings) == texts[4:6]
    if settings is SAMPLED:
        assert any(a != b for samples in texts for a, b in itertools.pairwise(samples))


def test_a_trained_student_is_stored_and_is_transformers_own(
    student: ReadStudent, pairs: Pairs, tmp_path: Path
) -> None:
    fresh = student.untrained()
    model = trained(fresh.model(), pairs)
    fresh.save(tmp_path, model)
    loaded = fresh.load(tmp_path)
    expected = [loss.total for loss in example_losses(model, pairs)]
    assert [loss.total for loss in example_losses(loaded, pairs)] == expected
    untouched = [loss.total for loss in example_losses(fresh.model(), pairs)]
    assert untouched != pytest.approx(expected, rel=0.01)
    hf = AutoModelForSeq2SeqLM.from_pretrained(tmp_path).eval()
    source, target = (torch.tensor(rows[0]).long()[None] for rows in (pairs.sources, pairs.targets))
    with torch.no_grad():
        loss = float(hf(input_ids=source, labels=target).loss)
    assert loss * target.shape[1] == pytest.approx(expected[0], rel=1e-4)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    assert tokenizer.decode(pairs.sources[0], skip_special_tokens=True)


def test_a_damaged_student_is_refused(student: ReadStudent, tmp_path: Path) -> None:
    fresh = student.untrained()
    fresh.save(tmp_path, fresh.model())
    path = tmp_path / "model.safetensors"
    tensors = load_file(path)
    tensors.popitem()
    save_file(tensors, path, {"format": "pt"})
    with pytest.raises(StudentError, match="must hold a trained student"):
        fresh.load(tmp_path)


def test_it_travels_to_workers_and_draws_nothing(student: ReadStudent, pairs: Pairs) -> None:
    fresh = student.untrained()
    travelled = pickle.loads(pickle.dumps(fresh))
    state = torch.get_rng_state()
    models = [each.model() for each in (fresh, travelled)]
    assert torch.equal(torch.get_rng_state(), state)
    losses = [[loss.total for loss in example_losses(model, pairs)] for model in models]
    assert losses[0] == losses[1]
    assert travelled.texts([[*pairs.targets[0]]]) == fresh.texts([[*pairs.targets[0]]])


@pytest.mark.parametrize("kind", STUDENT_KINDS)
def test_a_kind_s_student_is_identified_by_content(kind: str, taught_t5: Path) -> None:
    for source in ("mini", str(taught_t5)):
        student = Student(source=source, kind=kind)
        assert student_identity(student) == read_student(student).identity


# The same T5 as either kind of student


@pytest.fixture(scope="module")
def two_ways(taught_t5: Path) -> list[ReadStudent]:
    return [read_student(Student(source=str(taught_t5), kind=kind)) for kind in ("t5", "hf")]


@pytest.fixture(scope="module")
def unseen(two_ways: list[ReadStudent]) -> Pairs:
    """Return two hundred examples that the student was not trained on."""
    package: Any = two_ways[0]
    tokens = tokenize_examples(package.tokenizer, mini_examples("validation", 200))
    return Pairs(tokens.sources.rows(200, 1000), tokens.targets.rows(200, 1000))


def test_a_t5_has_the_losses_of_transformers_own(
    two_ways: list[ReadStudent], unseen: Pairs
) -> None:
    ours, theirs = (example_losses(each.untrained().model(), unseen) for each in two_ways)
    assert [a.per_token for a in ours] == pytest.approx([b.per_token for b in theirs], abs=1e-5)


@pytest.mark.parametrize("precision", ["fp32"])
def test_a_t5_trains_as_transformers_own_dropout_included(
    two_ways: list[ReadStudent], unseen: Pairs, precision: Any
) -> None:
    settings = Train(num_epochs=1, batch_size=20, learning_rate=1e-3, logging_steps=1)
    losses = []
    for each in two_ways:
        torch.manual_seed(3)
        training = Training(each.untrained().model(), unseen, unseen, settings, 3)
        list(training.run())
        losses.append([row.train_loss for row in training.position.history])
    assert losses[0] == pytest.approx(losses[1], abs=1e-4)
    assert len(losses[0]) == 10


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"strategy": "beam", "num_beams": 4},
        {"strategy": "sample", "num_samples": 2, "temperature": 0.7},
    ],
    ids=["greedy", "beam 4", "sampled"],
)
def test_a_t5_answers_as_transformers_own(
    two_ways: list[ReadStudent], unseen: Pairs, settings: dict[str, Any]
) -> None:
    asked = Decode.model_validate({"max_new_tokens": 24} | settings)
    texts = []
    for each in two_ways:
        fresh = each.untrained()
        texts.append(fresh.model().generate(fresh.texts, unseen.sources, asked))
    assert texts[0] == texts[1]
    assert len({text for (text, *_) in texts[0]}) > 20


# What only transformers computes


@pytest.fixture(scope="session")
def marian(tmp_path_factory: pytest.TempPathFactory, bart: Path) -> Path:
    """Return the folder of a model whose head is tied to the decoder's own embeddings."""
    folder = shutil.copytree(bart, tmp_path_factory.mktemp("marian") / "student")
    num_tokens = len(AutoTokenizer.from_pretrained(bart))
    config = MarianConfig(
        vocab_size=num_tokens,
        decoder_vocab_size=num_tokens,
        share_encoder_decoder_embeddings=False,
        d_model=32,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        max_position_embeddings=256,
        pad_token_id=0,
        bos_token_id=2,
        eos_token_id=1,
        decoder_start_token_id=0,
        forced_eos_token_id=None,
    )
    random_model(MarianMTModel, config).save_pretrained(folder)
    return folder


def test_a_head_tied_to_the_decoder_s_embeddings_is_kept(marian: Path) -> None:
    student = read_student(Student(source=str(marian), kind="hf")).untrained()
    hf = MarianMTModel.from_pretrained(marian)
    models: list[Any] = [student.model(), student.model()]
    assert models[0].hf.lm_head.weight is models[0].hf.model.decoder.embed_tokens.weight
    for model in models:
        found = model.hf.state_dict()
        for name, value in hf.state_dict().items():
            assert torch.equal(found[name], value), name


def test_many_samples_are_drawn_in_parts_and_stay_the_same(
    bart: Path, examples: list[Example], monkeypatch: pytest.MonkeyPatch
) -> None:
    package: Any = read_student(Student(source=str(bart), kind="hf"))
    rows = tokenize_examples(package.tokenizer, examples).sources.rows(3, 1000)
    fresh = package.untrained()
    model = fresh.model()
    expected = model.generate(fresh.texts, rows, SAMPLED)
    sizes = []
    generate = model.hf.generate
    monkeypatch.setattr(
        model.hf,
        "generate",
        lambda **given: sizes.append(len(given["input_ids"])) or generate(**given),
    )
    monkeypatch.setattr("tune_distill.students.hf._SEQUENCES", 2)
    assert model.generate(fresh.texts, rows, SAMPLED) == expected
    assert sizes == [2, 1] * 3


@pytest.mark.parametrize("num_beams", [1, 3])
def test_a_bart_answers_as_its_generation_config_says(
    bart: Path, examples: list[Example], num_beams: int
) -> None:
    package: Any = read_student(Student(source=str(bart), kind="hf"))
    rows = tokenize_examples(package.tokenizer, examples).sources.rows(6, 1000)
    settings = {"strategy": "beam", "num_beams": num_beams} if num_beams > 1 else {}
    asked = Decode.model_validate({"max_new_tokens": 10} | settings)
    fresh = package.untrained()
    texts = fresh.model().generate(fresh.texts, rows, asked)
    hf = BartForConditionalGeneration.from_pretrained(bart).eval()
    for row, (text,) in zip(rows, texts, strict=True):
        answer = hf.generate(
            torch.tensor(row).long()[None], max_new_tokens=10, num_beams=num_beams, max_length=None
        )
        assert text == package.tokenizer.decode(answer[0, 1:], skip_special_tokens=True)


def nan(tensors: dict[str, torch.Tensor]) -> None:
    tensors["model.encoder.layers.0.fc1.weight"][0, 0] = torch.nan


def gone(tensors: dict[str, torch.Tensor]) -> None:
    del tensors["model.encoder.layers.0.fc1.weight"]


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("model.safetensors", nan, "NaN or infinite"),
        ("model.safetensors", gone, "no weights for model.encoder.layers.0.fc1.weight"),
        ("config.json", {"encoder_layers": 10**9}, "encoder_layers must be at most"),
        ("config.json", {"model_type": "bert"}, "must be of a seq2seq model, got 'bert'"),
        ("config.json", {"model_type": "nothing"}, "must load with AutoModelForSeq2SeqLM"),
        ("config.json", {"auto_map": {"AutoConfig": "code.Config"}}, "auto_map must be absent"),
        ("config.json", {"quantization_config": {"bits": 4}}, "quantization_config must be absent"),
        ("generation_config.json", {"eos_token_id": 7}, "must hold the tokenizer's end token"),
        ("generation_config.json", {"decoder_start_token_id": [1, 2]}, "must be one token"),
        ("generation_config.json", {"pad_token_id": 9}, "pad_token_id must be the tokenizer's"),
        ("generation_config.json", {"stop_strings": ["a"]}, "must learn from texts and answer"),
    ],
)
def test_a_faulty_student_is_refused_with_the_reason(
    bart: Path, tmp_path: Path, file: str, change: Any, message: str
) -> None:
    folder = shutil.copytree(bart, tmp_path / "student")
    if callable(change):
        edit_weights(folder, change)
    else:
        edit_json(folder / file, **change)
    with pytest.raises(StudentError, match=message) as raised:
        read_student(Student(source=str(folder), kind="hf"))
    assert str(raised.value).startswith("student.source: ")


def test_a_t5_s_kind_says_how_other_models_are_read(bart: Path) -> None:
    with pytest.raises(StudentError, match=r"must hold a T5.* --set student.kind=hf"):
        read_student(Student(source=str(bart)))
    with pytest.raises(ValidationError, match="must be one of t5, hf, got 'gpt'"):
        Student(source="mini", kind="gpt")
