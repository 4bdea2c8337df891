"""Spans of one pass: who did what, for which tiles, from when to when."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

Spans = NDArray[np.int64]


class Stage(IntEnum):
    """What a span is. The host's stages are serial; LOAD and EXEC are the device's own."""

    ALLOC = 0
    WRITE = 1
    LAUNCH = 2
    WAIT = 3
    READ = 4
    LOAD = 5
    EXEC = 6


HOST = (Stage.ALLOC, Stage.WRITE, Stage.LAUNCH, Stage.WAIT, Stage.READ)
DEVICE_WORK = (Stage.LOAD, Stage.EXEC)
FIELDS = ("stage", "tile", "tiles", "column", "start_ns", "end_ns")


@dataclass(frozen=True)
class Timeline:
    """`rows`: int64 (spans, 6) with columns FIELDS, in the order recorded; times count from the pass's begin.

    A span covers tiles `tile` to `tile + tiles - 1`. `clock`: "virtual" or "monotonic". `has_device` is False
    where the device gave no timestamps: then what it did is unknown, not zero.
    """

    rows: Spans
    tiles: int
    columns: int
    clock: str
    has_device: bool

    def of(self, *stages: Stage) -> Spans:
        """The rows of the named stages."""
        return self.rows[np.isin(self.rows[:, 0], stages)]

    def sum_ns(self, *stages: Stage) -> int:
        """Total length of the named stages' spans."""
        return int(lengths_ns(self.of(*stages)).sum())

    def log(self) -> list[tuple[str, int, int, int]]:
        """(stage, tile, start_ns, end_ns) by start: what tests of exact timings assert."""
        ordered = sorted(self.rows.tolist(), key=lambda row: (row[4], row[0], row[1]))
        return [(Stage(row[0]).name.lower(), row[1], row[4], row[5]) for row in ordered]


def lengths_ns(rows: Spans) -> Spans:
    """Length of each span."""
    return rows[:, 5] - rows[:, 4]


class Recorder:
    """Collects spans while a pass runs: 48 bytes a span, one C call each."""

    def __init__(self) -> None:
        self._cells: array[int] = array("q")
        self._device: Spans | None = None

    def add(self, stage: Stage, tile: int, tiles: int, column: int, start_ns: int, end_ns: int) -> None:
        """Append one span of the host."""
        self._cells.extend((stage, tile, tiles, column, start_ns, end_ns))

    def add_device(self, trace: NDArray[np.int64], batch: int, columns: int) -> None:
        """Add what the device did: `trace` int64 (n, 4) of is_load, column, start_ns, end_ns, as submitted.

        Tiles are submitted in order, so execution k is tile k's; a load belongs to the tile that follows it.
        Columns are named as the strategy deals them, whatever the device calls them.
        """
        is_load = trace[:, 0].astype(bool)
        tile = np.cumsum(~is_load) - ~is_load
        stage = np.where(is_load, Stage.LOAD, Stage.EXEC)
        column = tile // batch % columns
        self._device = np.column_stack([stage, tile, np.ones_like(tile), column, trace[:, 2:]])

    def timeline(self, tiles: int, columns: int, clock: str, origin_ns: int) -> Timeline:
        """The spans so far as a Timeline that begins at `origin_ns`."""
        rows = np.frombuffer(self._cells, dtype=np.int64).reshape(-1, len(FIELDS))
        if self._device is not None:
            rows = np.concatenate([rows, self._device])
        rows = rows - np.array([0, 0, 0, 0, origin_ns, origin_ns])
        return Timeline(rows, tiles, columns, clock, self._device is not None)
