"""A T5 of every form computes and answers as in transformers, also after it is saved."""

from __future__ import annotations

import random
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.nli import NLI
from tests.students.student_forms import (
    FORMS,
    edit_json,
    generation_of,
    hf_model,
    hf_texts,
    random_model,
    save_trained,
    sentencepiece_model,
)
from tests.tiny import at, save_tiny_t5, tokenize_examples
from tune_distill.records.examples import Example
from tune_distill.spec.profile import Decode
from tune_distill.students.registry import read_student
from tune_distill.students.t5.layout import Layout
from tune_distill.students.t5.untrained import UntrainedT5

LONGEST = 12


@pytest.fixture(scope="module")
def talkative(tmp_path_factory: pytest.TempPathFactory, examples: list[Example]) -> Path:
    """Return a T5 whose answers depend on its input, unlike one with usual initial weights."""
    from transformers import T5Config, T5ForConditionalGeneration

    folder = save_tiny_t5(tmp_path_factory.mktemp("talkative"), examples)
    config = T5Config.from_pretrained(folder)
    random_model(T5ForConditionalGeneration, config).save_pretrained(folder)
    return folder


@pytest.fixture(params=FORMS)
def form(request: pytest.FixtureRequest, talkative: Path, tmp_path: Path) -> Path:
    folder = shutil.copytree(talkative, tmp_path / "student")
    FORMS[request.param](folder)
    return folder


def hf_logits(folder: Path, source: list[int], target: list[int]) -> torch.Tensor:
    with torch.inference_mode():
        return hf_model(folder)(
            input_ids=torch.tensor([source]), decoder_input_ids=torch.tensor([target])
        ).logits[0]


def our_logits(student: UntrainedT5, source: list[int], target: list[int]) -> torch.Tensor:
    model = student.model().eval()
    layouts = [Layout.of([len(ids)], torch.device("cpu")) for ids in (source, target)]
    ids = [
        layout.unpad(torch.tensor(ids)[None, :, None])[:, 0]
        for layout, ids in zip(layouts, (source, target), strict=True)
    ]
    with torch.inference_mode():
        states = model(ids[0], layouts[0], ids[1], layouts[1])
        return model.logits(states)[: len(target)]


def our_texts(folder: Path, examples: list[Example], **settings: Any) -> list[str]:
    package: Any = read_student(at(folder))
    student = package.untrained()
    rows = tokenize_examples(package.tokenizer, examples).sources.rows(len(examples), 1000)
    wanted = Decode.model_validate({"max_new_tokens": LONGEST} | settings)
    return [text for (text,) in student.model().generate(student.texts, rows, wanted)]


def test_a_t5_of_this_form_behaves_as_in_transformers(
    form: Path, examples: list[Example], tmp_path: Path
) -> None:
    assert_behaves_as_in_transformers(form, examples, tmp_path)


@pytest.mark.parametrize("named", [False, True])
def test_a_sentencepiece_model_behaves_as_in_transformers(
    talkative: Path, examples: list[Example], tmp_path: Path, named: bool
) -> None:
    pytest.importorskip("sentencepiece")
    folder = shutil.copytree(talkative, tmp_path / "student")
    sentencepiece_model(folder)
    if named:  # as in mT5's tokenizer_config.json
        edit_json(
            folder / "tokenizer_config.json",
            tokenizer_class="T5Tokenizer",
            extra_ids=0,
            additional_special_tokens=None,
        )
    assert_behaves_as_in_transformers(folder, examples, tmp_path)


def assert_behaves_as_in_transformers(form: Path, examples: list[Example], tmp_path: Path) -> None:
    """Assert the logits of `from_pretrained` and the answers of `generate`, also after saving."""
    student: Any = read_student(at(form)).untrained()
    drawn = random.Random(0)
    source, target = (
        [drawn.randrange(student.architecture.vocab_size) for _ in range(n)] for n in (17, 9)
    )
    expected = hf_logits(form, source, target)
    # Some of these random models have logits of a hundred or more.
    near = 1e-4 * max(1.0, float(expected.abs().max()))
    torch.testing.assert_close(our_logits(student, source, target), expected, rtol=1e-4, atol=near)
    asked = examples[:3]
    sources = [NLI.source_text(example) for example in asked]
    trained = save_trained(form, tmp_path / "trained")
    torch.testing.assert_close(hf_logits(trained, source, target), expected, rtol=0, atol=near)
    for ours, theirs in (
        ({"strategy": "greedy"}, {"num_beams": 1}),
        ({"strategy": "beam", "num_beams": 3}, {"num_beams": 3}),
    ):
        answers = our_texts(form, asked, **ours)
        assert answers == hf_texts(form, sources, max_new_tokens=LONGEST, **theirs)
        assert len(set(answers)) > 1
        assert answers == hf_texts(trained, sources, max_new_tokens=LONGEST, **theirs)


@pytest.mark.parametrize("null", [False, True])
@pytest.mark.parametrize("told", ["by generation_config.json", "by convention"])
def test_without_a_start_token_t5_s_convention_holds(
    talkative: Path, tmp_path: Path, examples: list[Example], null: bool, told: str
) -> None:
    folder = shutil.copytree(talkative, tmp_path / "student")
    expected = our_texts(folder, examples[:4])
    edit_json(folder / "config.json", decoder_start_token_id=None if null else ...)
    if told == "by convention":
        edit_json(folder / "generation_config.json", decoder_start_token_id=...)
    assert our_texts(folder, examples[:4]) == expected
    # The trained student says it explicitly, so transformers needs no convention.
    trained = save_trained(folder, tmp_path / "trained")
    assert generation_of(trained).decoder_start_token_id == 0
    assert hf_model(trained).config.decoder_start_token_id == 0


def test_a_sentencepiece_model_alone_is_read_or_refused_with_the_package(
    talkative: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tune_distill.spec.errors import StudentError

    folder = shutil.copytree(talkative, tmp_path / "student")
    for path in folder.glob("tokenizer*"):
        path.unlink()
    (folder / "spiece.model").write_bytes(b"\0" * 8)
    monkeypatch.setitem(sys.modules, "sentencepiece", None)
    with pytest.raises(StudentError, match=r"spiece\.model takes the package sentencepiece"):
        read_student(at(folder))
