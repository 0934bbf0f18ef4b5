"""The output of `--list`."""

from __future__ import annotations

import json

import pytest

from tune_distill.spec.yaml_files import shipped_profiles, shipped_studies
from tune_distill.study import main


def test_programs_get_a_line_of_json_for_each_study_and_profile(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["--list", "--json"]) == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [e["study"] for e in events if e["event"] == "study"] == shipped_studies()
    assert [e["profile"] for e in events if e["event"] == "profile"] == shipped_profiles()
