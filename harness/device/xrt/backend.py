"""The backend over pyxrt, XRT's own or the simulator's."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from harness.device.backend import Capabilities, Clock, Submission
from harness.device.interrupt import Interrupt
from harness.device.xrt.failures import XRT_ERRORS, call_error
from harness.device.xrt.open_devices import OpenDevices
from harness.device.xrt.open_kernel import OpenKernel, open_kernel
from harness.device.xrt.pyxrt_api import PyXrt, Run, State, XrtDevice
from harness.device.xrt.session import XrtSession
from harness.device.xrt.wait import Pause, wait_loop
from harness.kernel import Bytes, KernelSpec

if TYPE_CHECKING:
    from harness.device.host.state import MachineState
    from harness.hazard import Hazard


@dataclass(eq=False)
class XrtBackend:
    """A device opened through `pyxrt`; implements `harness.device.backend.Backend`.

    pause: lets time pass between two checks of a run's state. find_files(spec): path of the xclbin
    and the instructions of a kernel. columns_of(path): columns that an xclbin occupies. opening():
    a lock held while contexts are opened. devices: owns what must outlive this object. opened:
    xclbins opened so far, by kernel name, so that all passes time the same build.
    """

    pyxrt: PyXrt
    device: XrtDevice
    clock: Clock
    pause: Pause
    capabilities: Capabilities
    find_files: Callable[[KernelSpec], tuple[str, Bytes]]
    columns_of: Callable[[str], int] = lambda path: 1
    opening: Callable[[], AbstractContextManager[None]] = nullcontext
    power: Callable[[], AbstractContextManager[None]] = nullcontext
    read_state: Callable[[], MachineState | None] = lambda: None
    take_trace: Callable[[], NDArray[np.int64] | None] = lambda: None
    take_hazards: Callable[[], list[Hazard]] = list
    interrupt: Interrupt = field(default_factory=Interrupt)
    devices: OpenDevices = field(default_factory=OpenDevices)
    opened: dict[str, OpenKernel] = field(default_factory=dict)

    def __post_init__(self) -> None:
        states = self.pyxrt.ert_cmd_state
        self.completed = (states.ERT_CMD_STATE_COMPLETED,)
        # One closure for all waits, which are part of the timed loop.
        self.first_ended = wait_loop(self.clock, self.pause, self.interrupt, states)

    def prepare(self, spec: KernelSpec, columns: int) -> None:
        """Open the files of `spec`; RequestError if they do not fit the spec or `columns`."""
        open_kernel(self, spec, columns)

    def open_session(self, spec: KernelSpec, columns: int, timeout_ms: int) -> XrtSession:
        """Open a kernel on one context per column."""
        return XrtSession(self, spec, columns, timeout_ms)

    def next_ended(self, submissions: Sequence[Submission], timeout_ns: int) -> int | None:
        """Index of a submission that has ended, or of the one to wait for; None after the timeout.

        A runlist has no state that could be checked. If any submission is a runlist, the result
        is the first one launched, and nothing is waited for.
        """
        runs: list[Run] = [run for each in submissions if (run := getattr(each, "run", None))]
        # A single submission needs no choice; its own wait has the timeout.
        if len(submissions) == 1 or len(runs) < len(submissions):
            return 0

        looks = [run.state for run in runs]
        with self.calls():
            ended = self.first_ended(looks, timeout_ns)
        return looks.index(ended[0]) if ended else None

    def wait(self, run: Run, timeout_ns: int) -> State | None:
        """State in which a started run has ended; None if still in flight after `timeout_ns`.

        For programs that drive pyxrt themselves, as tests/npu does.
        """
        ended = self.first_ended((run.state,), timeout_ns)
        return ended and ended[1]

    @contextmanager
    def calls(self) -> Iterator[None]:
        """Raise XRT's errors from the body as DeviceError.

        For calls outside of the timed loop; `guard` costs less per call.
        """
        try:
            yield
        except XRT_ERRORS as error:
            raise call_error(error, self.devices.stuck_kernels) from error

    def guard(self, call: Callable[[], Any]) -> Callable[[], None]:
        """Wrap a call that is made for every tile, so that XRT's errors become DeviceError."""

        def guarded_call() -> None:
            try:
                call()
            except XRT_ERRORS as error:
                raise call_error(error, self.devices.stuck_kernels) from error

        return guarded_call
