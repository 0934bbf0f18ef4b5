"""Redaction of secrets: every message passes through `redacted`.

It replaces the values of environment variables whose names suggest secrets, texts registered with
`keep_secret`, and passwords in URIs and HTTP headers.
"""

from __future__ import annotations

import os
import re
from urllib.parse import unquote

_HIDDEN = "***"

# Redacting shorter values would remove ordinary words.
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
    """Register a secret that was read from a file, so that later messages hide it."""
    _told.update(_pieces(text))


def keep_secrets_of(uri: str) -> None:
    """Register the passwords in this URI, because errors of servers may quote them without it."""
    for pattern, _ in _PATTERNS:
        for _, secret in pattern.findall(uri):
            _told.update(_pieces(unquote(secret), _LEAST_IN_URI))


def redacted(text: str) -> str:
    """Return `text` with each secret in it replaced by ***."""
    named = (value for name, value in os.environ.items() if _NAME.search(name))
    # The name of an existing file is not a secret, and users need to see it.
    found = {piece for value in named if not os.path.exists(value) for piece in _pieces(value)}
    for secret in sorted(found | _told, key=len, reverse=True):
        text = text.replace(secret, _HIDDEN)
    for pattern, shown in _PATTERNS:
        text = pattern.sub(shown, text)
    return text


def _pieces(secret: str, least: int = _LEAST_LENGTH) -> list[str]:
    """Return the lines of the secret, because quoting a secret escapes its line ends."""
    return [piece for piece in secret.split() if len(piece) >= least]


def one_line(error: BaseException) -> str:
    """Return the error's type and message on one line without secrets, for tables and logs."""
    text = redacted(" ".join(str(error).split()))
    return f"{type(error).__name__}: {text}"[:500]
