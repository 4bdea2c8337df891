"""What a store shows of a record beside its metrics: settings as numbers, and a description."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.measure.stats import Ratio
from harness.report.run_lines import lines_below
from harness.report.runs import TILE_MS, fastest, table
from harness.report.tables import Format, Sheet, formatted
from harness.results.record import Record
from harness.tracking.store import SweepReport

MOST_CELL_CHARACTERS = 40
"""Longest text of a table in a description, nearly; the files of a sweep have the whole."""
COMPARISON = "comparison"
"""Name of the files of a live comparison in its folder: its table, and its picture."""
MOST_COMPARISON_CHARACTERS = 2500
"""Longest text of a comparison in a description."""
MOST_CHARACTERS = 5000
"""Longest description; MLflow cuts a tag of a run at 8,000 characters."""


def resolved_settings(record: Record) -> dict[str, Any]:
    """The settings of a record with their values, not as typed: 10000000, not 10_000_000.

    A key that selects a preset keeps the name.
    """
    settings = dict[str, Any]()
    for key, typed in record.settings.items():
        value: Any = record.config
        for part in key.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        settings[key] = typed if value is None or isinstance(value, dict | list) else value
    return settings


def run_note(record: Record) -> str:
    """Description of a run, in Markdown: its row, and the lines below it."""
    sheet = table([record], [None], whole=False)
    return sheet_note(sheet, lines_below([record], explained=False))


def sheet_note(sheet: Sheet, lines: Sequence[str], *first: str) -> str:
    """A table and the lines below it, in Markdown; of a long table the first rows."""
    sheet = _narrow(sheet)
    rows = len(sheet.rows)
    while True:
        part = Sheet(sheet.name, *sheet.columns)
        part.rows.extend(sheet.rows[:rows])
        cut = [f"The first {rows:,} of {len(sheet.rows):,} rows."] if rows < len(sheet.rows) else []
        text = formatted([*first, part, *cut, *lines], Format.markdown)
        if len(text) <= MOST_CHARACTERS or rows <= 1:
            return text[:MOST_CHARACTERS]
        rows //= 2


def _narrow(sheet: Sheet) -> Sheet:
    """The visible columns, with long texts cut."""
    columns, rows = sheet.shown()
    narrow = Sheet(sheet.name, *columns)
    for row in zip(*map(_cut, zip(*rows, strict=True)), strict=True):
        narrow.add(*row)
    return narrow


def _cut(texts: Sequence[str]) -> Sequence[str]:
    """The texts of a column; long ones without their common beginning and end, such as a folder."""
    if max(map(len, texts)) <= MOST_CELL_CHARACTERS:
        return texts
    differ = len(set(texts)) > 1
    begin = _alike(texts) if differ else 0
    end = _alike([text[begin:][::-1] for text in texts]) if differ else 0
    return [_middle_cut(text[begin : len(text) - end]) for text in texts]


def _alike(texts: Sequence[str]) -> int:
    """Number of characters that all texts begin with."""
    columns = enumerate(zip(*texts, strict=False))
    return next((place for place, each in columns if len(set(each)) > 1), min(map(len, texts)))


def _middle_cut(text: str) -> str:
    half = MOST_CELL_CHARACTERS // 2
    return text if len(text) <= MOST_CELL_CHARACTERS else f"{text[:half]} ... {text[-half:]}"


def sweep_report(
    folder: Path, runs: Sequence[tuple[Record, Path]], speedups: Sequence[Ratio | None]
) -> SweepReport:
    """What a sweep shows of its runs: the fastest, their table, and pictures in its folder.

    Also the table of a comparison, if the folder has one.
    """
    records = [record for record, _ in runs]
    folders = [path for _, path in runs]
    # One after the other: the table of 10,000 runs with all metrics is large.
    whole = formatted([table(records, speedups, folders)], Format.json)
    sheet = table(records, speedups, folders, whole=False)
    lines = lines_below(records)
    best = [_best(records[place], speedups[place]) for place in sorted(fastest(records))]
    texts = {
        "runs.md": formatted([*best, sheet, *lines], Format.markdown),
        "runs.json": whole,
    }
    texts |= {
        path.name: path.read_text(encoding="utf-8")
        for path in sorted(folder.glob(f"{COMPARISON}.[mj]*"))
    }
    first = _comparison(texts.get(f"{COMPARISON}.md", ""))
    note = sheet_note(sheet, lines, *first, *best)
    return SweepReport(note, texts, sorted(folder.glob("*.png")))


def _comparison(text: str) -> list[str]:
    """The table of a comparison in a description, as far as it is short enough."""
    kept, size = list[str](), 0
    for line in text.strip().splitlines():
        size += len(line) + 1
        if size > MOST_COMPARISON_CHARACTERS:
            kept.append(f"\n{COMPARISON}.md has the rest.")
            break
        kept.append(line)
    return ["\n".join(kept)] if kept else []


def _best(record: Record, speedup: Ratio | None) -> str:
    text = f"Fastest right run: **{record.name}**"
    if record.metrics.get(TILE_MS):
        text += f", {record.metrics[TILE_MS]:.3f} ms per tile"
    return f"{text}, {speedup.ratio:.2f}x the baseline" if speedup else text
