"""Reading a parcel's lines: its announcement, its limits on size, and its digest."""

from __future__ import annotations

import base64
import binascii
import hashlib
import zlib
from collections import deque
from collections.abc import Iterable, Iterator, Sequence

from pydantic import BaseModel, ConfigDict, ValidationError

from tune_distill.records.arrived import FILES, broken
from tune_distill.records.tables import TRIALS_FILE
from tune_distill.spec.errors import ClusterError

_MARK = "tune_distill-parcel"
BEGIN, DATA, END = (f"{_MARK} {kind} " for kind in ("begin", "data", "end"))

LINE_BYTES = 3 * 2**16
"""Compressed bytes per line; a multiple of 3, so that base64 pads the last line only."""

TOTAL_BYTES = 8 * 2**30
"""The most that the files of one parcel may have together; FILES limits each of them."""

_LINE_CHARACTERS = 2**20
_OUTPUT_BYTES = 2**20
# What deflate adds to bytes that do not compress, and its frame.
_OVERHEAD = 1.01
_FRAME_BYTES = 2**12


class Announcement(BaseModel):
    """The first line of a parcel.

    `studies` are those with tables, and `missing` the requested ones without. `files` lists
    (`<study>/<file>`, size in bytes) in the order of sending.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    studies: tuple[str, ...]
    missing: tuple[str, ...]
    files: tuple[tuple[str, int], ...]


def read_parcel(
    lines: Iterable[str], studies: Sequence[str]
) -> tuple[Announcement, Iterator[bytes]]:
    """Return the announcement, and an iterator over the bytes of all files in its order.

    Raises:
        ClusterError: the lines contain no parcel, or it announces files other than tables of these
            studies, or too many bytes. The iterator raises it if the bytes are not those sent.
    """
    remaining = iter(lines)
    others: deque[str] = deque(maxlen=10)
    for line in remaining:
        text = line.rstrip("\n")
        if text.startswith(BEGIN):
            announced = _announcement(text.removeprefix(BEGIN), studies)
            return announced, _inflated(remaining, sum(size for _, size in announced.files))
        if text.startswith((DATA, END)):
            raise broken("no first line")
        others.append(text[:300])
    raise _nothing(others)


def _announcement(text: str, studies: Sequence[str]) -> Announcement:
    if len(text) > _LINE_CHARACTERS:
        raise broken("a first line of another form")
    try:
        announced = Announcement.model_validate_json(text)
    except ValidationError as error:
        raise broken("a first line of another form") from error
    if sorted(announced.studies + announced.missing) != sorted(set(studies)):
        told = ", ".join(announced.studies)[:200] or "none"
        raise broken(f"an answer for other studies than {', '.join(studies)}, namely {told}")
    names = [name for name, _ in announced.files]
    if len(set(names)) < len(names):
        raise broken("a file that is announced twice")
    for name, size in announced.files:
        study, _, file = name.partition("/")
        if study not in announced.studies or file not in FILES:
            raise broken(f"the file {name[:200]!r}, which is no table of these studies")
        if not 0 <= size <= FILES[file]:
            raise broken(f"{name} with {size} bytes, of at most {FILES[file]}")
    if any(f"{study}/{TRIALS_FILE}" not in names for study in announced.studies):
        raise broken(f"a study without {TRIALS_FILE}")
    if sum(size for _, size in announced.files) > TOTAL_BYTES:
        raise broken(f"more than {TOTAL_BYTES} bytes")
    return announced


def _inflated(lines: Iterator[str], size: int) -> Iterator[bytes]:
    """Yield the decompressed bytes of the lines; raise ClusterError if there are not `size`."""
    inflater, left = zlib.decompressobj(), size
    try:
        for part in _parts(lines, int(size * _OVERHEAD) + _FRAME_BYTES):
            waiting = part
            while waiting:
                content = inflater.decompress(waiting, _OUTPUT_BYTES)
                left -= len(content)
                if left < 0 or inflater.unused_data:
                    raise broken("more than was announced")
                waiting = inflater.unconsumed_tail
                if content:
                    yield content
        if not inflater.eof:
            raise broken("no end of the compressed bytes")
    except zlib.error as error:
        raise broken(f"damaged bytes ({error})") from error


def _parts(lines: Iterator[str], limit: int) -> Iterator[bytes]:
    """Yield the compressed bytes of each data line, then check them against the last line."""
    digest, num_lines, num_bytes = hashlib.sha256(), 0, 0
    for line in lines:
        text = line.rstrip("\n")
        if text.startswith(BEGIN):
            raise broken("a second first line")
        if text.startswith(END):
            if text != f"{END}{num_lines} {digest.hexdigest()}":
                raise broken("others than were sent")
            return
        if text.startswith(DATA):
            part = _decoded(text.removeprefix(DATA))
            num_bytes += len(part)
            if num_bytes > limit:
                raise broken("more than was announced")
            digest.update(part)
            num_lines += 1
            yield part
    raise broken("no end")


def _decoded(text: str) -> bytes:
    if len(text) > _LINE_CHARACTERS:
        raise broken("a line that is too long")
    try:
        return base64.b64decode(text, validate=True)
    # b64decode raises a plain ValueError for text outside ASCII.
    except (binascii.Error, ValueError) as error:
        raise broken("a damaged line") from error


def _nothing(others: Iterable[str]) -> ClusterError:
    """Return the error for lines without a parcel: the packer's own error if they contain one."""
    for text in others:
        if text.startswith("error: "):
            return ClusterError(text.removeprefix("error: "))
    told = " | ".join(others)[:600] or "nothing"
    return broken(f"none; the job's log ends with: {told}")
