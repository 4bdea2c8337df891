"""The part of pyxrt that the harness uses, as types: XRT's own module, the simulator's and test doubles satisfy it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, SupportsInt


class State(SupportsInt, Protocol):
    """A value of ert_cmd_state."""

    @property
    def name(self) -> str:
        """As in XRT: ERT_CMD_STATE_..."""


class Bo(Protocol):
    """A buffer object."""

    def size(self) -> int:
        """Bytes."""

    def write(self, data: Any, seek: int, /) -> None:
        """Copy to the host copy."""

    def map(self) -> memoryview:
        """The host copy."""

    def sync(self, direction: Any, size: int = ..., offset: int = ..., /) -> None:
        """Make the copies equal."""


class Run(Protocol):
    """A prepared execution."""

    def set_arg(self, index: int, value: Any, /) -> None:
        """Bind an argument."""

    def start(self) -> None:
        """Submit it."""

    def state(self) -> State:
        """The present state."""


class Runlist(Protocol):
    """Runs that are submitted together."""

    def add(self, run: Any, /) -> None:
        """Append a run."""

    def execute(self) -> None:
        """Submit all."""

    def wait(self) -> None:
        """Wait for all; RuntimeError if one failed."""


class DeclaredKernel(Protocol):
    """A kernel as an xclbin declares it."""

    def get_name(self) -> str:
        """Its name."""

    def get_num_args(self) -> int:
        """Its number of arguments."""


class Xclbin(Protocol):
    """An open xclbin."""

    def get_kernels(self) -> Sequence[DeclaredKernel]:
        """Its kernels."""


class XrtDevice(Protocol):
    """An open device."""

    def register_xclbin(self, xclbin: Any, /) -> Any:
        """Make an xclbin known; returns its uuid."""

    def get_info(self, key: Any, /) -> str:
        """A property as text."""


class XrtKernel(Protocol):
    """A kernel on a hardware context."""

    def group_id(self, argument: int, /) -> int:
        """The memory bank of an argument."""


class BoType(Protocol):
    """The class `pyxrt.bo`."""

    @property
    def cacheable(self) -> Any:
        """Flag of instruction memory."""

    @property
    def host_only(self) -> Any:
        """Flag of data memory."""

    def __call__(self, *arguments: Any) -> Bo:
        """(device, size, flags, group), or (parent, size, offset) for a sub-buffer."""


class PyXrt(Protocol):
    """The module."""

    @property
    def xclbin(self) -> Callable[[str], Xclbin]:
        """Opens a file."""

    @property
    def device(self) -> Callable[[int], XrtDevice]:
        """Opens a device by index."""

    @property
    def hw_context(self) -> Callable[[Any, Any], Any]:
        """Makes a context of (device, uuid)."""

    @property
    def kernel(self) -> Callable[[Any, str], XrtKernel]:
        """Opens a kernel of (context, name)."""

    @property
    def bo(self) -> BoType:
        """Allocates memory."""

    @property
    def run(self) -> Callable[[Any], Run]:
        """Prepares a run of a kernel."""

    @property
    def runlist(self) -> Callable[[Any], Runlist]:
        """Makes a runlist of a context; absent from XRT before June 2025."""

    @property
    def xclBOSyncDirection(self) -> Any:  # noqa: N802 - XRT's name
        """Directions of a sync."""

    @property
    def ert_cmd_state(self) -> Any:
        """States of a run."""
