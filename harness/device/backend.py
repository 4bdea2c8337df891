"""What the executor sees of a device: Protocols that every backend implements, and what a backend can do.

The order of calls for a batch of tiles: `Slot.allocate` once, then `stage`, `launch`, `wait`, `collect` of one of the
slot's submissions, after which its `outputs` may be read.
Whatever the device's own library raises in these calls is a DeviceError here; no other exception is the device's fault.
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
    from harness.sim.hazard import Hazard

VIRTUAL, MONOTONIC = "virtual", "monotonic"
"""Names of the two kinds of clock: computed, and real time."""


class Clock(Protocol):
    """A clock that can be read."""

    @property
    def now_ns(self) -> int:
        """Nanoseconds since some fixed instant."""


@dataclass(frozen=True)
class Capabilities:
    """What a backend can do.

    clock: VIRTUAL or MONOTONIC. columns: that the device has. timestamps: whether `take_trace` returns what the columns
    did. hazards: whether `take_hazards` looks for wrong uses of buffers. batches: whether several tiles are one
    submission to the device; if not, its runs are started one by one.
    """

    clock: str
    columns: int = 1
    timestamps: bool = False
    hazards: bool = False
    batches: bool = True


class Submission(Protocol):
    """A fixed number of tiles of one kernel, bound to the buffers of a slot. Every step is timed by the caller."""

    @property
    def outputs(self) -> Bytes:
        """(tiles, size_bytes) uint8; valid from `collect` until the slot is staged again."""

    def stage(self, data: Sequence[Any], /) -> None:
        """Fill the input buffers, one array or buffer each, and send them to the device."""

    def launch(self) -> None:
        """Start the execution; returns at once unless the device's queue is full."""

    def wait(self, patience: int, /) -> None:
        """Wait for completion, at most `patience` times the session's timeout; 0 looks once.

        DeviceTimeoutError if it is still in flight; DeviceError if it ended without success.
        """

    def collect(self) -> None:
        """Fetch the outputs from the device."""

    def poison(self, content: Bytes, /) -> None:
        """Fill the output buffer's host and device copies with `content` (tiles, size_bytes)."""


class Slot(Protocol):
    """Buffers for one submission in flight at a time, on one column."""

    @property
    def submissions(self) -> Mapping[int, Submission]:
        """By number of tiles; empty before `allocate`, and new objects after it."""

    def allocate(self) -> None:
        """Replace the buffers by new ones."""

    def keep(self) -> None:
        """Never free the buffers: a run that uses them may be in flight."""

    def close(self) -> bool:
        """Free the buffers, unless `keep` was called; returns whether it was."""


class Session(Protocol):
    """One kernel, opened on one or more columns. `used_ns`: when the device was last seen at work."""

    used_ns: int

    @property
    def backend(self) -> Backend:
        """The device it was opened on."""

    @property
    def spec(self) -> KernelSpec:
        """The kernel."""

    @property
    def columns(self) -> int:
        """Columns it was opened on; 0 when closed."""

    @property
    def allocations(self) -> int:
        """Buffers allocated so far for tiles."""

    @property
    def timeout_ns(self) -> int:
        """The time a submission may take."""

    def slot(
        self,
        column: int,
        batch: int,
        counts: Sequence[int],
        constants: Sequence[Bytes] | None = None,
    ) -> Slot:
        """A slot for up to `batch` tiles, with a submission of each of the sizes in `counts`.

        constants: per input buffer; with them, only what varies is staged, as (tiles, varying_bytes) arrays. Without
        them, whole flat buffers are.
        """

    def warm(self) -> None:
        """Run the kernel once on every column: the first run, or one after a rest, takes longer."""

    def wake(self) -> None:
        """`warm`, if the device may have gone to sleep."""

    def close(self) -> None:
        """Free what the session holds, unless a run of `warm` may be in flight; its slots must be closed before."""


class Backend(Protocol):
    """One open device. `interrupt`: Ctrl-C, held back by whoever has runs in flight."""

    @property
    def capabilities(self) -> Capabilities:
        """What it can do."""

    @property
    def clock(self) -> Clock:
        """The clock that its times are of."""

    @property
    def interrupt(self) -> Interrupt:
        """Whether the process was asked to end."""

    def prepare(self, spec: KernelSpec, columns: int) -> None:
        """Find and check what `spec` needs to run on so many columns; RequestError where it does not fit."""

    def open_session(self, spec: KernelSpec, columns: int, timeout_ms: int) -> Session:
        """Open a kernel; RequestError as `prepare`, DeviceError where the device refuses."""

    def next_ended(self, submissions: Sequence[Submission], timeout_ns: int) -> int:
        """Wait until one of several launched submissions has ended; returns its place.

        The place of the first where none ends in time, or where the device can't tell.
        """

    def take_trace(self) -> NDArray[np.int64] | None:
        """What the columns did since the last call; None without timestamps.

        int64 (n, 5): is_load, context, column, start_ns, end_ns; by context in the order of opening.
        """

    def take_hazards(self) -> list[Hazard]:
        """Hazards since the last call; empty where nothing looks for them."""

    def power(self) -> AbstractContextManager[None]:
        """Holds the power mode that was requested."""

    def read_state(self) -> MachineState | None:
        """State of the machine that times depend on; None where it cannot change."""


Opener = Callable[..., Backend]
"""open_backend(device, specs, computes) of a backend's module."""
