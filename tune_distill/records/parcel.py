"""A parcel: tables as lines of text, which a job prints to its log and `fetch` unpacks.

    python -m tune_distill.records.parcel RESULTS STUDY...

prints a line that announces the files and their sizes, lines of their compressed bytes in base64,
and a line with the number of those lines and their digest. Other lines, such as warnings in the
log, may come between them. Packing and unpacking hold one line in memory at a time.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

from tune_distill.records.announcement import (
    BEGIN,
    DATA,
    END,
    LINE_BYTES,
    Announcement,
    read_parcel,
)
from tune_distill.records.arrived import (
    FILES,
    broken,
    replace_together,
    require_tables,
    waiting_folder,
)
from tune_distill.records.names import joined
from tune_distill.records.places import Place
from tune_distill.records.refusals import explained
from tune_distill.records.tables import TRIALS_FILE
from tune_distill.records.uris import open_place
from tune_distill.spec.errors import StoreError, TuneDistillError

EXIT_COMPLETE, EXIT_USAGE = 0, 2

_CHUNK_BYTES = 2**20


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables; return the exit code: 0 if they were packed, 2 if there are none."""
    results, *studies = sys.argv[1:] if arguments is None else arguments
    try:
        pack(open_place(results, "--results"), studies, _print_line)
    except TuneDistillError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_USAGE
    return EXIT_COMPLETE


def pack(results: Place, studies: Sequence[str], write: Callable[[str], None]) -> None:
    """Call `write` with each line of the parcel of these studies' tables.

    Raises:
        StoreError: none of the studies has tables.
    """
    present = [study for study in studies if results.exists(f"{study}/{TRIALS_FILE}")]
    missing = [study for study in studies if study not in present]
    if not present:
        raise StoreError(
            f"{results.where()}: must hold the tables of {', '.join(studies)}, got none; a study "
            "writes them when it ends"
        )
    with ExitStack() as opened:
        # A writer may replace a table meanwhile. An open file keeps the announced content.
        streams = {
            f"{study}/{name}": _open(results, f"{study}/{name}", opened)
            for study in present
            for name in sorted(FILES.keys() & set(results.names(study)))
        }
        files = tuple((name, os.fstat(stream.fileno()).st_size) for name, stream in streams.items())
        announced = Announcement(studies=tuple(present), missing=tuple(missing), files=files)
        # json.dumps writes ASCII, which survives any encoding of the log.
        write(BEGIN + json.dumps(announced.model_dump()))
        _write_data(streams.values(), write)


def unpack(lines: Iterable[str], results: Path, studies: Sequence[str]) -> Announcement:
    """Replace the tables of these studies in `results` by those in the parcel, all or none.

    All files are received and checked in a hidden folder of `results` before the first one is
    replaced.

    Raises:
        ClusterError: the lines contain no complete and valid parcel of these studies.
        StoreError: `results` cannot be written.
    """
    with waiting_folder(results) as folder:
        announced, chunks = read_parcel(lines, studies)
        waiting = bytearray()
        for name, size in announced.files:
            path = joined(folder, name)
            with explained(path):
                path.parent.mkdir(exist_ok=True)
                with path.open("wb") as target:
                    _fill(target, size, chunks, waiting)
        # any() reads the lines to the last one, which is checked against all others.
        if waiting or any(chunks):
            raise broken("more than was announced")
        for study in announced.studies:
            require_tables(folder, study, [name for name, _ in announced.files])
        replace_together(folder, results, [name for name, _ in announced.files])
    return announced


def _open(results: Place, name: str, opened: ExitStack) -> BinaryIO:
    path = opened.enter_context(results.reading(name))
    return opened.enter_context(path.open("rb"))


def _write_data(streams: Iterable[BinaryIO], write: Callable[[str], None]) -> None:
    """Write the data lines with the compressed bytes of the streams, and the last line."""
    compressor, digest = zlib.compressobj(), hashlib.sha256()
    waiting, num_lines = bytearray(), 0

    def write_lines(least: int) -> None:
        nonlocal num_lines
        while len(waiting) >= least:
            part = bytes(waiting[:LINE_BYTES])
            del waiting[:LINE_BYTES]
            digest.update(part)
            num_lines += 1
            write(DATA + base64.b64encode(part).decode("ascii"))

    for stream in streams:
        while content := stream.read(_CHUNK_BYTES):
            waiting += compressor.compress(content)
            write_lines(LINE_BYTES)
    waiting += compressor.flush()
    write_lines(1)
    write(f"{END}{num_lines} {digest.hexdigest()}")


def _fill(target: BinaryIO, size: int, chunks: Iterator[bytes], waiting: bytearray) -> None:
    """Write the next `size` bytes to `target`; bytes received beyond them stay in `waiting`."""
    while size:
        if not waiting:
            chunk = next(chunks, None)
            if chunk is None:
                raise broken("fewer bytes than were announced")
            waiting += chunk
        written = target.write(waiting[:size])
        del waiting[:written]
        size -= written


def _print_line(line: str) -> None:
    # A single write, so that other output in the same log cannot split the line.
    sys.stdout.write(line + "\n")


if __name__ == "__main__":
    sys.exit(main())
