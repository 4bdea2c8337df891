"""Totals of a pass: sums over its timeline, which can be added to those of other passes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from harness.measure.bounds import bounds, makespan_ns
from harness.measure.idle import CAUSES, column_times, exposed_ns, stall_causes
from harness.measure.timeline import DEVICE_WORK, Spans, Stage, Timeline


@dataclass(frozen=True)
class Totals:
    """Totals of a pass, or of several passes one after the other, in nanoseconds.

    tiles and stalls are counts. Fields that need device timestamps are None without them. columns:
    columns occupied on the device. open_ns: time to open contexts between the passes; it is part of
    makespan_ns but not of the bounds. bound_ns, serial_ns, host_bound_ns, device_bound_ns: as in
    `bounds.Bounds`. busy_ns, fill_ns, drain_ns: sums over the columns, as in `idle.ColumnTime`,
    whose starved_ns is stall_ns; the four add up to the makespan of every column. stall_host_ns,
    stall_queue_ns, stall_slot_ns: stall_ns by `idle.Cause`. exposed_ns: as `idle.exposed_ns`.
    load_ns: time that columns load contexts, which is part of busy_ns but not of exec_ns.
    """

    clock: str
    columns: int
    tiles: int
    makespan_ns: int
    alloc_ns: int
    write_ns: int
    launch_ns: int
    wait_ns: int
    read_ns: int
    open_ns: int = 0
    exec_ns: int | None = None
    stalls: int | None = None
    stall_ns: int | None = None
    bound_ns: int | None = None
    serial_ns: int | None = None
    host_bound_ns: int | None = None
    device_bound_ns: int | None = None
    busy_ns: int | None = None
    fill_ns: int | None = None
    drain_ns: int | None = None
    stall_host_ns: int | None = None
    stall_queue_ns: int | None = None
    stall_slot_ns: int | None = None
    exposed_ns: int | None = None
    load_ns: int | None = None

    @property
    def host_ns(self) -> int:
        """Sum of the host's stages without waiting."""
        return self.alloc_ns + self.write_ns + self.launch_ns + self.read_ns

    def extrapolated(self, shorter: Totals, tiles: int) -> Totals:
        """Totals of a pass over `tiles` tiles, from this pass and a shorter one.

        The additional tiles count at the rate between the two passes, so filling and draining the
        pipeline count once, as in a real pass. If the shorter pass took longer, because of a
        disturbance, all values scale in proportion instead. Rounded; no less than this pass.
        """
        is_disturbed = shorter.makespan_ns >= self.makespan_ns
        factor = tiles / self.tiles - 1
        if not is_disturbed:
            factor = (tiles - self.tiles) / (self.tiles - shorter.tiles)

        def extrapolate(value: int | None, less: int | None) -> int | None:
            if value is None or less is None:
                return None
            # Sums cannot shrink with more tiles, so a negative difference is noise.
            return round(value + max(0, value if is_disturbed else value - less) * factor)

        pairs = zip(_sums(self).items(), _sums(shorter).values(), strict=True)
        sums: dict[str, Any] = {name: extrapolate(value, less) for (name, value), less in pairs}
        return replace(self, **sums)


_NO_SUMS = ("clock", "columns")


def _sums(totals: Totals) -> dict[str, Any]:
    """The additive fields by name."""
    return {
        item.name: getattr(totals, item.name)
        for item in fields(totals)
        if item.name not in _NO_SUMS
    }


def sum_totals(parts: Sequence[Totals]) -> Totals:
    """The totals of one or more passes one after the other; None in any part gives None."""
    columns = {name: [_sums(part)[name] for part in parts] for name in _sums(parts[0])}
    sums: dict[str, Any] = {
        name: None if None in values else sum(filter(None, values))
        for name, values in columns.items()
    }
    # Parts run one after the other, so they use the same columns in turn.
    return replace(parts[0], columns=max(part.columns for part in parts), **sums)


def stalls(timeline: Timeline) -> Spans | None:
    """The stalls as column, begin and end, (stalls, 3) int64 ns; None without device timestamps.

    A stall is a gap in a column's work: the column has finished all launched work, and the host
    has not launched more. Time before a column's first launch (fill) and after its last completion
    (drain) is not a stall, nor is a gap before work that had been launched by its begin: it is time
    of the device itself. All kernels of a chain count together on a column, because some kernel is
    always idle.
    """
    if not timeline.has_device:
        return None
    gaps = [np.zeros((0, 3), np.int64)]
    work, launched = timeline.of(*DEVICE_WORK), _launched_ns(timeline)
    for column in range(timeline.columns):
        rows = work[work[:, 3] == column]
        rows = rows[np.argsort(rows[:, 4], kind="stable")]
        # The latest end so far: kernels of a chain may overlap on a column.
        begins, ends = np.maximum.accumulate(rows[:, 5])[:-1], rows[1:, 4]
        is_late = launched[rows[1:, 1], rows[1:, 6]] > begins
        gaps.append(np.column_stack([np.full_like(begins, column), begins, ends])[is_late])
    every = np.concatenate(gaps)
    # Between two operations of an encoder, a column waits for neither.
    starts = np.array([each.start_ns for each in timeline.parts], np.int64)
    within = np.searchsorted(starts, every[:, 1]) == np.searchsorted(starts, every[:, 2])
    found: Spans = every[(every[:, 1] < every[:, 2]) & within]
    return found


def stalls_ns(timeline: Timeline) -> Spans | None:
    """Lengths of the stalls, (stalls,) int64; None without device timestamps."""
    gaps = stalls(timeline)
    return None if gaps is None else gaps[:, 2] - gaps[:, 1]


def _launched_ns(timeline: Timeline) -> Spans:
    """When the launch of each tile at each kernel had returned, (tiles, kernels).

    Later than all times for a tile without a launch.
    """
    launches = timeline.of(Stage.LAUNCH)
    shape = timeline.tiles, len(timeline.kernels)
    launched = np.full(shape, np.iinfo(np.int64).max)
    for place in range(launches[:, 2].max(initial=0)):
        rows = launches[launches[:, 2] > place]
        launched[rows[:, 1] + place, rows[:, 6]] = rows[:, 5]
    return launched


def totals_of(timeline: Timeline) -> Totals:
    """The totals of one pass."""
    totals = Totals(
        clock=timeline.clock,
        # Each kernel of a chain has contexts of its own, which may occupy further columns.
        columns=max(timeline.columns, timeline.occupied_columns),
        tiles=timeline.tiles,
        makespan_ns=makespan_ns(timeline),
        alloc_ns=timeline.sum_ns(Stage.ALLOC),
        write_ns=timeline.sum_ns(Stage.WRITE),
        launch_ns=timeline.sum_ns(Stage.LAUNCH),
        wait_ns=timeline.sum_ns(Stage.WAIT),
        read_ns=timeline.sum_ns(Stage.READ),
    )
    gaps = stalls(timeline)
    return totals if gaps is None else _with_device(totals, timeline, gaps)


def _with_device(totals: Totals, timeline: Timeline, gaps: Spans) -> Totals:
    """The totals with what device timestamps show. gaps: the stalls."""
    limits, lengths_ns = bounds(timeline), gaps[:, 2] - gaps[:, 1]
    columns, causes = column_times(timeline, gaps), stall_causes(timeline, gaps)
    host_ns, queue_ns, slot_ns = (
        int(lengths_ns[causes == place].sum()) for place in range(len(CAUSES))
    )
    return replace(
        totals,
        exec_ns=timeline.sum_ns(Stage.EXEC),
        stalls=len(gaps),
        stall_ns=int(lengths_ns.sum()),
        bound_ns=limits.bound_ns if limits else None,
        serial_ns=limits.serial_ns if limits else None,
        host_bound_ns=limits.host_ns if limits else None,
        device_bound_ns=limits.device_bound_ns if limits else None,
        busy_ns=sum(each.busy_ns for each in columns),
        fill_ns=sum(each.fill_ns for each in columns),
        drain_ns=sum(each.drain_ns for each in columns),
        stall_host_ns=host_ns,
        stall_queue_ns=queue_ns,
        stall_slot_ns=slot_ns,
        exposed_ns=exposed_ns(timeline),
        load_ns=timeline.sum_ns(Stage.LOAD),
    )
