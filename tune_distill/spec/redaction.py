"""Secrets are kept out of messages: `redacted` is what every message goes through.

It knows the values of environment variables that are named as secrets are, what `keep_secret` was
told, and how URIs and HTTP headers carry passwords.
"""

from __future__ import annotations

import os
import re
from urllib.parse import unquote

_HIDDEN = "***"

# Shorter values would blank out ordinary words.
_LEAST_LENGTH, _LEAST_IN_URI = 8, 6

_NAME = re.compile(
    r"(TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIALS?|ACCESS_KEY(_ID)?|API_?KEY|"
    r"(ACCOUNT|PRIVATE|STORAGE|AUTH)_?KEY|CONNECTION_STRING)$",
    re.IGNORECASE,
)

_PATTERNS = (
    # scheme://user:password@host
    (re.compile(r"(://[^/@:\s]*:)([^/\s]*)(?=@)"), rf"\1{_HIDDEN}"),
    # ?signature=...; a name such as X-Amz-Security-Token too
    (
        re.compile(
            r"([?&][^=&\s]*(?:token|secret|passw|signature|sig|credential|api_?key|access_?key)"
            r"[^=&\s]*=)([^&\s'\"]+)",
            re.IGNORECASE,
        ),
        rf"\1{_HIDDEN}",
    ),
    # Authorization: Bearer ...
    (re.compile(r"\b((?:Bearer|Basic)\s+)([\w.~+/=-]{8,})", re.IGNORECASE), rf"\1{_HIDDEN}"),
)

_told: set[str] = set()


def keep_secret(text: str) -> None:
    """Hide this secret of the process, which was read from a file, in all messages to come."""
    _told.update(_pieces(text))


def keep_secrets_of(uri: str) -> None:
    """Hide the passwords in this URI, which those who are asked there may quote by themselves."""
    for pattern, _ in _PATTERNS:
        for _, secret in pattern.findall(uri):
            _told.update(_pieces(unquote(secret), _LEAST_IN_URI))


def redacted(text: str) -> str:
    """Return `text` with *** for each secret in it."""
    named = (value for name, value in os.environ.items() if _NAME.search(name))
    # What names a file is no secret, but what a user needs to see.
    found = {piece for value in named if not os.path.exists(value) for piece in _pieces(value)}
    for secret in sorted(found | _told, key=len, reverse=True):
        text = text.replace(secret, _HIDDEN)
    for pattern, shown in _PATTERNS:
        text = pattern.sub(shown, text)
    return text


def _pieces(secret: str, least: int = _LEAST_LENGTH) -> list[str]:
    """The secret as a message may quote it: by lines, because quoting escapes line ends."""
    return [piece for piece in secret.split() if len(piece) >= least]


def one_line(error: BaseException) -> str:
    """Return the error's type and message, without secrets: it goes into tables and logs."""
    text = redacted(" ".join(str(error).split()))
    return f"{type(error).__name__}: {text}"[:500]
