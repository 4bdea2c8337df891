"""Additive totals of a pass: sums over its timeline, which add to those of other passes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from harness.measure.bounds import bounds, makespan_ns
from harness.measure.timeline import DEVICE_WORK, Spans, Stage, Timeline


@dataclass(frozen=True)
class Totals:
    """Nanoseconds, except the counts `tiles` and `stalls`; None without device timestamps.

    columns: held on the device. open_ns: time to open contexts between the passes of a sum, part of
    makespan_ns but of no bound. bound_ns, serial_ns, and the bound's two sides, host_bound_ns and
    device_bound_ns: as in `bounds.Bounds`.
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

    @property
    def host_ns(self) -> int:
        """All stages of the host except waiting."""
        return self.alloc_ns + self.write_ns + self.launch_ns + self.read_ns

    def extrapolated(self, shorter: Totals, tiles: int) -> Totals:
        """Totals of `tiles`, at the rate between a shorter pass and this one.

        So filling and draining the pipeline count once, as in a pass of all of them. Where the
        shorter pass took as long because of a hitch, all is in proportion to this pass. Rounded;
        no less than this pass.
        """
        hitch = shorter.makespan_ns >= self.makespan_ns
        more = (
            tiles / self.tiles - 1 if hitch else (tiles - self.tiles) / (self.tiles - shorter.tiles)
        )

        def longer(value: int | None, few: int | None) -> int | None:
            if value is None or few is None:
                return None
            return round(value + max(0, value if hitch else value - few) * more)

        pairs = zip(_sums(self).items(), _sums(shorter).values(), strict=True)
        grown: dict[str, Any] = {name: longer(value, few) for (name, value), few in pairs}
        return replace(self, **grown)


_NO_SUMS = ("clock", "columns")


def _sums(totals: Totals) -> dict[str, Any]:
    return {
        item.name: getattr(totals, item.name)
        for item in fields(totals)
        if item.name not in _NO_SUMS
    }


def added(parts: Sequence[Totals]) -> Totals:
    """The sum of passes one after the other, at least one; None in any part gives None."""
    columns = {name: [_sums(part)[name] for part in parts] for name in _sums(parts[0])}
    sums: dict[str, Any] = {
        name: None if None in values else sum(filter(None, values))
        for name, values in columns.items()
    }
    return replace(parts[0], columns=max(part.columns for part in parts), **sums)


def stalls_ns(timeline: Timeline) -> Spans | None:
    """Lengths of the stalls, or None where the device gave no timestamps.

    A stall is a gap between two pieces of a column's work: the column had finished all launched
    work, and the host had not launched more. Time before a column's first launch (fill) and after
    its last completion (drain) is none. The contexts of all kernels of a chain count as one: some
    kernel is always idle.
    """
    if not timeline.has_device:
        return None
    gaps = [np.zeros(0, np.int64)]
    work = timeline.of(*DEVICE_WORK)
    for column in range(timeline.columns):
        rows = work[work[:, 3] == column]
        rows = rows[np.argsort(rows[:, 4], kind="stable")]
        gaps.append(rows[1:, 4] - np.maximum.accumulate(rows[:, 5])[:-1])
    lengths = np.concatenate(gaps)
    return lengths[lengths > 0]


def totals_of(timeline: Timeline) -> Totals:
    """The totals of one pass."""
    limits, stalls = bounds(timeline), stalls_ns(timeline)
    return Totals(
        clock=timeline.clock,
        columns=max(timeline.columns, timeline.held),
        tiles=timeline.tiles,
        makespan_ns=makespan_ns(timeline),
        alloc_ns=timeline.sum_ns(Stage.ALLOC),
        write_ns=timeline.sum_ns(Stage.WRITE),
        launch_ns=timeline.sum_ns(Stage.LAUNCH),
        wait_ns=timeline.sum_ns(Stage.WAIT),
        read_ns=timeline.sum_ns(Stage.READ),
        exec_ns=timeline.sum_ns(Stage.EXEC) if timeline.has_device else None,
        stalls=None if stalls is None else len(stalls),
        stall_ns=None if stalls is None else int(stalls.sum()),
        bound_ns=limits.bound_ns if limits else None,
        serial_ns=limits.serial_ns if limits else None,
        host_bound_ns=limits.host_ns if limits else None,
        device_bound_ns=limits.device_bound_ns if limits else None,
    )
