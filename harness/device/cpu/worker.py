"""A column of the processor: a thread that executes submissions in the order of their launches."""

from __future__ import annotations

import os
import select
import threading
from array import array
from contextlib import suppress
from enum import Enum
from queue import SimpleQueue

import numpy as np

from harness.device.cpu.program import NO_BELL, Execute, Program, Stamps


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

    def __init__(self, execute: Execute, stamps: Stamps) -> None:
        self.execute = execute
        self.stamps = stamps
        self.state = State.NEW
        self.error: BaseException | None = None


class Bell:
    """Tells the host that executions have ended: an eventfd, which code without the GIL can use.

    descriptor: of the eventfd; it is closed when no thread can use it any more.
    """

    def __init__(self) -> None:
        self.descriptor = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._poll = select.poll()
        self._poll.register(self.descriptor, select.POLLIN)

    def __del__(self) -> None:
        os.close(self.descriptor)

    def ring(self) -> None:
        """End the present or the next wait."""
        os.eventfd_write(self.descriptor, 1)

    def wait(self, timeout_ms: float) -> None:
        """Wait until it has rung since the last wait, or for the timeout."""
        self._poll.poll(timeout_ms)
        with suppress(BlockingIOError):
            os.eventfd_read(self.descriptor)


class Worker:
    """One column: a thread with an in-order queue. It ends with `close`, or with the process.

    number: of the context, counted over the backend. bell: rings after an execution has ended.
    busy: whether the thread may still execute. log: begin and end of each execution since
    `take_log`, in ns.
    """

    def __init__(self, program: Program, name: str, number: int, bell: Bell) -> None:
        self.program = program
        self.number = number
        self._queue: SimpleQueue[Execution | None] = SimpleQueue()
        self._log = array("q")
        # A daemon, because a kernel that never ends must not keep the process.
        self._thread = threading.Thread(
            target=_work,
            args=(self._queue, self._log, bell),
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


def _work(queue: SimpleQueue[Execution | None], log: array[int], bell: Bell) -> None:
    """Execute what is queued, until None. It refers to no Worker, so that one can be dropped.

    If another execution is queued, that one rings the bell for the one before. Else the host's
    thread would take the GIL first, and the next execution would begin only when the host waits.
    """
    is_due = False
    while True:
        if is_due and queue.empty():
            bell.ring()
            is_due = False
        execution = queue.get()
        if execution is None:
            break
        execution.state = State.RUNNING
        try:
            execution.execute(bell.descriptor if is_due else NO_BELL)
            log.frombytes(execution.stamps.tobytes())
            execution.state = State.COMPLETED
        # Also SystemExit: whatever a reference raises is a failure of this execution.
        except BaseException as error:
            execution.error = error
            execution.state = State.FAILED
        is_due = True
        # Else the thread would keep the buffers of its last execution.
        del execution
    bell.ring()
