"""Students of unusual forms are trained, stored and decoded as in transformers."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.nli import NLI
from tests.records.made import LocalStore
from tests.students.student_forms import byt5, edit_json, hf_texts, mt5, own_ends, sharded_twice
from tests.tiny import mini_examples, trial_of, write_csv
from tune_distill.records.examples import Example
from tune_distill.spec.profile import Profile
from tune_distill.training.inputs import Inputs
from tune_distill.training.trial import run_trial

LONGEST = 16


def without_start(folder: Path) -> None:
    for name in ("config.json", "generation_config.json"):
        edit_json(folder / name, decoder_start_token_id=...)


@pytest.mark.parametrize("spoil", [byt5, mt5, own_ends, sharded_twice, without_start])
def test_a_trained_student_answers_in_transformers_as_it_did_in_the_study(
    spoil: Callable[[Path], Any], taught_t5: Path, tmp_path: Path, examples: list[Example]
) -> None:
    folder = shutil.copytree(taught_t5, tmp_path / "student")
    spoil(folder)
    write_csv(tmp_path / "data" / "train.csv", examples)
    write_csv(tmp_path / "data" / "validation.csv", mini_examples("validation", 12))
    profile = Profile.model_validate(
        {
            "student": {"source": str(folder)},
            "data": {"source": str(tmp_path / "data")},
            "train": {"num_epochs": 1, "learning_rate": 1e-3},
            "decode": {"max_new_tokens": LONGEST},
        }
    )
    inputs, store = Inputs(), LocalStore(tmp_path / "store")
    inputs.prepare([profile], store)
    trial, worker = trial_of(profile, inputs), inputs.for_workers()
    shutil.rmtree(folder)
    assert list(run_trial(trial, worker, store))[-1].done
    asked = inputs.validation(profile.task, profile.data)
    sources = [NLI.source_text(example) for example in asked]
    rows = worker.tokens[
        profile.student, profile.task, profile.data.source
    ].validation.sources.rows(12, 1000)
    student = worker.untrained[profile.student]
    with store.student(trial.run_key) as trained:
        answers = student.load(trained).generate(student.texts, rows, profile.decode)
        expected = hf_texts(trained, sources, max_new_tokens=LONGEST, num_beams=1)
    assert [text for (text,) in answers] == expected
