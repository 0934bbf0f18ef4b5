"""The frame of all commands: output that may be refused, errors in one line, and signals.

The terminal, pipe or file that a command writes to may be closed or full, or lack characters. The
command goes on all the same, because its tables matter more than its output.
"""

from __future__ import annotations

import errno
import gc
import io
import logging
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from typing import NoReturn, TextIO

from tune_distill.spec.errors import TuneDistillError
from tune_distill.spec.printable import printable
from tune_distill.tuning.signals import ended_by_signals

EXIT_COMPLETE, EXIT_SOME_FAILED, EXIT_USAGE = 0, 1, 2
EXIT_OUTPUT_GONE = 128 + signal.SIGPIPE
"""The exit code that a shell reports for a process killed by SIGPIPE."""

# Matches only at the start of a write, because our own lines start with words.
_BAR_MOVES = re.compile(r"\r|(\x1b\[A)+$")
_NO_MOVES = re.compile("(?!)")


class Tolerant(io.TextIOBase):
    """A text stream that ignores errors of the wrapped one: after the first, it writes nothing.

    Characters that the stream's encoding lacks are written as escapes. `stream` is None if the
    process was started without it. `warn` is called with the error, unless a pipe's reader left.
    """

    def __init__(self, stream: TextIO | None, warn: Callable[[str], object]) -> None:
        self._stream, self._warn = stream, warn
        self.refused = False

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return getattr(self._stream, "encoding", None) or "utf-8"

    def write(self, text: str) -> int:
        if not self.refused:
            encoding = self.encoding
            fitting = text.encode(encoding, "backslashreplace").decode(encoding)
            self._try(lambda stream: stream.write(fitting))
        return len(text)

    def flush(self) -> None:
        if not self.refused and self._stream is not None:
            self._try(lambda stream: stream.flush())

    def isatty(self) -> bool:
        return not self.refused and self._stream is not None and self._stream.isatty()

    def fileno(self) -> int:
        if self._stream is None:
            raise io.UnsupportedOperation("the process has no such stream")
        return self._stream.fileno()

    def writable(self) -> bool:
        return True

    def _try(self, act: Callable[[TextIO], object]) -> None:
        try:
            if self._stream is None:
                raise OSError(errno.EBADF, "it is closed")
            act(self._stream)
        # A closed stream raises ValueError.
        except (OSError, ValueError) as error:
            self.refused = True
            if not isinstance(error, BrokenPipeError):
                self._warn(getattr(error, "strerror", None) or str(error))


class Escaping(io.TextIOBase):
    """Writes to another stream with control characters as escapes.

    `unescaped` is that other stream, for a console that moves the cursor itself. With `bars`,
    progress bars of libraries may move the cursor to the start of a line and up.
    """

    def __init__(self, unescaped: Tolerant, *, bars: bool = False) -> None:
        self.unescaped = unescaped
        self._moves = _BAR_MOVES if bars else _NO_MOVES

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self.unescaped.encoding

    def write(self, text: str) -> int:
        moves = self._moves.match(text)
        start = moves.end() if moves else 0
        self.unescaped.write(text[:start] + printable(text[start:]))
        return len(text)

    def flush(self) -> None:
        self.unescaped.flush()

    def isatty(self) -> bool:
        return self.unescaped.isatty()

    def fileno(self) -> int:
        return self.unescaped.fileno()

    def writable(self) -> bool:
        return True


def output_is_gone() -> bool:
    """Return whether the standard output has refused a write."""
    return isinstance(sys.stdout, Escaping) and sys.stdout.unescaped.refused


def run_front_door(run: Callable[[], int], interrupted: str) -> int:
    """Return the exit code of `run`; show a TuneDistillError or an interruption in one message.

    While it runs, output and logs are escaped and may be refused, and signals end it. Afterwards
    streams, loggers and signals are restored.
    """
    with _safe_streams() as output, _logged(), ended_by_signals(lambda: _say_last(output)):
        try:
            return run()
        except KeyboardInterrupt:
            print(interrupted, file=sys.stderr)
            return EXIT_SOME_FAILED
        except TuneDistillError as error:
            print(f"error: {error}", file=sys.stderr)
            return EXIT_USAGE


def run_as_process(main: Callable[[], int]) -> NoReturn:
    """End this process with the exit code of `main`, even if its output was refused."""
    _take_free_descriptors()
    try:
        code = main()
    except SystemExit as end:
        # argparse has printed the usage.
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    # Only Python's own shutdown is left to interrupt.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            _give_up_what_is_refused(stream)
    # Collecting garbage at the end would take Python a second.
    gc.freeze()
    sys.exit(code)


def _give_up_what_is_refused(stream: TextIO) -> None:
    """Flush the stream, or redirect it to /dev/null: Python would try again, and exit with 120."""
    try:
        stream.flush()
    except (OSError, ValueError):
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _take_free_descriptors() -> None:
    """Open /dev/null for each standard stream that the process lacks.

    Otherwise the next opened file gets its number, and receives the output of child processes.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)


@contextmanager
def _safe_streams() -> Iterator[Escaping]:
    """Let the standard streams escape and tolerate in the block; yield the standard output."""
    errors = Tolerant(sys.stderr, lambda reason: None)

    def warn(reason: str) -> None:
        errors.write(f"warning: standard output: must take what is shown, got {reason}\n")

    output = Escaping(Tolerant(sys.stdout, warn))
    with redirect_stdout(output), redirect_stderr(Escaping(errors, bars=True)):
        try:
            yield output
        finally:
            output.flush()
            errors.flush()


@contextmanager
def _logged() -> Iterator[None]:
    """Log warnings and errors to the standard error stream in the block.

    If the process has configured logging itself, change nothing.
    """
    root = logging.getLogger()
    if root.handlers:
        yield
        return
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.setLevel(level)


def _say_last(output: Escaping) -> None:
    """Say that the command ends at once, and restore the terminal's cursor."""
    if output.isatty():
        print("\x1b[?25h", end="", file=output.unescaped, flush=True)
    print("ended at once; run the same command again to go on", file=sys.stderr, flush=True)
