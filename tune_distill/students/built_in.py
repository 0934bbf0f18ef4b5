"""Facts about the embedded student, so that planning need not build it."""

from __future__ import annotations

from tune_distill.spec.profile import MINI_STUDENT

BUILT_IN = {"builtin": MINI_STUDENT, "version": "1"}
"""The student's identity. Raise the version whenever the weights or the tokenizer's ids change."""

MODULE = "tune_distill.students.mini"
"""Builds the student. It needs transformers' T5, which other students do without."""

NUM_PARAMETERS = 500_000
"""About how many parameters the student has."""
