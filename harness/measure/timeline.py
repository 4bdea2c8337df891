"""The time stamps of one pass: as marks while it is recorded, as spans for analysis.

A pass runs all tiles of a workload once. A mark is the clock's time at one point of a submission,
for example the begin of its launch. A span is the time between two marks: a stage of a submission.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from enum import IntEnum
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Spans = NDArray[np.int64]


class Stage(IntEnum):
    """The kind of a span. The host's stages are serial; LOAD and EXEC run on the device.

    LOAD: a column starts a new context, or resumes after the device was suspended.
    """

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
"""Columns of the marks of a submission at a kernel, in the order of time.

ALLOC, WRITE, LAUNCH and WAIT are begins, the others are ends. Reading begins at WAITED.
"""
_HOST_SPANS = (
    (Stage.ALLOC, ALLOC, ALLOCATED),
    (Stage.WRITE, WRITE, WRITTEN),
    (Stage.LAUNCH, LAUNCH, LAUNCHED),
    (Stage.WAIT, WAIT, WAITED),
    (Stage.READ, WAITED, READ),
)
Marks: TypeAlias = "array[int]"
FIELDS = ("stage", "tile", "tiles", "column", "start_ns", "end_ns", "kernel")
"""Columns of `Timeline.rows`."""


@dataclass(frozen=True)
class Part:
    """An operation of an encoder in a timeline. tile, start_ns: its first tile, and its begin."""

    name: str
    tile: int
    start_ns: int


@dataclass(frozen=True)
class Timeline:
    """All spans of one pass.

    rows: int64 (spans, 7) with the columns FIELDS; times count from the begin of the pass. A span
    covers tiles `tile` to `tile + tiles - 1` at one kernel of the chain, by index. tiles: number of
    tiles. kernel_columns: number of columns of each kernel. clock: "virtual" or "monotonic".
    has_device: False without device timestamps; the device's work is then unknown, not zero.
    kernels: names. occupied_columns: number of columns of the device that had work; 0 if unknown.
    parts: the operations of an encoder, in order, of which tiles are calls; else empty.
    """

    rows: Spans
    tiles: int
    kernel_columns: tuple[int, ...]
    clock: str
    has_device: bool
    kernels: tuple[str, ...] = ("",)
    occupied_columns: int = 0
    parts: tuple[Part, ...] = ()

    @property
    def columns(self) -> int:
        """The largest number of columns of any kernel."""
        return max(self.kernel_columns)

    def of(self, *stages: Stage) -> Spans:
        """The rows of these stages."""
        # Comparisons are faster than np.isin for so few stages.
        mask = np.zeros(len(self.rows), bool)
        for stage in stages:
            mask |= self.rows[:, 0] == stage
        return self.rows[mask]

    def sum_ns(self, *stages: Stage) -> int:
        """Total length of the spans of these stages."""
        return int(lengths_ns(self.of(*stages)).sum())

    def log(self) -> list[tuple[str, int, int, int]]:
        """All spans as (stage, tile, start_ns, end_ns), sorted by start."""
        ordered = sorted(self.rows.tolist(), key=lambda row: (row[4], row[0], row[1]))
        return [(Stage(row[0]).name.lower(), row[1], row[4], row[5]) for row in ordered]


def lengths_ns(rows: Spans) -> Spans:
    """Length of each span, (spans,) int64."""
    return rows[:, 5] - rows[:, 4]


def blank_marks(submissions: int) -> Marks:
    """A zeroed array for the marks of a pass: MARKS integers of 8 bytes per submission.

    It is an `array`, whose items are faster to assign than those of a numpy array.
    """
    return array("q", bytes(8 * MARKS * submissions))


@dataclass(frozen=True)
class PassMarks:
    """The recorded marks of one pass; `timeline` expands them to spans of three times the size.

    marks: int64 (submissions * kernels, MARKS), clock times; 0 for a mark that was not set.
    origin_ns: clock time at the begin of the pass. trace: int64 (n, 5) of is_load, context, column,
    start_ns, end_ns, in the order of submission for each context; None without device timestamps.
    kernels: names. kernel_columns: number of columns of each kernel; contexts were opened kernel by
    kernel, column by column. Submission s was in slot s % slots; at a kernel with n columns it ran
    on column slot % n.
    """

    marks: Spans
    trace: Spans | None
    tiles: int
    batch: int
    kernel_columns: tuple[int, ...]
    slots: int
    origin_ns: int
    clock: str
    kernels: tuple[str, ...] = ("",)

    @property
    def makespan_ns(self) -> int:
        """Time from the first stage-in to the last collect; 0 for an empty pass."""
        # Passes of `harness.api` may have no tiles.
        if not len(self.marks):
            return 0
        # Only strategies that allocate per tile set ALLOCATED.
        begin = ALLOC if self.marks[0, ALLOCATED] else WRITE
        return int(self.marks[:, READ].max() - self.marks[0, begin])

    @property
    def intervals_ns(self) -> Spans:
        """Times between the ends of successive waits for the last kernel, (submissions - 1,)."""
        # Submissions of a chain may end in another order than that of their launches.
        ends: Spans = np.sort(self.marks[len(self.kernels) - 1 :: len(self.kernels), WAITED])
        return ends[1:] - ends[:-1]

    def timeline(self) -> Timeline:
        """The spans between the marks and those of the device, from the begin of the pass on."""
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
        # By start, then by end: in virtual time a stage may take no time at all.
        rows = rows[np.lexsort((rows[:, 5], rows[:, 4]))]
        if self.trace is not None:
            rows = np.concatenate([rows, self._device_rows(self.trace)])
        rows[:, 4:6] -= self.origin_ns
        occupied = 0 if self.trace is None else len(np.unique(self.trace[:, 2]))
        return Timeline(
            rows,
            self.tiles,
            self.kernel_columns,
            self.clock,
            self.trace is not None,
            self.kernels,
            occupied,
        )

    def _columns(self, submission: Spans, kernel: Spans) -> Spans:
        """The column on which each submission runs at a kernel."""
        # A pass without tiles has no slots.
        columns: Spans = submission % max(1, self.slots) % np.array(self.kernel_columns)[kernel]
        return columns

    def _device_rows(self, trace: NDArray[np.int64]) -> Spans:
        """The device's spans.

        A context belongs to one column of one kernel, and executes its submissions in the order of
        their launches. A load belongs to the tile executed after it.
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
            own = np.flatnonzero(self._columns(every, np.full_like(every, kernel)) == column)
            # A context executes in the order of launches, which chains may change.
            own = own[np.argsort(self.marks[own * kernels + kernel, LAUNCH], kind="stable")]
            tiles = (own[:, None] * self.batch + np.arange(self.batch)).ravel()
            tiles = tiles[tiles < self.tiles]
            of_context = trace[trace[:, 1] == context]
            is_load = of_context[:, 0].astype(bool)
            # The number of executions before a row is the index of its tile.
            tile = tiles[np.cumsum(~is_load) - ~is_load]
            stage = np.where(is_load, Stage.LOAD, Stage.EXEC)
            one = np.ones_like(tile)
            rows.append(
                np.column_stack([stage, tile, one, one * column, of_context[:, 3:], one * kernel])
            )
        together = np.concatenate(rows)
        return together[np.lexsort((together[:, 6], together[:, 1]))]
