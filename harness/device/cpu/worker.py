"""A column of the processor: a thread that executes submissions in the order of their launches."""

from __future__ import annotations

import threading
from array import array
from collections.abc import Callable
from enum import Enum
from queue import SimpleQueue

import numpy as np

from harness.device.cpu.program import Program, Stamps


class State(Enum):
    """State of a submission: it can be launched in all but QUEUED and RUNNING."""

    NEW = "NEW"
    QUEUED = "QUEUED"
    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"


IN_FLIGHT = (State.QUEUED, State.RUNNING)


class Execution:
    """What a worker runs: a bound program, its state, and the exception that it raised."""

    def __init__(self, execute: Callable[[], None], stamps: Stamps) -> None:
        self.execute = execute
        self.stamps = stamps
        self.state = State.NEW
        self.error: BaseException | None = None


class Worker:
    """One column: a thread with an in-order queue. It ends with `close`, or with the process.

    number: of the context, counted over the backend. ended: notified whenever an execution ends.
    busy: whether the thread may still execute. log: begin and end of each execution since
    `take_log`, in ns.
    """

    def __init__(
        self, program: Program, name: str, number: int, ended: threading.Condition
    ) -> None:
        self.program = program
        self.number = number
        self._queue: SimpleQueue[Execution | None] = SimpleQueue()
        self._log = array("q")
        # A daemon, because a kernel that never ends must not keep the process.
        self._thread = threading.Thread(
            target=_work,
            args=(self._queue, self._log, ended),
            name=f"column {number} {name}",
            daemon=True,
        )
        self._thread.start()

    @property
    def busy(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def put(self, execution: Execution) -> None:
        """Queue an execution; returns at once."""
        execution.state = State.QUEUED
        self._queue.put(execution)

    def take_log(self) -> Stamps:
        """Begin and end of the executions since the last call, (executions, 2)."""
        log = np.array(self._log, np.int64).reshape(-1, 2)
        del self._log[:]
        return log

    def stop(self) -> None:
        """Let the thread end after what is queued; returns at once."""
        self._queue.put(None)

    def close(self) -> None:
        """End the thread, after what is queued, and free its program."""
        self.stop()
        self._thread.join()
        self.program.close()


def _work(
    queue: SimpleQueue[Execution | None], log: array[int], ended: threading.Condition
) -> None:
    """Execute what is queued, until None. It refers to no Worker, so that one can be dropped."""
    while (execution := queue.get()) is not None:
        execution.state = State.RUNNING
        error: BaseException | None = None
        try:
            execution.execute()
            log.frombytes(execution.stamps.tobytes())
        # Also SystemExit: whatever a reference raises is a failure of this execution.
        except BaseException as raised:
            error = raised
        with ended:
            execution.error = error
            execution.state = State.FAILED if error else State.COMPLETED
            ended.notify_all()
        # Else the thread would keep the buffers of its last execution.
        del execution, error
