"""The cluster's token on this machine, found like Ray finds it and protected from other users."""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass, field
from pathlib import Path

from tune_distill.spec.errors import ClusterError
from tune_distill.spec.redaction import keep_secret

COPY = (
    "copy the head's ~/.ray/auth_token to ~/.ray/auth_token here, or set RAY_AUTH_TOKEN_PATH to "
    "the full path of a copy"
)

_MOST_BYTES = 2**14

# The characters that HTTP headers and gRPC's metadata can carry.
_TOKEN = re.compile(rf"[!-~]{{1,{_MOST_BYTES}}}")


@dataclass(frozen=True)
class Token:
    """A cluster's token, and where it was found."""

    text: str = field(repr=False)
    source: str

    @property
    def headers(self) -> dict[str, str]:
        """Return the headers that carry the token, for HTTP and gRPC."""
        return {"authorization": f"Bearer {self.text}"}


def find_token() -> Token | None:
    """Return the token that Ray would use; None if there is none.

    It is in RAY_AUTH_TOKEN, in the file that RAY_AUTH_TOKEN_PATH names, or in ~/.ray/auth_token.

    Raises:
        ClusterError: the token is malformed, or its file is missing although it is named, has no
            token, or belongs to another user and is readable for everyone.
    """
    if text := os.environ.get("RAY_AUTH_TOKEN", "").strip():
        return _checked(text, "RAY_AUTH_TOKEN")
    if named := os.environ.get("RAY_AUTH_TOKEN_PATH"):
        return _read_token(Path(named), f"RAY_AUTH_TOKEN_PATH ({named})")
    default = Path.home() / ".ray" / "auth_token"
    return _read_token(default, str(default)) if default.exists() else None


def _read_token(path: Path, source: str) -> Token:
    """Return the token in the first line of the file, as Ray reads it."""
    try:
        with path.open("rb") as stream:
            _keep_private(stream.fileno(), source)
            content = stream.read(_MOST_BYTES + 1).decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no text"
        raise ClusterError(
            f"{source}: must be a file with a cluster's token, got: {reason}; {COPY}"
            # Do not chain the error: that of decoding contains the content of the file.
        ) from None
    lines = content.splitlines()
    text = lines[0].strip() if lines else ""
    if not text:
        raise ClusterError(
            f"{source}: must hold a cluster's token in its first line, got an empty one; {COPY}"
        )
    return _checked(text, source)


def _checked(text: str, source: str) -> Token:
    """Return the token after checking its form; messages hide it from now on."""
    keep_secret(text)
    if not _TOKEN.fullmatch(text):
        others = len(re.findall(r"[^!-~]", text))
        raise ClusterError(
            f"{source}: a cluster's token must be one word of at most {_MOST_BYTES} ASCII letters, "
            f"digits and signs, got one of {len(text)} characters, of which {others} are others "
            f"(such as a line end); {COPY}"
        )
    return Token(text, source)


def _keep_private(descriptor: int, source: str) -> None:
    """Remove other users' rights to a token's file; refuse another user's public file."""
    status = os.fstat(descriptor)
    if status.st_uid == os.getuid():
        if status.st_mode & 0o077:
            os.fchmod(descriptor, 0o600)
    # The group may have been given access on purpose, as for a Kubernetes secret.
    elif status.st_mode & 0o007:
        raise ClusterError(
            f"{source}: a token's file must not be readable by every user of this machine, got "
            f"mode {stat.S_IMODE(status.st_mode):o} and another owner; chmod 600 a copy of your own"
        )
