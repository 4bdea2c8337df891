"""Computes the shortest makespan that the stage times of a pass allow."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.measure.timeline import DEVICE_WORK, Stage, Timeline, lengths_ns

TRANSFER = (Stage.ALLOC, Stage.WRITE, Stage.READ)
"""The host's stages whose whole time is work; launch and wait also contain idle time."""


@dataclass(frozen=True)
class Bounds:
    """Lower bounds of a pass's makespan, in nanoseconds.

    bound_ns = max(host, fill + device / columns + completion + drain). No pass with these stage
    times can be shorter, because

    * the host's work is serial;
    * the first execution starts after staging and launching the first submission (fill);
    * the last execution ends before its completion is noticed and its output is read (drain).

    For a chain, device and columns are those of the kernel with the most work per column, because
    the kernels have their own contexts and can run in parallel. Where contexts share columns, they
    are those of all kernels together if that is more per column, with the time of the switches.

    A launch counts only until its own first execution begins, and as the shortest launch of the
    pass; the rest is waiting for a place in a full queue. Completion counts as the shortest of the
    pass. serial_ns: the same work without any overlap.
    """

    makespan_ns: int
    host_ns: int
    device_ns: int
    fill_ns: int
    completion_ns: int
    drain_ns: int
    columns: int
    serial_ns: int

    @property
    def device_bound_ns(self) -> int:
        """The bound on the device's side: host time counts only in fill and drain. Rounded down."""
        return self.fill_ns + self.device_ns // self.columns + self.completion_ns + self.drain_ns

    @property
    def bound_ns(self) -> int:
        """The shortest makespan, whichever side limits it."""
        return max(self.host_ns, self.device_bound_ns)


def makespan_ns(timeline: Timeline) -> int:
    """Time from the first stage-in to the last collect; 0 for an empty pass."""
    rows = timeline.rows
    return int(rows[:, 5].max() - rows[:, 4].min()) if len(rows) else 0


def bounds(timeline: Timeline) -> Bounds | None:
    """Bounds of a pass; None for an empty pass, or without device timestamps."""
    if not timeline.has_device or not timeline.tiles:
        return None
    waits, execs, reads = timeline.of(Stage.WAIT), timeline.of(Stage.EXEC), timeline.of(Stage.READ)
    kernels = len(timeline.kernels)
    # EXEC rows are sorted by tile and kernel; a batch ends with its last tile.
    last_of_group = waits[:, 1] + waits[:, 2] - 1
    ends_ns = execs[last_of_group * kernels + waits[:, 6], 5]
    # A late check of the state makes a completion longer, never shorter: the minimum is the cost.
    completion_ns = int((waits[:, 5] - ends_ns).min())
    launches = timeline.of(Stage.LAUNCH)
    device = timeline.of(*DEVICE_WORK)
    # Start values later than every launch, for tiles without a row of the device.
    first_work_ns = np.full((timeline.tiles, kernels), launches[:, 5].max())
    np.minimum.at(first_work_ns, (device[:, 1], device[:, 6]), device[:, 4])
    launched_ns = np.minimum(launches[:, 5], first_work_ns[launches[:, 1], launches[:, 6]])
    # The shortest launch for all of them: a longer one waited for a place in the queue.
    host_ns = timeline.sum_ns(*TRANSFER) + len(launches) * int((launched_ns - launches[:, 4]).min())
    device_ns = timeline.sum_ns(*DEVICE_WORK)
    work_ns = [int(lengths_ns(device[device[:, 6] == each]).sum()) for each in range(kernels)]
    # Each with the number of columns that can do the work.
    works = list(zip(work_ns, timeline.kernel_columns, strict=True))
    # A context is that of one kernel on one of its columns; those without work do not count.
    contexts = len(np.unique(device[:, 3] * kernels + device[:, 6]))
    if 0 < timeline.occupied_columns < contexts:
        works.append((device_ns, timeline.occupied_columns))
    longest_ns, columns = max(works, key=lambda each: each[0] / each[1])
    return Bounds(
        makespan_ns=makespan_ns(timeline),
        host_ns=host_ns,
        device_ns=longest_ns,
        fill_ns=int(launched_ns[0] - timeline.rows[:, 4].min()),
        completion_ns=completion_ns,
        # Another order of tiles could end with any read, so only the shortest is certain.
        drain_ns=int(lengths_ns(reads).min()),
        columns=columns,
        serial_ns=host_ns + device_ns + len(waits) * completion_ns,
    )
