"""The trainable without Ray, and the timer that ends its process."""

from __future__ import annotations

import os
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from tests.records.made import history
from tune_distill.spec.redaction import one_line
from tune_distill.training.trial import Progress
from tune_distill.tuning.trainable import StudyTrainable

ROWS = history(3.0, 2.0, 1.0)


class Made(StudyTrainable):
    """A trainable with given attempts: lists of progress reports and of exceptions to raise."""

    def __init__(self, *attempts: list[Any]) -> None:
        self.attempts = list(attempts)
        self.setup({}, SimpleNamespace(time_limit_s=None), inputs=None)

    def attempt(self, config):
        for each in self.attempts.pop(0):
            if isinstance(each, BaseException):
                raise each
            yield each


@pytest.fixture(autouse=True)
def node(monkeypatch):
    context = SimpleNamespace(
        get_node_id=lambda: "node1", get_accelerator_ids=lambda: {"GPU": ["0"]}
    )
    monkeypatch.setattr("ray.get_runtime_context", lambda: context)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    return context


def progress(step: int, num_rows: int, **more: Any) -> Progress:
    return Progress(step, 30, ROWS[:num_rows], **more)


def test_each_attempt_reports_each_row_once():
    made = Made([progress(10, 1), progress(20, 3)], [progress(20, 3, resumed_step=20)])
    first, second = made.step(), made.step()
    made.reset_config({})
    third = made.step()
    told = [
        (result["num_rows_before"], [row["step"] for row in result["new_rows"]])
        for result in (first, second, third)
    ]
    assert told == [(0, [10]), (1, [20, 30]), (0, [10, 20, 30])]
    assert [result["resumed_step"] for result in (first, second, third)] == [0, 0, 20]
    assert (first["node"], first["done"]) == ("node1", False)


def test_an_exception_is_the_last_result_and_has_no_metric():
    made = Made([progress(10, 1), ValueError("a\n  b")], [progress(10, 1)])
    made.step()
    result = made.step()
    assert result == {"error": "ValueError: a b", "messages": [], "done": True}
    made.reset_config({})
    assert made.step()["step"] == 10


def test_a_cuda_error_is_left_to_a_new_process():
    with pytest.raises(RuntimeError, match="ECC"):
        Made([RuntimeError("CUDA error: uncorrectable ECC error encountered")]).step()
    # Exhausted GPU memory fails only the one trial.
    assert Made([RuntimeError("CUDA out of memory. Tried to")]).step()["done"]


@pytest.mark.parametrize(("given", "seen"), [([], ""), (["0"], "0")])
def test_a_worker_without_a_gpu_sees_none(node, given, seen):
    node.get_accelerator_ids = lambda: {"GPU": given}
    Made([])
    assert os.environ["CUDA_VISIBLE_DEVICES"] == seen


def test_an_interrupt_is_raised():
    with pytest.raises(KeyboardInterrupt):
        Made([KeyboardInterrupt()]).step()


def test_one_line_is_short():
    assert len(one_line(ValueError("x" * 10_000))) == 500


WAITING = """
import ctypes, time
from tune_distill.tuning.trainable import ended_at
with ended_at(time.monotonic() + {seconds}):
    {block}
print("went on", flush=True)
{after}
"""


def ran(seconds: float, block: str, after: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", WAITING.format(seconds=seconds, block=block, after=after)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_hanging_c_code_is_ended_with_a_traceback():
    process = ran(0.5, "ctypes.PyDLL(None).sleep(1000)")
    assert (process.returncode, process.stdout) == (1, "")
    assert "Timeout" in process.stderr
    assert 'File "<string>", line 5' in process.stderr


def test_a_deadline_that_has_passed_ends_it_at_once():
    process = ran(-5.0, "time.sleep(1000)")
    assert (process.returncode, process.stdout) == (1, "")


def test_a_process_that_is_in_time_goes_on():
    process = ran(2.0, "pass", "time.sleep(3)")
    assert (process.returncode, process.stdout, process.stderr) == (0, "went on\n", "")
