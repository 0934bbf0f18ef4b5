"""Tables packed to travel as lines of text, through a job's log, and unpacked where they arrive.

    python -m tune_distill.records.parcel RESULTS STUDY...

prints them: a line that says what comes, lines of a compressed tar in base64, and a line with their
number and digest. Other lines may stand between them, as warnings do in a log. Both sides hold one
line at a time.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
import json
import re
import shutil
import sys
import tarfile
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from tune_distill.records.files import atomic_file
from tune_distill.records.places import Place
from tune_distill.records.tables import TRIALS_FILE
from tune_distill.records.uris import open_place
from tune_distill.spec.errors import ClusterError, StoreError, TuneDistillError

EXIT_COMPLETE, EXIT_USAGE = 0, 2

_MARK = "tune_distill-parcel"
_BEGIN, _DATA, _END = (f"{_MARK} {kind} " for kind in ("begin", "data", "end"))
_LINE_BYTES = 3 * 2**16
"""Of the tar, in one line; a multiple of 3, so that base64 pads the last line only."""

_FILE = re.compile(r"[a-z_]+\.(parquet|csv)|study\.yaml|environment\.json")
_MEMBER = re.compile(rf"[A-Za-z0-9][A-Za-z0-9_-]*/({_FILE.pattern})")


@dataclass(frozen=True)
class Parcel:
    """Which studies' tables it holds, and which of those asked for have none yet."""

    studies: tuple[str, ...]
    missing: tuple[str, ...]


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the tables; the exit code: 0 packed, 2 there are none."""
    results, *studies = sys.argv[1:] if arguments is None else arguments
    try:
        pack(open_place(results, "--results"), studies, _print_line)
    except TuneDistillError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_USAGE
    return EXIT_COMPLETE


def pack(results: Place, studies: Sequence[str], write: Callable[[str], None]) -> None:
    """Each line of the parcel with these studies' tables was given to `write`.

    Raises:
        StoreError: none of them has tables.
    """
    present = [study for study in studies if results.exists(f"{study}/{TRIALS_FILE}")]
    missing = [study for study in studies if study not in present]
    if not present:
        raise StoreError(
            f"{results.where()}: must hold the tables of {', '.join(studies)}, got none; a study "
            "writes them when it ends"
        )
    write(_BEGIN + json.dumps({"studies": present, "missing": missing}))
    lines = _Lines(write)
    with tarfile.open(fileobj=lines, mode="w|gz") as archive:
        for study in present:
            for name in _tables(results.names(study)):
                # A writer may replace it meanwhile: what was opened stays whole.
                with results.reading(f"{study}/{name}") as path, path.open("rb") as stream:
                    member = archive.gettarinfo(arcname=f"{study}/{name}", fileobj=stream)
                    archive.addfile(member, stream)
    lines.end()


def unpack(lines: Iterable[str], results: Path) -> Parcel:
    """The tables in the parcel replace those in `results`, all of them or none.

    Raises:
        ClusterError: no whole parcel is in these lines.
        StoreError: `results` cannot be written.
    """
    stream = _Stream(lines)
    with ExitStack() as files:
        try:
            with tarfile.open(fileobj=stream, mode="r|gz") as archive:
                for member in archive:
                    _unpack_member(archive, member, results, files)
            stream.finish()
        except (tarfile.TarError, zlib.error, EOFError) as error:
            raise _broken(f"{type(error).__name__}: {error}") from error
    assert stream.parcel is not None
    return stream.parcel


def _unpack_member(
    archive: tarfile.TarFile, member: tarfile.TarInfo, results: Path, files: ExitStack
) -> None:
    if not member.isreg() or not _MEMBER.fullmatch(member.name):
        raise _broken(f"the file {member.name!r}, which is no table")
    content = archive.extractfile(member)
    assert content is not None, "it is a regular file"
    # Replaced when all have arrived, the first one last: that is trials.parquet.
    temporary = files.enter_context(atomic_file(results / member.name))
    with temporary.open("wb") as target:
        shutil.copyfileobj(content, target)


def _tables(names: Sequence[str]) -> list[str]:
    """The tables and what tells of them; trials.parquet, without which there are none, first."""
    found = [name for name in names if _FILE.fullmatch(name)]
    return sorted(found, key=lambda name: name != TRIALS_FILE)


def _print_line(line: str) -> None:
    # In one piece: what others write to the same log must not come between a line and its end.
    sys.stdout.write(line + "\n")


def _broken(got: str) -> ClusterError:
    return ClusterError(f"fetch: the tables must arrive whole, got {got}; fetch them again")


class _Lines(io.RawIOBase):
    """Takes the bytes of a tar and gives them away as lines."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write_line = write
        self._waiting = bytearray()
        self._digest = hashlib.sha256()
        self._num_lines = 0

    def write(self, content: bytes) -> int:  # type: ignore[override]
        self._waiting += content
        while len(self._waiting) >= _LINE_BYTES:
            self._line(_LINE_BYTES)
        return len(content)

    def end(self) -> None:
        """The rest, and the line that says it is whole."""
        if self._waiting:
            self._line(len(self._waiting))
        self._write_line(f"{_END}{self._num_lines} {self._digest.hexdigest()}")

    def _line(self, size: int) -> None:
        part = bytes(self._waiting[:size])
        del self._waiting[:size]
        self._digest.update(part)
        self._num_lines += 1
        self._write_line(_DATA + base64.b64encode(part).decode("ascii"))


class _Stream(io.RawIOBase):
    """The bytes of the tar in these lines."""

    def __init__(self, lines: Iterable[str]) -> None:
        self.parcel: Parcel | None = None
        self._others: deque[str] = deque(maxlen=10)
        self._parts = self._read_parts(iter(lines))
        self._waiting = bytearray()

    def read(self, size: int = -1) -> bytes:
        while len(self._waiting) < size and (part := next(self._parts, None)) is not None:
            self._waiting += part
        content = bytes(self._waiting[:size])
        del self._waiting[:size]
        return content

    def finish(self) -> None:
        """All lines were read, and they are those that were sent."""
        for _ in self._parts:
            pass

    def _read_parts(self, lines: Iterator[str]) -> Iterator[bytes]:
        digest, num_lines = hashlib.sha256(), 0
        for line in lines:
            text = line.rstrip("\n")
            if text.startswith(_BEGIN):
                said = json.loads(text.removeprefix(_BEGIN))
                self.parcel = Parcel(tuple(said["studies"]), tuple(said["missing"]))
            elif text.startswith(_DATA):
                part = _decoded(text.removeprefix(_DATA))
                digest.update(part)
                num_lines += 1
                yield part
            elif text.startswith(_END):
                if text != f"{_END}{num_lines} {digest.hexdigest()}":
                    raise _broken("others than were sent")
                return
            else:
                self._others.append(text)
        raise _broken("no end") if self.parcel else self._nothing()

    def _nothing(self) -> ClusterError:
        """Why no parcel came: in the packer's own words, if it has said something."""
        for text in self._others:
            if text.startswith("error: "):
                return ClusterError(text.removeprefix("error: "))
        return _broken(f"none; the job's log ends with: {' | '.join(self._others) or 'nothing'}")


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise _broken("a damaged line") from error


if __name__ == "__main__":
    sys.exit(main())
