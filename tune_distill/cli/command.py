"""The state that one command's studies share: store, inputs, console, and Ray if it is needed."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, redirect_stdout
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

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

Nodes = list[dict[str, float]]

_LOG_WIDTH = 100


@dataclass
class Command:
    """The state of one command.

    `ended_early`: Ctrl-C or an error ended the studies early. `results` is a folder of this
    machine; if --results names another place, it is that place's mirror.
    """

    options: Options
    results: Path
    store: Store
    console: TextConsole
    mirror: Mirror | None = None
    inputs: Inputs = field(default_factory=Inputs)
    ended_early: bool = False
    nodes: Nodes = field(default_factory=list)
    _resources: ExitStack = field(default_factory=ExitStack)
    _ray: ExitStack = field(default_factory=ExitStack)

    @classmethod
    @contextmanager
    def open(cls, options: Options) -> Iterator[Command]:
        """Yield the state of a command; a Ray that it started ends with the block.

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
            ray = resources.enter_context(ExitStack())
            command = cls(options, results, store, console, mirror, _resources=resources, _ray=ray)
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

    def join_ray(self) -> Nodes:
        """The resources of each node; Ray is started or joined at the first call."""
        if not self.nodes:
            from tune_distill.tuning.cluster import running_ray

            self.nodes = self._ray.enter_context(
                running_ray(self.options.address, self.options.nice)
            )
        return self.nodes

    def end_ray(self) -> None:
        """End a Ray that was started here; a cluster is left when the command ends."""
        if self.options.address is None:
            self._ray.close()

    def start_ray(self) -> Nodes:
        """As `join_ray`, and let workers on all nodes reach the store."""
        if not self.nodes and self.options.address is not None:
            self.join_ray()
            from tune_distill.tuning.relay import shared

            # Nodes may come at any time, and need not see the store's folder.
            self.store.place = self._resources.enter_context(shared(self.store.place))
        return self.join_ray()

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


def _line(text: str) -> Text:
    """The text, not wrapped: terminals fold it, and readers of a pipe get it whole."""
    return Text(printable(text), no_wrap=True, overflow="ignore")
