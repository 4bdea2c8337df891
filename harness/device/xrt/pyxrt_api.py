"""Types for the part of pyxrt that the harness uses.

XRT's own module, the simulator's and the test doubles implement these Protocols.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, SupportsInt


class State(SupportsInt, Protocol):
    """A value of ert_cmd_state."""

    @property
    def name(self) -> str:
        """XRT's name of the state, ERT_CMD_STATE_..."""


class Bo(Protocol):
    """A buffer object, with a host copy and a device copy."""

    def size(self) -> int:
        """Size in bytes."""

    def write(self, data: Any, seek: int, /) -> None:
        """Write `data` into the host copy, from byte `seek` on."""

    def map(self) -> memoryview:
        """A writable view of the host copy; it must not outlive the bo."""

    def sync(self, direction: Any, size: int = ..., offset: int = ..., /) -> None:
        """Copy `size` bytes from `offset` on between the host copy and the device copy."""


class Run(Protocol):
    """One prepared execution of a kernel; it can be started many times."""

    def set_arg(self, index: int, value: Any, /) -> None:
        """Bind an argument."""

    def start(self) -> None:
        """Submit the run; it is in flight until its state is final."""

    def state(self) -> State:
        """The present state."""


class Runlist(Protocol):
    """Runs that are submitted together."""

    def add(self, run: Any, /) -> None:
        """Append a run."""

    def execute(self) -> None:
        """Submit all runs."""

    def wait(self) -> None:
        """Wait for all runs; RuntimeError if one failed."""


class DeclaredKernel(Protocol):
    """A kernel as an xclbin declares it."""

    def get_name(self) -> str:
        """Name of the kernel."""

    def get_num_args(self) -> int:
        """Number of arguments, including opcode and instructions."""


class Xclbin(Protocol):
    """An open xclbin."""

    def get_kernels(self) -> Sequence[DeclaredKernel]:
        """The kernels that the xclbin declares."""


class XrtDevice(Protocol):
    """An open device."""

    def register_xclbin(self, xclbin: Any, /) -> Any:
        """Register an xclbin with the device; returns its uuid."""

    def get_info(self, key: Any, /) -> str:
        """A property of the device as text; key: a value of `xrt_info_device`."""


class XrtKernel(Protocol):
    """A kernel on a hardware context."""

    def group_id(self, argument: int, /) -> int:
        """The memory bank of an argument."""


class BoType(Protocol):
    """The class `pyxrt.bo`."""

    @property
    def cacheable(self) -> Any:
        """Flag for bos that hold instructions."""

    @property
    def host_only(self) -> Any:
        """Flag for bos that hold data."""

    def __call__(self, *arguments: Any) -> Bo:
        """Allocate a bo: (device, size, flags, group); a sub-buffer: (parent, size, offset)."""


class PyXrt(Protocol):
    """The module `pyxrt`."""

    @property
    def xclbin(self) -> Callable[[str], Xclbin]:
        """Opens an xclbin file."""

    @property
    def device(self) -> Callable[[int], XrtDevice]:
        """Opens a device by index."""

    @property
    def hw_context(self) -> Callable[[Any, Any], Any]:
        """Opens a hardware context: (device, uuid)."""

    @property
    def kernel(self) -> Callable[[Any, str], XrtKernel]:
        """Opens a kernel: (context, name)."""

    @property
    def bo(self) -> BoType:
        """Allocates a buffer object."""

    @property
    def run(self) -> Callable[[Any], Run]:
        """Prepares a run of a kernel."""

    @property
    def runlist(self) -> Callable[[Any], Runlist]:
        """Creates a runlist on a context; XRT before June 2025 does not have it."""

    @property
    def xclBOSyncDirection(self) -> Any:  # noqa: N802 - XRT's name
        """The directions of a sync."""

    @property
    def ert_cmd_state(self) -> Any:
        """The states of a run."""
