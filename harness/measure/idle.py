"""Finds the idle time of columns, the transfers that no execution hides, and causes of stalls."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from harness.measure.timeline import DEVICE_WORK, HOST, Spans, Stage, Timeline, lengths_ns


@dataclass(frozen=True)
class ColumnTime:
    """The time of a pass on one column, in nanoseconds; the four parts add up to the makespan.

    busy_ns: some kernel works, or the device takes time before work that has been launched.
    starved_ns: its stalls, in which nothing is launched. fill_ns: before its first work; the whole
    pass for a column without work. drain_ns: after its last.
    """

    busy_ns: int
    starved_ns: int
    fill_ns: int
    drain_ns: int


class Cause(Enum):
    """What keeps the host from launching when a stall begins.

    host_busy: it works for another submission. queue_full: its launch waits for a place in the
    queue of another column or kernel. no_slot: it waits for a completion, because all slots are in
    flight, or, in a chain, because the next kernel needs the outputs.
    """

    host_busy = "host busy"
    queue_full = "queue full"
    no_slot = "no free slot"


CAUSES = tuple(Cause)


def column_times(timeline: Timeline, stalls: Spans) -> tuple[ColumnTime, ...]:
    """The time of each column. stalls: as `totals.stalls` returns them for this timeline."""
    work, rows, times = timeline.of(*DEVICE_WORK), timeline.rows, list[ColumnTime]()
    begin, end = (int(rows[:, 4].min()), int(rows[:, 5].max())) if len(rows) else (0, 0)
    for column in range(timeline.columns):
        own = work[work[:, 3] == column]
        if not len(own):
            times.append(ColumnTime(0, 0, end - begin, 0))
            continue
        first, last = int(own[:, 4].min()), int(own[:, 5].max())
        gaps = stalls[stalls[:, 0] == column]
        starved = int((gaps[:, 2] - gaps[:, 1]).sum())
        times.append(ColumnTime(last - first - starved, starved, first - begin, end - last))
    return tuple(times)


def exposed_ns(timeline: Timeline) -> int:
    """Time of writing and reading during which no column executes."""
    moves, executed = timeline.of(Stage.WRITE, Stage.READ), _covered(timeline.of(Stage.EXEC))
    hidden = executed(moves[:, 5]) - executed(moves[:, 4])
    return int((lengths_ns(moves) - hidden).sum())


def stall_causes(timeline: Timeline, stalls: Spans) -> NDArray[np.int64]:
    """The cause of each stall, as its place in CAUSES, (stalls,).

    It follows from what the host does when the stall begins. stalls: as `totals.stalls` returns
    them for this timeline.
    """
    host, begins = _by_start(timeline.of(*HOST)), stalls[:, 1]
    causes = np.full(len(stalls), CAUSES.index(Cause.host_busy))
    if not len(host):
        return causes
    current = host[np.maximum(0, np.searchsorted(host[:, 4], begins) - 1)]
    inside = (current[:, 4] < begins) & (begins <= current[:, 5])
    causes[inside & (current[:, 0] == Stage.WAIT)] = CAUSES.index(Cause.no_slot)
    launches = np.flatnonzero(inside & (current[:, 0] == Stage.LAUNCH))
    if len(launches):
        blocked = _are_blocked(timeline, current[launches], begins[launches])
        causes[launches[blocked]] = CAUSES.index(Cause.queue_full)
    return causes


def _are_blocked(timeline: Timeline, launches: Spans, times: Spans) -> NDArray[np.bool_]:
    """Whether each launch waits, at the time beside it, for a place in its queue.

    It has then taken longer than the shortest launch, and it lasts until the device ends an
    execution of the same queue.
    """
    blocked: NDArray[np.bool_] = (
        times > launches[:, 4] + lengths_ns(timeline.of(Stage.LAUNCH)).min()
    )
    execs = timeline.of(Stage.EXEC)
    kernels = len(timeline.kernels)
    queues, queue = launches[:, 3] * kernels + launches[:, 6], execs[:, 3] * kernels + execs[:, 6]
    for each in np.unique(queues[blocked]):
        ends = np.append(np.sort(execs[queue == each, 5]), np.iinfo(np.int64).max)
        own = queues == each
        # The first end that is not before the time.
        next_end = ends[np.searchsorted(ends, times[own])]
        blocked[own] &= next_end <= launches[own, 5]
    return blocked


def stall_work(timeline: Timeline, stalls: Spans) -> list[str]:
    """The stage in which the host spends most of each stall, in lower case; empty if in none.

    stalls: as `totals.stalls` returns them for this timeline.
    """
    times = []
    for stage in HOST:
        spent = _covered(timeline.of(stage))
        times.append(spent(stalls[:, 2]) - spent(stalls[:, 1]))
    longest = np.argmax(times, axis=0)
    lengths = np.max(times, axis=0)
    return [
        HOST[place].name.lower() if length else ""
        for place, length in zip(longest.tolist(), lengths.tolist(), strict=True)
    ]


def _by_start(rows: Spans) -> Spans:
    """Rows by start, then by end: a stage may take no time at all."""
    steps, tails = np.diff(rows[:, 4]), np.diff(rows[:, 5])
    # A check is faster than a sort, and rows of a pass are in this order.
    if ((steps > 0) | ((steps == 0) & (tails >= 0))).all():
        return rows
    return rows[np.lexsort((rows[:, 5], rows[:, 4]))]


def _covered(rows: Spans) -> Callable[[Spans], Spans]:
    """A function from times to how much time before each of them some row covers."""
    if not len(rows):
        return np.zeros_like
    rows = _by_start(rows)
    latest = np.maximum.accumulate(rows[:, 5])
    # Rows that overlap are one interval.
    is_first = np.append(True, rows[1:, 4] > latest[:-1])
    begins, ends = rows[is_first, 4], latest[np.append(is_first[1:], True)]
    before = np.cumsum(ends - begins) - (ends - begins)

    def covered(times: Spans) -> Spans:
        place = np.maximum(0, np.searchsorted(begins, times, side="right") - 1)
        inside = np.clip(times, begins[place], ends[place]) - begins[place]
        time: Spans = before[place] + inside
        return time

    return covered
