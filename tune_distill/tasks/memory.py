"""How much text a data source may hold on this machine."""

from __future__ import annotations

import os
from pathlib import Path

from tune_distill.spec.errors import DataError

SHARE = 4
"""A source may take one part in so many of the memory: tokens and a student come on top."""

ROW_BYTES = 512
"""What a row takes beside its texts: Python's objects, their references and their digests."""

# What a container may use, under the second and the first version of control groups.
_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)


def memory_bytes() -> int:
    """Memory of this machine, or of this container where it may use less."""
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([physical, *filter(None, map(_limit, _LIMITS))])


class Room:
    """What a data source may still take of the memory."""

    def __init__(self) -> None:
        self.total = memory_bytes() // SHARE
        self.left = self.total

    def take(self, where: object, num_rows: int, num_bytes: int) -> None:
        """Count so many rows with so many bytes of text.

        Raises:
            DataError: they do not fit.
        """
        self.require(where, num_rows, num_bytes)
        self.left -= num_rows * ROW_BYTES + num_bytes

    def require(self, where: object, num_rows: int, num_bytes: int) -> None:
        """Raise DataError if so many rows with so many bytes of text do not fit."""
        if num_rows * ROW_BYTES + num_bytes > self.left:
            raise DataError(
                f"{where}: a data source must fit into a quarter of this machine's memory "
                f"({_gigabytes(self.total)}), got a larger one; keep fewer rows or shorter texts, "
                "or use a larger machine"
            )


def _limit(path: Path) -> int | None:
    """The limit in a control group's file; None where there is none ("max", or no such file)."""
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.1f} GB"
