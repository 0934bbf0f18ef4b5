"""The text a student reads and writes, and how its label and explanation are read back.

A student reads ``nli premise: P hypothesis: H`` and writes ``LABEL explanation: E``: the format of
WT5 (Narang et al. 2020), the label first, so that one decoding gives both.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from tune_distill.records.examples import LABELS

MARKER = "explanation:"

# Only the label is matched in ASCII: elsewhere in Unicode there are letters that a case-blind match
# takes for an "i" or an "s" and that no label holds. The boundary stays Unicode's, so that a label
# inside a longer word of any script is none.
_LABEL_AT_START = re.compile(rf"\s*(?P<label>(?ai:{'|'.join(LABELS)}))\b")
_MARKER = re.compile(rf"(?ai:{MARKER})")


@dataclass(frozen=True, slots=True)
class ParsedOutput:
    """What a student's output says: its label, None where unparsable, and its explanation."""

    label: str | None
    explanation: str


def source_text(premise: str, hypothesis: str) -> str:
    """The text that a student reads for one sentence pair."""
    return f"nli premise: {premise} hypothesis: {hypothesis}"


def target_text(label: str, explanation: str) -> str:
    """The text that a student is trained to write."""
    return f"{label} {MARKER} {explanation}"


def parse_output(text: str) -> ParsedOutput:
    """The label that `text` starts with and what follows its first ``explanation:``, stripped.

    The label counts as a whole word at the start only, in any case: a label that an explanation
    mentions later is no answer. Without the marker the explanation is empty, whatever else the
    text holds: a student that has not learnt the format earns nothing for text it did not offer as
    an explanation. Label and explanation are read independently, so that an output with a
    misspelt label still has its explanation scored.
    """
    label = _LABEL_AT_START.match(text)
    marker = _MARKER.search(text)
    return ParsedOutput(
        label=label["label"].lower() if label else None,
        explanation=text[marker.end() :].strip() if marker else "",
    )
