"""Tables and lines of text down the terminal, none of them cut short."""

from __future__ import annotations

from collections.abc import Sequence
from io import StringIO
from typing import Any

from rich.console import Console
from rich.table import Table

WIDTH, HEIGHT = 10_000, 25
"""Characters that no line exceeds. Both are given because rich ignores a width without a height on
a terminal that it knows nothing of (TERM=dumb), and cuts every column to fit 80 characters."""


class _WideConsole(Console):
    """Prints tables at their natural width: a number that is cut short is a wrong number."""

    def __init__(self, **options: Any) -> None:
        super().__init__(width=WIDTH, height=HEIGHT, highlight=False, emoji=False, **options)

    def on_broken_pipe(self) -> None:
        """Leave the error to the caller; rich would exit."""
        raise BrokenPipeError


def plain_table(first: str) -> Table:
    """A table without lines, of one column so far."""
    table = Table(box=None, padding=(0, 0, 0, 1), pad_edge=False, header_style="bold")
    table.add_column(first, no_wrap=True)
    return table


def factor(value: float) -> str:
    """One decimal, or two digits where that would say little."""
    return f"{value:.1f}" if value >= 1 else f"{value:.2g}"


def console() -> Console:
    """A console on stdout that cuts nothing."""
    return _WideConsole()


def text(parts: Sequence[Table | str]) -> str:
    """The parts as plain text."""
    with StringIO() as file:
        draw(parts, _WideConsole(file=file, color_system=None))
        return file.getvalue()


def draw(parts: Sequence[Table | str], console: Console) -> None:
    """Print the parts, one below the other."""
    for part in parts:
        console.print(part, markup=False, soft_wrap=isinstance(part, str))
