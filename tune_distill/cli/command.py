"""The state that one command's studies share: store, inputs, console and executor."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, redirect_stdout
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.text import Text

from tune_distill.analysis.summary import Counts
from tune_distill.cli.console import TextConsole
from tune_distill.cli.options import Options
from tune_distill.cli.progress import duration_text
from tune_distill.records.outputs import Outputs, opened
from tune_distill.spec.printable import json_line, printable
from tune_distill.spec.redaction import redacted
from tune_distill.training.inputs import Inputs
from tune_distill.tuning.ray_executor import RayExecutor

if TYPE_CHECKING:
    from tune_distill.tuning.inline_executor import InlineExecutor

_LOG_WIDTH = 100


@dataclass
class Command:
    """The state of one command."""

    options: Options
    outputs: Outputs
    console: TextConsole
    executor: RayExecutor | InlineExecutor
    inputs: Inputs = field(default_factory=Inputs)

    @classmethod
    @contextmanager
    def open(cls, options: Options) -> Iterator[Command]:
        """Yield the state of a command, and close its executor after the block.

        In the block, output of libraries goes to the standard error stream.
        """
        # A pipe has no width, and rich would assume a narrow terminal.
        console = TextConsole(width=None if sys.stdout.isatty() else _LOG_WIDTH)
        with (
            redirect_stdout(sys.stderr),
            opened(options.results, options.store) as outputs,
            closing(_executor(options)) as executor,
        ):
            command = cls(options, outputs, console, executor)
            # Report at once what was read, before hours of training on it.
            command.inputs.tell = command.say
            yield command

    def say(self, *parts: Any) -> None:
        """Show the parts one below the other, with no other output between them.

        With --quiet or --json, show nothing.
        """
        if not self.options.quiet and not self.options.json:
            lines = [_line(part) if isinstance(part, str) else part for part in parts]
            self.console.print(Group(*lines), crop=False)

    def tell(self, shown: Sequence[Any], summary: Mapping[str, Any]) -> None:
        """Show a study's results and the lines of its verdict."""
        if self.options.json:
            self.emit({"event": "verdict", **summary})
        self.say(*shown, *summary["lines"])

    def say_last(self, line: str) -> None:
        """Show a line even with --quiet."""
        self.console.print(_line(line), crop=False)

    def emit(self, event: Mapping[str, Any]) -> None:
        """Print the event as a line of JSON."""
        self.console.out(json_line(event), highlight=False)

    def conclude(self, total: Counts, elapsed_s: float) -> None:
        """Show the last line: counts of trials and of those that needed no training, and time."""
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

        return InlineExecutor(options.cpus_per_trial)
    return RayExecutor(options.resources, options.address, options.nice)


def _line(text: str) -> Text:
    """Return the text without wrapping: a terminal folds it, and a pipe gets whole lines."""
    return Text(printable(text), no_wrap=True, overflow="ignore")
