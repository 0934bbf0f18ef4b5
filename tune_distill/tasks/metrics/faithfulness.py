"""Faithfulness: whether an explanation alone tells the label that its answer gives.

Source: simulatability, Hase et al. 2020. The simulator is `tasks/simulator.py`.
"""

from __future__ import annotations

from tune_distill.tasks.answers import Answer
from tune_distill.tasks.words import words


def faithful(answer: Answer) -> bool | None:
    """Return whether the simulator guesses the answer's own label, right or wrong.

    An answer without a label, or without a word in its explanation, is not faithful: there is
    nothing to agree with, or nothing to judge by. None without a simulator, or if it knows no word.
    """
    if answer.guess is None:
        return None
    return answer.guess == answer.label and bool(words(answer.explanation, also="_"))
