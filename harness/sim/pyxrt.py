"""The pyxrt API over a simulated machine; names, argument orders and values as in XRT's own module.

`plug(machine)` is to this module what the driver is to the real one: `device(0)` is the machine plugged last.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from pathlib import Path
from typing import Any, overload

import numpy as np

from harness.kernel import Bytes
from harness.sim.machine import Context, Image, Machine
from harness.sim.memory import UNDEFINED, Memory

_machines: list[Machine] = []


def plug(machine: Machine) -> None:
    """Make `machine` the one that `device(0)` opens."""
    _machines[:] = [machine]


class ert_cmd_state(IntEnum):  # noqa: N801 (XRT's name)
    """State of a command; values of XRT's ert.h."""

    ERT_CMD_STATE_NEW = 1
    ERT_CMD_STATE_QUEUED = 2
    ERT_CMD_STATE_COMPLETED = 4
    ERT_CMD_STATE_ERROR = 5
    ERT_CMD_STATE_ABORT = 6
    ERT_CMD_STATE_SUBMITTED = 7
    ERT_CMD_STATE_TIMEOUT = 8
    ERT_CMD_STATE_NORESPONSE = 9
    ERT_CMD_STATE_SKERROR = 10
    ERT_CMD_STATE_SKCRASHED = 11


class xclBOSyncDirection(IntEnum):  # noqa: N801 (XRT's name)
    """Direction of a sync."""

    XCL_BO_SYNC_BO_TO_DEVICE = 0
    XCL_BO_SYNC_BO_FROM_DEVICE = 1
    XCL_BO_SYNC_BO_GMIO_TO_AIE = 2
    XCL_BO_SYNC_BO_AIE_TO_GMIO = 3


_NEW, _COMPLETED = ert_cmd_state.ERT_CMD_STATE_NEW, ert_cmd_state.ERT_CMD_STATE_COMPLETED
_NEVER_NS = 1 << 62
FIRST_DATA_ARGUMENT = 3
"""Arguments 0 to 2 of every kernel are opcode, instructions and their size."""


class device:  # noqa: N801 (XRT's name)
    """An open device."""

    def __init__(self, index: int = 0) -> None:
        if not 0 <= index < len(_machines):
            raise RuntimeError(f"No such device with index '{index}'")
        self._machine = _machines[index]
        self._machine.advance(self._machine.profile.device_open_ns)

    def register_xclbin(self, image: xclbin) -> str:
        """Make an xclbin known to the device; returns its uuid."""
        self._machine.images[image.get_uuid()] = image._image
        return image.get_uuid()


class xclbin:  # noqa: N801 (XRT's name)
    """An xclbin file: here, the kernel that the machine knows the path to stand for."""

    class xclbinkernel:  # noqa: N801 (XRT's name)
        """One kernel of an xclbin."""

        def __init__(self, image: Image) -> None:
            self._image = image

        def get_name(self) -> str:
            """Name, as `kernel(context, name)` takes it."""
            return self._image.spec.name

        def get_num_args(self) -> int:
            """Number of arguments, opcode and instructions included."""
            return FIRST_DATA_ARGUMENT + len(self._image.spec.inputs) + 1

    def __init__(self, path: str) -> None:
        images = _machines[0].images if _machines else {}
        if path not in images:
            raise RuntimeError(f"No such file '{path}'")
        self._image = images[path]
        self._uuid = f"uuid:{Path(path).name}"

    def get_kernels(self) -> list[xclbinkernel]:
        """The kernels inside."""
        return [self.xclbinkernel(self._image)]

    def get_uuid(self) -> str:
        """Identity of the file."""
        return self._uuid


class hw_context:  # noqa: N801 (XRT's name)
    """A hardware context on one column of the device."""

    def __init__(self, opened: device, uuid: str) -> None:
        self._machine = opened._machine
        self._image = self._machine.images[uuid]
        context = self._machine.open_context()
        if context is None:
            raise RuntimeError("DRM_IOCTL_AMDXDNA_CREATE_HWCTX IOCTL failed (err=-22): Invalid argument")
        self._context = context
        self._machine.advance(self._machine.profile.context_open_ns)

    def __del__(self) -> None:
        if hasattr(self, "_context"):
            self._machine.close_context(self._context)


class kernel:  # noqa: N801 (XRT's name)
    """A kernel of a context's xclbin."""

    def __init__(self, context: hw_context, name: str) -> None:
        if name != context._image.spec.name:
            raise RuntimeError(f"No such kernel '{name}'")
        self._hw_context = context
        self._machine = context._machine
        self._image = context._image
        self._exec_ns = self._machine.profile.exec_of(name)

    def group_id(self, index: int) -> int:
        """Memory bank of argument `index`: 1 for the instructions, 65535 (none) for scalars, else 0."""
        return {0: 65535, 1: 1, 2: 65535}.get(index, 0)


class bo:  # noqa: N801 (XRT's name)
    """A buffer object, or a window onto one."""

    class flags(IntEnum):  # noqa: N801 (XRT's name)
        """Kinds of memory."""

        normal = 0
        cacheable = 0x0100_0000
        svm = 0x0800_0000
        device_only = 0x1000_0000
        host_only = 0x2000_0000
        p2p = 0x4000_0000

    normal, cacheable, svm = flags.normal, flags.cacheable, flags.svm
    device_only, host_only, p2p = flags.device_only, flags.host_only, flags.p2p

    @overload
    def __init__(self, owner: device, size: int, flags: bo.flags, group: int, /) -> None: ...
    @overload
    def __init__(self, owner: bo, size: int, offset: int, /) -> None: ...
    def __init__(self, owner: device | bo, size: int, third: int, group: int = 0, /) -> None:
        self._machine: Machine = owner._machine
        self._size = size
        self._memory: Memory
        self._offset: int
        if isinstance(owner, bo):
            if third < 0 or third + size > owner._size:
                raise RuntimeError("sub buffer size and offset")
            self._memory, self._offset = owner._memory, owner._offset + third
            return
        if third not in (bo.flags.cacheable, bo.flags.host_only):
            raise RuntimeError("Bad BO type. (err=-22): Invalid argument")
        self._memory, self._offset = Memory(size), 0
        self._machine.allocations += 1
        self._machine.advance(self._machine.profile.alloc_ns)

    def size(self) -> int:
        """Bytes."""
        return self._size

    def map(self) -> memoryview:
        """The host copy, writable, without a copy."""
        return self._memory.host.data[self._offset : self._offset + self._size]

    def sync(self, direction: int, size: int | None = None, offset: int = 0) -> None:
        """Make the copies equal in `direction`, for the whole bo or for `size` bytes from `offset`."""
        machine = self._machine
        size = self._size if size is None else size
        begin = self._offset + offset
        if begin + size > len(self._memory.host):
            raise RuntimeError("sync size and offset out of range")
        to_device = direction == xclBOSyncDirection.XCL_BO_SYNC_BO_TO_DEVICE
        profile = machine.profile
        fixed_ns = profile.write_fixed_ns if to_device else profile.read_fixed_ns
        machine.advance(profile.sync_ns(fixed_ns, size))
        machine.settle()
        if to_device:
            self._memory.to_device(begin, size)
        else:
            self._memory.from_device(begin, size)


class run:  # noqa: N801 (XRT's name)
    """One prepared execution of a kernel: bound to its arguments once, started many times."""

    def __init__(self, of: kernel) -> None:
        self._kernel = of
        self._machine = of._machine
        self._context: Context = of._hw_context._context
        self._bos: list[bo | None] = [None] * (len(of._image.spec.inputs) + 1)
        self._visible_ns = _NEVER_NS
        self._in_list = False

    def set_arg(self, index: int, value: Any) -> None:
        """Bind argument `index`."""
        if not 0 <= index < FIRST_DATA_ARGUMENT + len(self._bos):
            raise RuntimeError(f"No such argument index '{index}'")
        if index >= FIRST_DATA_ARGUMENT:
            self._bos[index - FIRST_DATA_ARGUMENT] = value

    def start(self) -> None:
        """Submit; blocks while the context's queue is full."""
        if self._in_list:
            raise RuntimeError("Run object belongs to a runlist and cannot be explicitly started")
        self._machine.advance(self._machine.profile.launch_ns)
        self._visible_ns = self._context.submit(self._kernel._exec_ns, 1, _effects(self))

    def state(self) -> ert_cmd_state:
        """NEW until the completion is visible, as on amdxdna."""
        return _COMPLETED if self._visible_ns <= self._machine.now_ns else _NEW

    def wait(self, timeout_ms: int = 0) -> ert_cmd_state:
        """Wait for completion, or `timeout_ms` if that is not 0; returns ERT_CMD_STATE_TIMEOUT after that."""
        until_ns = self._visible_ns
        if timeout_ms:
            until_ns = min(until_ns, self._machine.now_ns + timeout_ms * 1_000_000)
        self._machine.advance_to(until_ns)
        state = self.state()
        return state if state is _COMPLETED else ert_cmd_state.ERT_CMD_STATE_TIMEOUT


class runlist:  # noqa: N801 (XRT's name)
    """Runs submitted together, in order, as chains of commands."""

    def __init__(self, context: hw_context) -> None:
        self._machine = context._machine
        self._context = context._context
        self._runs: list[run] = []
        self._visible_ns = 0

    def add(self, member: run) -> None:
        """Append a run; it can no longer be started on its own."""
        member._in_list = True
        self._runs.append(member)

    def execute(self) -> None:
        """Submit all members, one command per chain of at most `chain_length`."""
        if self._visible_ns > self._machine.now_ns:
            raise RuntimeError("runlist must be idle before submitting for execution")
        machine = self._machine
        machine.advance(machine.profile.launch_ns)
        length = machine.profile.chain_length
        for first in range(0, len(self._runs), length):
            chain = self._runs[first : first + length]
            effects = [effect for member in chain for effect in _effects(member)]
            visible_ns = self._context.submit(chain[0]._kernel._exec_ns, len(chain), effects)
            self._visible_ns = visible_ns
            for member in chain:
                member._visible_ns = visible_ns

    def wait(self) -> None:
        """Wait until every member has completed."""
        self._machine.advance_to(self._visible_ns)


def _effects(of: run) -> list[tuple[Callable[[], None], Callable[[], None]]]:
    """What an execution does to device memory.

    It reads its inputs from start to end and writes its output all the while: so the output is undefined until the
    end, and after it too if an input changed in between.
    """
    image = of._kernel._image
    bos = [value for value in of._bos if value is not None]
    if len(bos) < len(of._bos):
        missing = FIRST_DATA_ARGUMENT + of._bos.index(None)
        raise RuntimeError(f"kernel {image.spec.name}: argument {missing} is not set")
    if not image.computes:
        return []
    buffers = (*image.spec.inputs, image.spec.output)
    *inputs, output = (
        value._memory.device[value._offset : value._offset + buffer.size_bytes].reshape(1, -1)
        for value, buffer in zip(bos, buffers, strict=True)
    )
    taken: list[Bytes] = []

    def begin() -> None:
        taken.extend(view.copy() for view in inputs)
        output.fill(UNDEFINED)

    def finish() -> None:
        if all(map(np.array_equal, taken, inputs)):
            output[:] = image.spec.compute(*taken)

    return [(begin, finish)]
