"""Tables and lines of text down the terminal, none of them cut short."""

from __future__ import annotations

from collections.abc import Sequence
from io import StringIO

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

UNLIMITED = 1_000
"""Columns that no table needs."""


def plain_table(first: str) -> Table:
    """A table without lines, of one column so far."""
    table = Table(box=None, padding=(0, 0, 0, 1), pad_edge=False, header_style="bold")
    table.add_column(first, no_wrap=True)
    return table


def factor(value: float) -> str:
    """One decimal, or two digits where that would say little."""
    return f"{value:.1f}" if value >= 1 else f"{value:.2g}"


def text(parts: Sequence[Table | str]) -> str:
    """The same, as plain text."""
    with StringIO() as file:
        _print(parts, Console(file=file, highlight=False, color_system=None))
        return file.getvalue()


def show(parts: Sequence[Table | str]) -> None:
    """Print them one below the other, as wide as the widest table: a truncated number is wrong."""
    _print(parts, Console(highlight=False))


def _print(parts: Sequence[Table | str], console: Console) -> None:
    for table in (part for part in parts if isinstance(part, Table)):
        needed = Measurement.get(console, console.options.update_width(UNLIMITED), table).maximum
        console.width = max(console.width, needed)
    for part in parts:
        console.print(part, markup=False, soft_wrap=isinstance(part, str))
