"""Untrusted text made safe for terminals: control characters become visible escapes."""

from __future__ import annotations

import json
import re
from typing import Any

# Control characters (C0 without tab and line end, DEL, C1), marks that change the direction of
# text, and lone surrogates, which no encoding can write.
_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
_LINE_ENDS = re.compile("[\n\t\u2028\u2029]")
_NAMED = {"\r": "\\r", "\n": "\\n", "\t": "\\t"}


def printable(text: str) -> str:
    """Return the text with each control character replaced by its escape (`\\x1b`, `\\u202e`).

    Tabs and line ends stay. Escaping a text twice is the same as escaping it once.
    """
    return _UNSAFE.sub(_escape, text)


def printable_line(text: str) -> str:
    """Return the text on one line, with tabs and line ends escaped too."""
    return _LINE_ENDS.sub(_escape, printable(text))


def json_line(value: Any) -> str:
    """Return the value as one line of ASCII JSON without control characters.

    NaN and infinity, which JSON lacks, become null.
    """
    try:
        text = json.dumps(value, allow_nan=False)
    except ValueError:
        text = json.dumps(_finite(value), allow_nan=False)
    # DEL is the only control character that json does not escape.
    return text.replace("\x7f", "\\u007f")


def _escape(found: re.Match[str]) -> str:
    character, code = found.group(), ord(found.group())
    if character in _NAMED:
        return _NAMED[character]
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    if isinstance(value, float) and value - value != 0:
        return None
    return value
