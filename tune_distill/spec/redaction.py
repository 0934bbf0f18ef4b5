"""Secrets are kept out of messages: `redacted` is what every message goes through.

It knows the values of environment variables that are named as secrets are, what `keep_secret` was
told, and how URIs and HTTP headers carry passwords.
"""

from __future__ import annotations

import os
import re

_HIDDEN = "***"

# Shorter values would blank out ordinary words, and are no secrets.
_LEAST_LENGTH = 8

_NAME = re.compile(
    r"(TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIALS?|ACCESS_KEY(_ID)?|API_?KEY|"
    r"(ACCOUNT|PRIVATE|STORAGE|AUTH)_?KEY|CONNECTION_STRING)$",
    re.IGNORECASE,
)

_PATTERNS = (
    # scheme://user:password@host
    (re.compile(r"(://[^/@:\s]*):[^/\s]*@"), rf"\1:{_HIDDEN}@"),
    # ?signature=...; a name such as X-Amz-Security-Token too
    (
        re.compile(
            r"([?&][^=&\s]*(?:token|secret|passw|signature|sig|credential|api_?key|access_?key)"
            r"[^=&\s]*=)[^&\s'\"]+",
            re.IGNORECASE,
        ),
        rf"\1{_HIDDEN}",
    ),
    # Authorization: Bearer ...
    (re.compile(r"\b(Bearer|Basic)\s+[\w.~+/=-]{8,}", re.IGNORECASE), rf"\1 {_HIDDEN}"),
)

_told: set[str] = set()


def keep_secret(text: str) -> None:
    """Hide this secret of the process, which was read from a file, in all messages to come."""
    _told.update(_pieces(text))


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


def _pieces(secret: str) -> list[str]:
    """The secret as a message may quote it: by lines, because quoting escapes line ends."""
    return [piece for piece in secret.split() if len(piece) >= _LEAST_LENGTH]
