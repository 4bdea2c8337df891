"""Tables as plain rows, and the forms they are printed in: text, CSV, JSON and Markdown.

sheet = Sheet("runs", left("strategy"), right("ms/tile", key="time/tile_ms"))
sheet.add("pipelined", number(1.926, "{:.3f}"))
formatted([sheet], Format.csv)
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from io import StringIO
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

NOTHING = "-"
"""The text of a cell without a value."""
BULLET = re.compile(r"^([*+-])(?= )")
"""What Markdown takes for a list at the beginning of a line."""


class Format(Enum):
    """The form of a printed table."""

    text = "text"
    csv = "csv"
    json = "json"
    markdown = "markdown"


@dataclass(frozen=True)
class Column:
    """heading: as text and Markdown show it; key: its name in CSV and JSON.

    shown: False for a column that only CSV and JSON have.
    """

    heading: str
    key: str
    right: bool
    shown: bool = True


@dataclass(frozen=True, slots=True)
class Cell:
    """text: for readers; it may have several lines. value: for programs, not rounded."""

    text: str
    value: Any


def left(heading: str, key: str = "") -> Column:
    """A column of text."""
    return Column(heading, key or heading, right=False)


def right(heading: str, key: str = "") -> Column:
    """A column of numbers."""
    return Column(heading, key or heading, right=True)


def hidden(key: str) -> Column:
    """A column that only CSV and JSON have."""
    return Column(key, key, right=False, shown=False)


def number(value: float | None, pattern: str | Callable[[float], str]) -> Cell:
    """A number in a format pattern or by a function; `-` for None."""
    if value is None:
        return Cell(NOTHING, None)
    return Cell(pattern.format(value) if isinstance(pattern, str) else pattern(value), value)


def factor(value: float) -> str:
    """One decimal, or two significant digits below 1.

    >>> factor(19.13), factor(0.00681)
    ('19.1', '0.0068')
    """
    return f"{value:.1f}" if value >= 1 else f"{value:.2g}"


@dataclass(frozen=True, slots=True)
class Row:
    """wrong: the terminal shows the row in red."""

    cells: tuple[Cell, ...]
    wrong: bool


@dataclass(frozen=True, init=False)
class Sheet:
    """A table; its name is the key of its rows where JSON has several tables."""

    name: str
    columns: tuple[Column, ...]
    rows: list[Row] = field(default_factory=list)

    def __init__(self, name: str, *columns: Column) -> None:
        # A frozen dataclass cannot assign attributes, not even in its own __init__.
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "columns", columns)
        object.__setattr__(self, "rows", [])

    def add(self, *cells: Cell | str, wrong: bool = False) -> None:
        """Append a row, one cell for each column; the value of a plain string is its text."""
        whole = [Cell(cell, cell) if isinstance(cell, str) else cell for cell in cells]
        if len(whole) != len(self.columns):
            raise ValueError(f"{self.name}: {len(whole)} cells for {len(self.columns)} columns")
        self.rows.append(Row(tuple(whole), wrong))

    def shown(self) -> tuple[list[Column], list[list[str]]]:
        """The visible columns, and the texts of their cells by row."""
        places = [place for place, column in enumerate(self.columns) if column.shown]
        texts = [[row.cells[place].text for place in places] for row in self.rows]
        return [self.columns[place] for place in places], texts

    def values(self) -> Iterator[dict[str, Any]]:
        """The rows as key -> value, hidden columns included."""
        keys = [column.key for column in self.columns]
        for row in self.rows:
            yield dict(zip(keys, (cell.value for cell in row.cells), strict=True))


Part = Sheet | str
"""A report is a list of these, from top to bottom: tables, and lines of text."""


def formatted(parts: Sequence[Part], form: Format) -> str:
    """The parts as one text.

    CSV and JSON hold the tables only. CSV separates tables by an empty line; JSON is a list of rows
    for one table, else an object with the rows of each.
    """
    sheets = [part for part in parts if isinstance(part, Sheet)]
    if form is Format.csv:
        return "\n".join(map(_csv, sheets))
    if form is Format.json:
        if len(sheets) == 1:
            return _json_rows(sheets[0]) + "\n"
        return json.dumps({each.name: [*each.values()] for each in sheets}, indent=2) + "\n"
    if form is Format.markdown:
        blocks = [
            _markdown(part) if isinstance(part, Sheet) else BULLET.sub(r"\\\1", part)
            for part in parts
            if part
        ]
        return "\n\n".join(blocks) + "\n"
    return "".join(f"{line}\n" for part in parts for line, _ in _lines(part))


def draw(parts: Sequence[Part], console: Console, width: int | None = None) -> None:
    """Print the parts on a console, one below the other; long lines wrap, none is cut.

    width: characters of a line; a wider table is printed in pieces, with all cells whole. None: in
    one piece.
    """
    for part in parts:
        pieces = _pieces(part, width) if width and isinstance(part, Sheet) else [part]
        for piece in pieces:
            for line, style in _lines(piece):
                # A Text, because rich reads [words] in a string as markup. soft_wrap, because rich
                # would break lines at 80 columns in a pipe.
                console.print(Text(line, style), soft_wrap=True)


def _pieces(sheet: Sheet, width: int) -> list[Part]:
    """A sheet, or if it is wider than `width`, sheets with some of its columns each.

    All pieces begin with the same columns, those of text on the left that fit into half the width.
    A line is wider only if it needs to be for a single cell.
    """
    places = [place for place, column in enumerate(sheet.columns) if column.shown]
    room = {place: 1 + _width(sheet, place) for place in places}
    if sum(room.values()) - 1 <= width:
        return [sheet]
    first = list[int]()
    for place in places:
        if sheet.columns[place].right or sum(room[each] for each in (*first, place)) > width / 2:
            break
        first.append(place)
    groups = [first]
    for place in places[len(first) :]:
        if groups[-1] != first and sum(room[each] for each in (*groups[-1], place)) - 1 > width:
            groups.append(first)
        groups[-1] = [*groups[-1], place]
    pieces: list[Part] = []
    for group in groups:
        piece = Sheet(sheet.name, *(sheet.columns[place] for place in group))
        for row in sheet.rows:
            piece.add(*(row.cells[place] for place in group), wrong=row.wrong)
        pieces += [*[""] * bool(pieces), piece]
    return pieces


def _width(sheet: Sheet, place: int) -> int:
    """Characters of the widest line of a column."""
    texts = [sheet.columns[place].heading, *(row.cells[place].text for row in sheet.rows)]
    return max(cell_len(line) for text in texts for line in text.split("\n"))


def _lines(part: Part) -> Iterator[tuple[str, str]]:
    """Each line with its style, columns one space apart, without spaces at the end."""
    if isinstance(part, str):
        yield part, ""
        return
    columns, texts = part.shown()
    styles = ["bold", *("red" if row.wrong else "" for row in part.rows)]
    split = [[text.split("\n") for text in row] for row in texts]
    split.insert(0, [[column.heading] for column in columns])
    # Widths in columns of the terminal, not in characters: some take two.
    widths = [
        max(cell_len(line) for row in split for line in row[place]) for place in range(len(columns))
    ]
    for row, style in zip(split, styles, strict=True):
        for number_of_line in range(max(map(len, row))):
            cells = []
            for column, width, cell_lines in zip(columns, widths, row, strict=True):
                text = cell_lines[number_of_line] if number_of_line < len(cell_lines) else ""
                padding = " " * (width - cell_len(text))
                cells.append(padding + text if column.right else text + padding)
            yield " ".join(cells).rstrip(), style


def _json_rows(sheet: Sheet) -> str:
    """The rows as `json.dumps(..., indent=2)` prints their list, which needs several times as much
    memory.
    """
    # A line break inside of a text is escaped, so each one here begins a line.
    rows = (json.dumps(row, indent=2).replace("\n", "\n  ") for row in sheet.values())
    return "[\n  " + ",\n  ".join(rows) + "\n]" if sheet.rows else "[]"


def _csv(sheet: Sheet) -> str:
    with StringIO(newline="") as file:
        # The default, \r\n, leaves a \r in what shell tools read.
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(column.key for column in sheet.columns)
        writer.writerows(row.values() for row in sheet.values())
        return file.getvalue()


def _markdown(sheet: Sheet) -> str:
    columns, texts = sheet.shown()
    rows = [
        [column.heading for column in columns],
        ["---:" if column.right else "---" for column in columns],
        *texts,
    ]
    return "\n".join(f"| {' | '.join(map(_escaped, row))} |" for row in rows)


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", "<br>")
