"""The state that one command's studies share: store, inputs, console and executor."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager, redirect_stdout
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.text import Text

from tune_distill.analysis.summary import Counts
from tune_distill.cli.console import TextConsole
from tune_distill.cli.options import Options
from tune_distill.cli.progress import duration_text
from tune_distill.records.copies import Copies
from tune_distill.records.files import require_writable
from tune_distill.records.mirror import Mirror, mirrored
from tune_distill.records.store import Store
from tune_distill.records.uris import is_remote, local_path, open_place
from tune_distill.spec.printable import json_line, printable
from tune_distill.spec.redaction import redacted
from tune_distill.training.inputs import Inputs
from tune_distill.tuning.ray_executor import RayExecutor

if TYPE_CHECKING:
    from tune_distill.tuning.inline_executor import InlineExecutor

_LOG_WIDTH = 100


@dataclass
class Command:
    """The state of one command.

    `results` is a folder of this machine; if --results names another place, it is that place's
    mirror.
    """

    options: Options
    results: Path
    store: Store
    console: TextConsole
    executor: RayExecutor | InlineExecutor
    mirror: Mirror | None = None
    inputs: Inputs = field(default_factory=Inputs)

    @classmethod
    @contextmanager
    def open(cls, options: Options) -> Iterator[Command]:
        """Yield the state of a command; its executor is closed after the block.

        In the block, what libraries print goes to the standard error stream.
        """
        store_uri = options.store or f"{options.results.rstrip('/')}/.store"
        store = Store(open_place(store_uri, "--store"))
        # A pipe has no width of its own, and rich would take it for a narrow terminal.
        console = TextConsole(width=None if sys.stdout.isatty() else _LOG_WIDTH)
        with redirect_stdout(sys.stderr), ExitStack() as resources:
            mirror = None
            if is_remote(options.results):
                place = open_place(options.results, "--results")
                assert isinstance(place, Copies)
                mirror = resources.enter_context(mirrored(place))
                results = mirror.folder
            else:
                results = local_path(options.results, "--results")
            executor = resources.enter_context(closing(_executor(options)))
            command = cls(options, results, store, console, executor, mirror)
            # What was read is told at once, before hours of training on it.
            command.inputs.tell = command.say
            yield command

    def require_writable(self) -> None:
        """Check that results and store can be written, before a worker starts.

        Raises:
            StoreError: one of them cannot.
        """
        require_writable(self.results)
        self.store.place.require_writable()

    def fetch(self) -> None:
        """Copy what earlier commands left at a remote --results to this machine."""
        if self.mirror is not None:
            self.mirror.fetch()

    def publish(self) -> None:
        """Copy what was written to results to a remote --results."""
        if self.mirror is not None:
            self.mirror.publish()

    def say(self, *parts: Any) -> None:
        """Show the parts one below the other, with no other output between them.

        Shows nothing if only the last line or JSON was asked for.
        """
        if not self.options.quiet and not self.options.json:
            lines = [_line(part) if isinstance(part, str) else part for part in parts]
            self.console.print(Group(*lines), crop=False)

    def tell(self, shown: Sequence[Any], summary: Mapping[str, Any]) -> None:
        """Show what became of a study, and in three lines what the statistics say of it."""
        if self.options.json:
            self.emit({"event": "verdict", **summary})
        self.say(*shown, *summary["lines"])

    def say_last(self, line: str) -> None:
        """Show a line that --quiet leaves."""
        self.console.print(_line(line), crop=False)

    def emit(self, event: Mapping[str, Any]) -> None:
        """Print the event as a line of JSON."""
        self.console.out(json_line(event), highlight=False)

    def conclude(self, total: Counts, elapsed_s: float) -> None:
        """Show the last line: what was run, and how many trials needed no training."""
        if self.options.json:
            self.emit({"event": "end", **asdict(total), "elapsed_s": elapsed_s})
        else:
            self.say_last(
                f"{total.sentence()}; {duration_text(elapsed_s)}; "
                f"report in {redacted(self.options.results.rstrip('/'))}/report.html"
            )


def _executor(options: Options) -> RayExecutor | InlineExecutor:
    if options.executor == "inline":
        # torch takes seconds to import, and only this executor needs it here.
        from tune_distill.tuning.inline_executor import InlineExecutor

        return InlineExecutor(options.resources)
    return RayExecutor(options.resources, options.address, options.nice)


def _line(text: str) -> Text:
    """The text, not wrapped: terminals fold it, and readers of a pipe get it whole."""
    return Text(printable(text), no_wrap=True, overflow="ignore")
