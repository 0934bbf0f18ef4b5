"""A student that does not suit its task or its profile is refused before it is trained."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from transformers import AutoTokenizer, BartConfig, BartForConditionalGeneration

from tune_distill.records.places import Folder
from tune_distill.records.store import Store
from tune_distill.spec.errors import StudentError
from tune_distill.spec.profile import Profile
from tune_distill.training.inputs import Inputs


def profile(student: Path, kind: str = "t5", **train: int) -> Profile:
    return Profile.model_validate(
        {
            "student": {"source": str(student), "kind": kind},
            "data": {"source": "mini-nli", "num_train": 60, "num_validation": 10},
            "train": train,
            "decode": {"max_new_tokens": 20},
        }
    )


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(Folder(tmp_path / "store"))


@pytest.mark.parametrize("lost", ["explanation:", "neutral"])
def test_a_tokenizer_that_loses_a_label_or_the_marker_is_refused(
    folder: Path, store: Store, lost: str
) -> None:
    Inputs().prepare([profile(folder)], store)
    path = folder / "tokenizer.json"
    raw = json.loads(path.read_text())
    raw["normalizer"] = {"type": "Replace", "pattern": {"String": lost}, "content": ""}
    path.write_text(json.dumps(raw))
    inputs = Inputs()
    inputs.data_identity(profile(folder).task, profile(folder).data)
    with pytest.raises(StudentError, match="must keep labels and marker of the task esnli"):
        inputs.prepare([profile(folder)], store)


def test_texts_beyond_a_student_s_positions_are_refused(
    tiny_t5: Path, store: Store, tmp_path: Path
) -> None:
    folder = shutil.copytree(tiny_t5, tmp_path / "bart")
    config = BartConfig(
        vocab_size=len(AutoTokenizer.from_pretrained(tiny_t5)),
        d_model=16,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=16,
        decoder_ffn_dim=16,
        max_position_embeddings=64,
        pad_token_id=0,
        bos_token_id=2,
        eos_token_id=1,
        decoder_start_token_id=1,
        forced_eos_token_id=1,
    )
    BartForConditionalGeneration(config).save_pretrained(folder)
    Inputs().prepare([profile(folder, "hf", max_source_length=64, max_target_length=64)], store)
    with pytest.raises(StudentError, match=r"^train.max_source_length: must be at most 64.* 65; l"):
        Inputs().prepare([profile(folder, "hf", max_source_length=65)], store)
