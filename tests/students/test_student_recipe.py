"""CONTRIBUTING.md's recipe, "Add a kind of student", followed in a copy of the repository."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.recipes import recipe, register, repository_copy, run_tests

LINE = '    "hf": "tune_distill.students.hf_package",\n'
CONTRACT = "tests/students/test_student_contract.py"
KIND = '''"""Students of transformers that train their decoder alone."""

from dataclasses import replace

from tune_distill.students.hf import UntrainedHf
from tune_distill.students.hf_package import HfKind


class UntrainedFrozen(UntrainedHf):
    def model(self):
        model = super().model()
        model.hf.get_encoder().requires_grad_(False)
        return model


class FrozenKind(HfKind):
    def read(self, folder):
        return _frozen(super().read(folder))

    def built_in(self, hf, tokenizer):
        return _frozen(super().built_in(hf, tokenizer))


def _frozen(package):
    return replace(package, student=UntrainedFrozen(**vars(package.student)))


KIND = FrozenKind()
'''


@pytest.mark.proof
def test_a_kind_of_student_is_one_file_and_one_line(tmp_path: Path) -> None:
    for named in ("students/NAME.py", "spec/profile.py:STUDENT_KINDS", CONTRACT):
        assert f"`{named}`" in recipe("Add a kind of student")
    package = repository_copy(tmp_path)
    (package / "students" / "frozen.py").write_text(KIND)
    new = '    "frozen": "tune_distill.students.frozen",\n'
    register(package / "spec" / "profile.py", LINE, new)
    run_tests(tmp_path, CONTRACT, which="frozen")
