"""Faithfulness: whether the label of an answer can be predicted from its explanation alone.

Source: simulatability, Hase et al. 2020. The simulator is `tasks/simulator.py`.
"""

from __future__ import annotations

from tune_distill.tasks.answers import Answer
from tune_distill.tasks.words import words


def faithful(answer: Answer) -> bool | None:
    """Return whether the simulator guesses the answer's own label, right or wrong.

    An answer without a label, or without a word in its explanation, is not faithful. Return None
    without a simulator, or if it knows no word.
    """
    if answer.guess is None:
        return None
    return answer.guess == answer.label and bool(words(answer.explanation, also="_"))
