"""The memory that a data source may take on this machine."""

from __future__ import annotations

import os
from pathlib import Path

from tune_distill.spec.errors import DataError

SHARE = 4
"""A source may take 1/SHARE of the memory; tokens and a student need memory too."""

ROW_BYTES = 512
"""The memory that a row takes besides its texts: Python objects, their references and digests."""

# Files that hold a container's limit, in the second and the first version of control groups.
_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)


def memory_bytes() -> int:
    """Return the bytes of memory of this machine, or of this container if its limit is lower."""
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min([physical, *filter(None, map(_limit, _LIMITS))])


class Room:
    """The memory that a data source may still take."""

    def __init__(self) -> None:
        self.total = memory_bytes() // SHARE
        self.left = self.total

    def take(self, where: object, num_rows: int, num_bytes: int) -> None:
        """Subtract the memory of `num_rows` rows with `num_bytes` bytes of text in all.

        Raises:
            DataError: they do not fit.
        """
        self.require(where, num_rows, num_bytes)
        self.left -= num_rows * ROW_BYTES + num_bytes

    def require(self, where: object, num_rows: int, num_bytes: int) -> None:
        """Raise DataError if `num_rows` rows with `num_bytes` bytes of text in all do not fit."""
        if num_rows * ROW_BYTES + num_bytes > self.left:
            raise DataError(
                f"{where}: a data source must fit into a quarter of this machine's memory "
                f"({_gigabytes(self.total)}), got a larger one; keep fewer rows or shorter texts, "
                "or use a larger machine"
            )


def _limit(path: Path) -> int | None:
    """Return the limit in a control group's file; None without one ("max", or no such file)."""
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.1f} GB"
