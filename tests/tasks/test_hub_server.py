"""A process that could not reach a hub once still reaches it later, here a server on loopback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import free_port
from tests.tasks.hub_server import SHA

ROOT = Path(__file__).resolve().parents[2]

SCRIPT = """
import json, sys
from tests.nli import read_source
from tests.tasks.hub_server import serve
from tune_distill.spec.errors import TuneDistillError
from tune_distill.spec.profile import Student
from tune_distill.students.registry import download

def student():
    return download(Student(source="someone/student")).name

def examples():
    return [example.inputs[0] for example in read_source("someone/set").train]

said = []
for reachable in (False, True):
    if reachable:
        serve(int(sys.argv[1]))
    for ask in (student, examples):
        try:
            said.append(ask())
        except TuneDistillError as error:
            said.append(str(error).partition(":")[0])
print(json.dumps(said))
"""


@pytest.mark.proof
def test_a_second_study_reaches_the_hub_that_the_first_did_not(tmp_path: Path) -> None:
    port = free_port()
    environment = os.environ | {
        "HF_ENDPOINT": f"http://127.0.0.1:{port}",
        "HF_HOME": str(tmp_path / "cache"),
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_XET": "1",
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
        "PYTHONPATH": str(ROOT),
    }
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(port)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    unreachable = ["student.source", "data.source"]
    assert json.loads(done.stdout.splitlines()[-1]) == [*unreachable, SHA, ["a man"]]
