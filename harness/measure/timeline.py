"""Spans of one pass: who did what, for which tiles, from when to when."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from enum import IntEnum
from typing import TypeAlias

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
MARKS = 9
ALLOC, ALLOCATED, WRITE, WRITTEN, LAUNCH, LAUNCHED, WAIT, WAITED, READ = range(MARKS)
"""Marks of a submission, in the order they are passed; reading begins when waiting has ended."""
_HOST_SPANS = (
    (Stage.ALLOC, ALLOC, ALLOCATED),
    (Stage.WRITE, WRITE, WRITTEN),
    (Stage.LAUNCH, LAUNCH, LAUNCHED),
    (Stage.WAIT, WAIT, WAITED),
    (Stage.READ, WAITED, READ),
)
Marks: TypeAlias = "array[int]"
FIELDS = ("stage", "tile", "tiles", "column", "start_ns", "end_ns", "kernel")


@dataclass(frozen=True)
class Timeline:
    """`rows`: int64 (spans, 7) with columns FIELDS, in the order recorded; times count from the pass's begin.

    A span covers tiles `tile` to `tile + tiles - 1` at one `kernel` of the chain, by index. `widths`:
    columns that the tiles of each kernel are dealt over. `clock`: "virtual" or "monotonic". `has_device` is False
    where the device gave no timestamps: then what it did is unknown, not zero. `kernels`: their names.
    `held`: columns of the device that the contexts take.
    """

    rows: Spans
    tiles: int
    widths: tuple[int, ...]
    clock: str
    has_device: bool
    kernels: tuple[str, ...] = ("",)
    held: int = 0

    @property
    def columns(self) -> int:
        """Columns of the kernel that has most."""
        return max(self.widths)

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


def blank_marks(submissions: int) -> Marks:
    """Marks of a pass to come: MARKS times a submission, 72 bytes, written by index while it runs."""
    return array("q", bytes(8 * MARKS * submissions))


@dataclass(frozen=True)
class PassMarks:
    """A pass as it was recorded: what a `Timeline` is made of, at a third of its size.

    marks: int64 (submissions * kernels, MARKS); times of the clock, which stood at `origin_ns` when the pass began.
    trace: int64 (n, 5) of is_load, context, column, start_ns, end_ns, of each context as submitted; None where there is
    none. kernels: names of the kernels, and widths, columns of each; contexts were opened kernel by kernel, column
    by column. Submission s was in slot s % slots, and that on column slot % width of each kernel.
    """

    marks: Spans
    trace: Spans | None
    tiles: int
    batch: int
    widths: tuple[int, ...]
    slots: int
    origin_ns: int
    clock: str
    kernels: tuple[str, ...] = ("",)

    @property
    def makespan_ns(self) -> int:
        """First stage-in to last collect."""
        if not len(self.marks):
            return 0
        return int(
            self.marks[:, READ].max() - self.marks[0, ALLOC if self.marks[0, ALLOCATED] else WRITE]
        )

    @property
    def intervals_ns(self) -> Spans:
        """Completion to completion: time between the ends of successive waits for a tile's last kernel."""
        ends: Spans = np.sort(self.marks[len(self.kernels) - 1 :: len(self.kernels), WAITED])
        return ends[1:] - ends[:-1]

    def timeline(self) -> Timeline:
        """The spans between the marks, and those of the device, counted from the begin of the pass."""
        times, batch, kernels = self.marks, self.batch, len(self.kernels)
        submission, kernel = np.divmod(np.arange(len(times)), kernels)
        first = submission * batch
        count = np.minimum(batch, self.tiles - first)
        column = self._columns(submission, kernel)
        spans = []
        for stage, begin, end in _HOST_SPANS:
            code = np.full_like(first, stage)
            span = np.column_stack(
                [code, first, count, column, times[:, begin], times[:, end], kernel]
            )
            spans.append(span[times[:, ALLOCATED] > 0] if stage is Stage.ALLOC else span)
        rows = np.concatenate(spans)
        rows = rows[np.lexsort((rows[:, 5], rows[:, 4]))]
        if self.trace is not None:
            rows = np.concatenate([rows, self._device_rows(self.trace)])
        rows[:, 4:6] -= self.origin_ns
        held = 0 if self.trace is None else len(np.unique(self.trace[:, 2]))
        return Timeline(
            rows, self.tiles, self.widths, self.clock, self.trace is not None, self.kernels, held
        )

    def _columns(self, submission: Spans, kernel: Spans) -> Spans:
        """The column that a submission has at a kernel."""
        columns: Spans = submission % max(1, self.slots) % np.array(self.widths)[kernel]
        return columns

    def _device_rows(self, trace: NDArray[np.int64]) -> Spans:
        """What the device did, as spans.

        A context is one column's of one kernel, and executes what is dealt to it in the order of launches; a load
        belongs to the tile that follows it.
        """
        kernels, submissions = len(self.kernels), len(self.marks) // len(self.kernels)
        rows = [np.zeros((0, len(FIELDS)), np.int64)]
        every = np.arange(submissions)
        used = [
            (kernel, column)
            for kernel in range(kernels)
            for column in np.unique(self._columns(every, np.full_like(every, kernel)))
        ]
        for (kernel, column), context in zip(used, np.unique(trace[:, 1]), strict=True):
            dealt = np.flatnonzero(self._columns(every, np.full_like(every, kernel)) == column)
            dealt = dealt[np.argsort(self.marks[dealt * kernels + kernel, LAUNCH], kind="stable")]
            tiles = (dealt[:, None] * self.batch + np.arange(self.batch)).ravel()
            tiles = tiles[tiles < self.tiles]
            of_column = trace[trace[:, 1] == context]
            is_load = of_column[:, 0].astype(bool)
            tile = tiles[np.cumsum(~is_load) - ~is_load]
            stage = np.where(is_load, Stage.LOAD, Stage.EXEC)
            one = np.ones_like(tile)
            rows.append(
                np.column_stack([stage, tile, one, one * column, of_column[:, 3:], one * kernel])
            )
        together = np.concatenate(rows)
        return together[np.lexsort((together[:, 6], together[:, 1]))]
