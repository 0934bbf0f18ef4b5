"""A Dockerfile's instructions, and the rules that a linter does not know or cannot be asked."""

from __future__ import annotations

import fnmatch
import re
import shlex
from pathlib import Path
from typing import NamedTuple


class Instruction(NamedTuple):
    """One instruction: its word in capitals, and the rest in one line."""

    word: str
    rest: str


def instructions(text: str) -> list[Instruction]:
    """The instructions, without comments, continued lines joined."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", " ", "\n".join(lines))
    found = [line.split(maxsplit=1) for line in joined.splitlines() if line.strip()]
    return [Instruction(word.upper(), rest) for word, rest in found]


def copied(text: str) -> list[str]:
    """What the Dockerfile takes from its context."""
    sources = []
    for word, rest in instructions(text):
        if word in ("COPY", "ADD") and "--from=" not in rest:
            *names, _ = (part for part in shlex.split(rest) if not part.startswith("--"))
            sources += names
    return sources


def ignored(name: str, ignore_file: str) -> bool:
    """Whether the context lacks `name`: the last matching line decides, and ! takes back.

    Patterns name whole paths from the context's root; `**/` stands for any folder.
    """
    verdict = False
    for line in ignore_file.splitlines():
        pattern = line.strip()
        if not pattern or pattern.startswith("#"):
            continue
        taken_back, pattern = pattern.startswith("!"), pattern.removeprefix("!")
        if _matches(name, pattern):
            verdict = not taken_back
    return verdict


def _matches(name: str, pattern: str) -> bool:
    """Whether the pattern names the path or a folder that it is in."""
    parts = Path(name).parts
    heads = ["/".join(parts[:n]) for n in range(1, len(parts) + 1)]
    if pattern.startswith("**/"):
        return any(fnmatch.fnmatch(part, pattern.removeprefix("**/")) for part in parts)
    return any(
        head.count("/") == pattern.count("/") and fnmatch.fnmatch(head, pattern) for head in heads
    )


def faults(text: str) -> list[str]:
    """Where the Dockerfile breaks our rules."""
    found = instructions(text)
    bases = [rest.split()[0] for word, rest in found if word == "FROM"]
    users = [rest for word, rest in found if word == "USER"]
    steps = [rest for word, rest in found if word == "RUN"]
    held = {
        "a base has a tag that is a version": all(re.search(r":\d", base) for base in bases),
        "the last user is a number above 0": bool(users)
        and all(part.isdigit() and int(part) > 0 for part in users[-1].split(":")),
        "no step runs as root after it": bool(users)
        and not any(word in ("RUN", "COPY") for word, _ in found[_last_user(found) :]),
        "apt-get takes no recommendations": all(
            "--no-install-recommends" in step for step in steps if "apt-get install" in step
        ),
        "apt-get leaves no lists": all(
            "rm -rf /var/lib/apt/lists/*" in step for step in steps if "apt-get" in step
        ),
        "pip takes versions from constraints.txt": all(
            "constraints.txt" in step or "--no-deps /wheels/*.whl" in step
            for step in steps
            if "pip install" in step
        ),
        "no version is written here": not any(re.search(r"[=~<>]=\s*\d", step) for step in steps),
        "no host is named": "//" not in " ".join(rest for _, rest in found),
        "nodes ask for a token": any(
            word == "ENV" and "RAY_AUTH_MODE=token" in rest for word, rest in found
        ),
    }
    return [rule for rule, holds in held.items() if not holds]


def _last_user(found: list[Instruction]) -> int:
    return max(index for index, (word, _) in enumerate(found) if word == "USER")
