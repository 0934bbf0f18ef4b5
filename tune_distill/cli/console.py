"""The console that shows studies, without interpreting markup in texts."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import IO, Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from tune_distill.spec.printable import printable


class TextConsole(Console):
    """A console without markup and emoji codes; control characters are shown as escapes."""

    def __init__(
        self,
        file: IO[str] | None = None,
        width: int | None = None,
        force_terminal: bool | None = None,
    ) -> None:
        # A console moves the cursor itself, so its own output must not be escaped.
        super().__init__(
            file=file or getattr(sys.stdout, "unescaped", sys.stdout),
            width=width,
            force_terminal=force_terminal,
            highlight=False,
            markup=False,
            emoji=False,
        )

    def render_str(self, text: str, **settings: Any) -> Text:
        # Escape before measuring, so that columns fit.
        return super().render_str(printable(text), **settings)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        for text, style, control in super().render(renderable, options):
            yield Segment(text if control else printable(text), style, control)
