"""The session: one kernel on one worker thread per column."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from harness.device.cpu.slot import CpuSlot, CpuSubmission
from harness.device.cpu.worker import Worker
from harness.errors import MAYBE_IN_FLIGHT, DeviceError
from harness.kernel import Bytes, KernelSpec
from harness.units import ms_to_ns

if TYPE_CHECKING:
    from harness.device.cpu.backend import CpuBackend

_stuck: dict[Worker, str] = {}
"""Workers with an execution that did not end in time, and the name of its kernel."""


def _check_undisturbed() -> None:
    """DeviceError while a kernel that did not end in time still runs in this process."""
    for worker, name in list(_stuck.items()):
        if worker.busy:
            raise DeviceError(
                f"an earlier execution of {name} has not ended and would disturb all times; "
                "start a new process"
            )
        del _stuck[worker]


class CpuSession:
    """One kernel, open on one thread per column until `close`; implements `Session`.

    allocations: number of buffers that slots have allocated. used_ns: as in `Session`.
    """

    def __init__(
        self, backend: CpuBackend, spec: KernelSpec, columns: int, timeout_ms: int
    ) -> None:
        self.backend = backend
        self.spec = spec
        self.allocations = 0
        self.timeout_ns = ms_to_ns(timeout_ms)
        self._kept = False
        self._workers: list[Worker] = []
        _check_undisturbed()
        open_program = backend.opener(spec, columns)
        free, limit = backend.free_contexts, backend.device.context_limit
        if columns > free:
            raise DeviceError(
                f"opening {spec.name} on {columns} column(s): no context or column is free; "
                f"{limit - free} of device.context_limit={limit} are open"
            )
        try:
            for _ in range(columns):
                number = backend.next_number()
                self._workers.append(Worker(open_program(), spec.name, number, backend.bell))
        except RuntimeError as error:
            self._end()
            raise DeviceError(
                f"opening {spec.name} on {columns} column(s): {error}; use fewer columns"
            ) from error
        # A session that is dropped without `close`: its threads end too.
        self._dropped = weakref.finalize(self, _stop, list(self._workers))
        backend.sessions.add(self)
        self.used_ns = backend.clock.now_ns

    @property
    def columns(self) -> int:
        """Number of threads, one per column; 0 after `close`."""
        return len(self._workers)

    def worker(self, column: int) -> Worker:
        """The thread of a column."""
        return self._workers[column]

    @property
    def workers(self) -> Sequence[Worker]:
        """The threads of all columns."""
        return self._workers

    def slot(
        self,
        column: int,
        batch: int,
        counts: Sequence[int],
        constants: Sequence[Bytes] | None = None,
    ) -> CpuSlot:
        """Buffers and submissions for up to `batch` tiles on one column."""
        return CpuSlot(self, column, batch, counts, constants)

    def keep(self, column: int) -> None:
        """Never end a column's thread, because an execution may still run on it."""
        self._kept = True
        _stuck[self._workers[column]] = self.spec.name
        # It ends if the execution does.
        self._workers[column].stop()

    def close(self) -> None:
        """End the threads, unless an execution may still run. Close all slots first."""
        if self._kept:
            return
        self._dropped.detach()
        self._end()

    def _end(self) -> None:
        for worker in self._workers:
            worker.close()
        self._workers = []

    def warm(self) -> None:
        """Run the kernel once on every column, with zeros as inputs."""
        for column in range(len(self._workers)):
            slot = self.slot(column, 1, [1])
            slot.allocate()
            # Not buffers of tiles.
            self.allocations -= len(self.spec.buffers)
            try:
                _run_once(slot.submissions[1], self.spec)
            except BaseException as error:
                # After any other DeviceError the execution is known to have ended.
                if isinstance(error, MAYBE_IN_FLIGHT) or not isinstance(error, DeviceError):
                    slot.keep()
                raise
        self.used_ns = self.backend.clock.now_ns

    def wake(self) -> None:
        """Nothing: a processor is not suspended."""


def _run_once(submission: CpuSubmission, spec: KernelSpec) -> None:
    submission.stage([np.zeros(each.stride_bytes, np.uint8) for each in spec.inputs])
    submission.launch()
    submission.wait(1)


def _stop(workers: Sequence[Worker]) -> None:
    # Without waiting: the garbage collector may run in one of these threads.
    for worker in workers:
        worker.stop()
