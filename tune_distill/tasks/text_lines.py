"""Reads the lines of a text file with strict decoding; each fault is reported with its line."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from pathlib import Path

from tune_distill.spec.errors import DataError

_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def numbered_lines(path: Path, newline: str) -> Iterator[tuple[int, str]]:
    """Yield each line after its number, from 1; `newline` is that of `open`.

    The encoding is UTF-8, with or without a byte order mark, or UTF-16 with one.

    Raises:
        DataError: bytes are not in this encoding, or a line has a NUL character.
    """
    encoding = _encoding(path)
    try:
        with path.open(encoding=encoding, newline=newline) as stream:
            for number, line in enumerate(stream, start=1):
                if "\0" in line:
                    raise DataError(
                        f"{path} line {number}: must be text, got a NUL character; "
                        "save the file again as UTF-8"
                    )
                yield number, line
    except UnicodeDecodeError as error:
        number = _undecodable_line(path, encoding)
        name = "UTF-16" if encoding == "utf-16" else "UTF-8"
        raise DataError(
            f"{path} line {number}: must be text in {name}, got other bytes; "
            "save the file again as UTF-8"
        ) from error


def _encoding(path: Path) -> str:
    with path.open("rb") as stream:
        return "utf-16" if stream.read(2) in _UTF16 else "utf-8-sig"


def _undecodable_line(path: Path, encoding: str) -> int:
    """Return the line of the first undecodable bytes; a stream's error only refers to its block."""
    data = path.read_bytes()
    try:
        data.decode(encoding)
    except UnicodeDecodeError as error:
        # utf-8-sig counts from after the byte order mark; in plain UTF-8 the mark is a character.
        plain = encoding.removesuffix("-sig")
        mark = len(codecs.BOM_UTF8) if data.startswith(codecs.BOM_UTF8) else 0
        before = data[: mark + error.start].decode(plain, errors="ignore")
        return len(before.replace("\r\n", "\n").replace("\r", "\n").split("\n"))
    return 1
