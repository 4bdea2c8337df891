"""The interface between the executor and a device: Protocols that every backend implements.

How the executor uses them, for one batch of tiles:

    session = backend.open_session(spec, columns=1, timeout_ms=1000)
    slot = session.slot(column=0, batch=4, counts=[4])
    slot.allocate()
    submission = slot.submissions[4]
    submission.stage(data)
    submission.launch()
    submission.wait(1)
    submission.collect()
    submission.outputs  # (4, size_bytes) uint8

A backend turns every error of the device's own library into a DeviceError. Any other exception
from these calls is an error of the harness.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from harness.device.interrupt import Interrupt
from harness.kernel import Bytes, KernelSpec

if TYPE_CHECKING:
    from harness.device.host.state import MachineState
    from harness.hazard import Hazard

VIRTUAL, MONOTONIC = "virtual", "monotonic"
"""Names of the two kinds of clock: computed time, and the host's real time."""


class Clock(Protocol):
    """The clock that all time stamps of a backend are read from."""

    @property
    def now_ns(self) -> int:
        """Nanoseconds since some fixed instant."""


@dataclass(frozen=True)
class Capabilities:
    """What a backend can do.

    clock: VIRTUAL or MONOTONIC. columns: number of columns of the device. timestamps: whether
    `take_trace` returns when the columns were busy. hazards: whether `take_hazards` detects wrong
    uses of buffers. batches: whether the device takes several tiles as one submission; if not, the
    backend starts the runs of a batch one by one.
    """

    clock: str
    columns: int = 1
    timestamps: bool = False
    hazards: bool = False
    batches: bool = True


class Submission(Protocol):
    """A fixed number of tiles of one kernel, bound to the buffers of a slot.

    The caller reads the clock around each call, so a method does only the work of its step:

        submission.stage(data)
        submission.launch()
        submission.wait(1)
        submission.collect()
    """

    @property
    def outputs(self) -> Bytes:
        """The outputs, (tiles, size_bytes) uint8; valid from `collect` until the next `stage`."""

    def stage(self, data: Sequence[Any], /) -> None:
        """Write one array or buffer of `data` to each input buffer and sync it to the device."""

    def launch(self) -> None:
        """Start the execution; returns at once unless the device's queue is full."""

    def wait(self, patience: int, /) -> None:
        """Wait for completion, at most `patience` times the session's timeout; 0 checks once.

        DeviceTimeoutError if it is still in flight; DeviceError if it ended without success.
        """

    def collect(self) -> None:
        """Sync the outputs from the device to the host."""

    def poison(self, content: Bytes, /) -> None:
        """Fill the output buffer's host and device copies with `content` (tiles, size_bytes)."""


class Slot(Protocol):
    """Buffers for one submission in flight at a time, on one column.

    With ten tiles in batches of four, the last submission has two:

        slot = session.slot(column=0, batch=4, counts=[4, 2])
        slot.allocate()
        whole, last = slot.submissions[4], slot.submissions[2]
        slot.close()
    """

    @property
    def submissions(self) -> Mapping[int, Submission]:
        """Submissions by number of tiles; empty before `allocate`, which creates new objects."""

    def allocate(self) -> None:
        """Replace the buffers with new ones."""

    def keep(self) -> None:
        """Never free the buffers, because a run that uses them may still be in flight."""

    def close(self) -> bool:
        """Free the buffers unless `keep` was called; returns whether it was."""


class Session(Protocol):
    """One kernel, opened on one or more columns.

    used_ns: clock time at which the device was last known to work; `wake` compares it with now.

        session = backend.open_session(spec, columns=4, timeout_ms=1000)
        session.warm()
        slots = [session.slot(column, batch=1, counts=[1]) for column in range(4)]
        session.close()
    """

    used_ns: int

    @property
    def backend(self) -> Backend:
        """The backend that opened this session."""

    @property
    def spec(self) -> KernelSpec:
        """The kernel that this session runs."""

    @property
    def columns(self) -> int:
        """Number of columns it is open on; 0 after `close`."""

    @property
    def allocations(self) -> int:
        """Number of buffers allocated so far for tiles."""

    @property
    def timeout_ns(self) -> int:
        """The longest time that one submission may take."""

    def slot(
        self,
        column: int,
        batch: int,
        counts: Sequence[int],
        constants: Sequence[Bytes] | None = None,
    ) -> Slot:
        """A slot for up to `batch` tiles, with one submission for each size in `counts`.

        constants: the bytes of the constant parts, one array per input buffer. With constants,
        `stage` takes only the varying parts, (tiles, varying_bytes) uint8 per buffer. Without
        constants, it takes whole flat buffers.
        """

    def warm(self) -> None:
        """Run the kernel once on every column.

        Call it before timing: the first run, and a run after an idle period, takes longer.
        """

    def wake(self) -> None:
        """Call `warm` if the device has been idle long enough to be suspended."""

    def close(self) -> None:
        """Free the contexts, unless a run that `warm` started may still be in flight.

        Close all slots of the session first.
        """


class Backend(Protocol):
    """One open device.

        backend = open_backend(device, spec)
        backend.prepare(spec, columns=4)
        session = backend.open_session(spec, columns=4, timeout_ms=1000)

    To add a backend, implement this Protocol and name its module in a class of
    `harness.config.device`.
    """

    @property
    def capabilities(self) -> Capabilities:
        """What this backend can do."""

    @property
    def clock(self) -> Clock:
        """The clock that all time stamps of this backend are read from."""

    @property
    def interrupt(self) -> Interrupt:
        """Delays Ctrl-C while runs are in flight."""

    def prepare(self, spec: KernelSpec, columns: int) -> None:
        """Read and check the files of a kernel; RequestError if it cannot run on `columns`."""

    def open_session(self, spec: KernelSpec, columns: int, timeout_ms: int) -> Session:
        """Open a kernel; RequestError as in `prepare`, DeviceError if the device refuses."""

    def next_ended(self, submissions: Sequence[Submission], timeout_ns: int) -> int | None:
        """Wait until one of several launched submissions has ended, and return its index.

        None if none ends within `timeout_ns`. Returns 0 without waiting if there is only one, or if
        the device cannot report which one ended: the caller then waits for the first.
        """

    def take_trace(self) -> NDArray[np.int64] | None:
        """When each column was busy since the last call; None without timestamps.

        int64 (n, 5): is_load, context, column, start_ns, end_ns. Contexts are numbered in the
        order in which they were opened.
        """

    def take_hazards(self) -> list[Hazard]:
        """Hazards detected since the last call; empty if the backend does not detect any."""

    def power(self) -> AbstractContextManager[None]:
        """A context manager that holds the requested power mode and then restores the old one."""

    def read_state(self) -> MachineState | None:
        """The state of the machine that times depend on; None if it cannot change."""


Opener = Callable[..., Backend]
"""Signature of `open_backend(device, specs, computes)` in a backend's module."""
