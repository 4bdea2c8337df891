"""Buffer objects, as pyxrt has them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.sim.device import device, hw_context
from harness.sim.enums import ert_cmd_state, xclBOSyncDirection
from harness.sim.enums import flags as bo_flags
from harness.sim.kernel_model import INSTRUCTION_BANK
from harness.sim.machine import Machine
from harness.sim.memory import UNDEFINED, Memory
from harness.sim.pybind import UINT32, UINT64, PybindObject, incompatible, is_int, keywords
from harness.sim.sanitizer import Sanitizer
from harness.sim.sites import here

_TO_DEVICE = xclBOSyncDirection.XCL_BO_SYNC_BO_TO_DEVICE
_COMPLETED = ert_cmd_state.ERT_CMD_STATE_COMPLETED
_FROM_DEVICE = xclBOSyncDirection.XCL_BO_SYNC_BO_FROM_DEVICE
_FORMS = (
    "pyxrt.bo(device: pyxrt.device, size: int, flags: pyxrt.bo.flags, group: int)",
    "pyxrt.bo(hwctx: pyxrt.hw_context, size: int, flags: pyxrt.bo.flags, group: int)",
    "pyxrt.bo(hwctx: pyxrt.hw_context, size: int, group: int)",
    "pyxrt.bo(arg0: pyxrt.bo, arg1: int, arg2: int)",
)
_NAMES = (
    ("device", "size", "flags", "group"),
    ("hwctx", "size", "flags", "group"),
    ("hwctx", "size", "group"),
)
_WRITE_FORMS = ("(self: pyxrt.bo, arg0: collections.abc.Buffer, arg1: int) -> None",)
_READ_FORMS = ("(self: pyxrt.bo, arg0: int, arg1: int) -> numpy.typing.NDArray[numpy.int8]",)
_SYNC_FORMS = (
    "(self: pyxrt.bo, arg0: pyxrt.xclBOSyncDirection, arg1: int, arg2: int) -> None",
    "(self: pyxrt.bo, arg0: pyxrt.xclBOSyncDirection) -> None",
)

_ALL: Any = object()
"""Stands for an argument that was not given."""


class BoRange:
    """Bytes `key` of a memory, as a bo shows them.

    device_offset: where a kernel finds them; not the same as for the host in a sub-buffer of a sub-buffer, of which the
    device address loses the outer offset (XRT #9952). costs_ns: of a whole sync from, and to the device.
    """

    __slots__ = ("costs_ns", "device_offset", "key", "machine", "memory", "offset", "size")

    def __init__(
        self, machine: Machine, memory: Memory, size: int, offset: int, device_offset: int
    ) -> None:
        self.machine = machine
        self.memory = memory
        self.size = size
        self.offset = offset
        self.device_offset = device_offset
        self.key = offset, offset + size
        self.costs_ns = machine.sync_ns(False, size), machine.sync_ns(True, size)


class bo(PybindObject):
    """A buffer object, or a window onto one."""

    flags = bo_flags
    normal, cacheable, svm = bo_flags.normal, bo_flags.cacheable, bo_flags.svm
    device_only, host_only, p2p = bo_flags.device_only, bo_flags.host_only, bo_flags.p2p

    _range: BoRange

    def __init__(self, *given: Any, **named: Any) -> None:
        values = given
        for names in _NAMES:
            if named and (found := keywords(given, named, names)):
                values = found
        owner = values[0] if values else None
        if (
            isinstance(owner, bo)
            and len(values) == 3
            and all(is_int(value, UINT64) for value in values[1:])
        ):
            parent, size, offset = owner._range, int(values[1]), int(values[2])
            if offset + size > parent.size:
                raise RuntimeError("sub buffer size and offset")
            self._range = BoRange(
                parent.machine, parent.memory, size, parent.offset + offset, offset
            )
        else:
            if isinstance(owner, hw_context) and len(values) == 3:
                values = owner, values[1], bo_flags.host_only, values[2]
            if (
                len(values) != 4
                or not isinstance(owner, device | hw_context)
                or not isinstance(values[2], bo_flags)
                or not (is_int(values[1], UINT64) and is_int(values[3], UINT32))
            ):
                raise incompatible("__init__", _FORMS, given, named)
            self._range = _allocate(owner._machine, int(values[1]), values[2], int(values[3]))
        self._range.memory.handles += 1

    def __del__(self, finalizing: Callable[[], bool] = sys.is_finalizing) -> None:
        if "_range" in self.__dict__ and not finalizing():
            window = self._range
            window.memory.handles -= 1
            if not window.memory.handles:
                window.machine.free(window.memory)

    def size(self) -> int:
        """Bytes."""
        return self._range.size

    def address(self) -> int:
        """Address on the device."""
        return self._range.memory.address + self._range.device_offset

    def map(self) -> memoryview:
        """The host copy, writable, without a copy; it does not keep the bo alive."""
        window = self._range
        if window.machine.sanitizer:
            window.memory.written = here(window.machine.clock.now_ns)
        return memoryview(window.memory.host)[slice(*window.key)]

    def write(self, data: Any, seek: int, /) -> None:
        """Copy the bytes of an array to `seek` and following of the host copy."""
        try:
            view = memoryview(data)
        except TypeError:
            raise incompatible("write", _WRITE_FORMS, (self, data, seek)) from None
        if not is_int(seek, UINT64):
            raise incompatible("write", _WRITE_FORMS, (self, data, seek))
        window, content = self._range, view.cast("B") if view.c_contiguous else view.tobytes()
        if seek + len(content) > window.size:
            raise RuntimeError("attempting to write past buffer size")
        begin, end = window.offset + seek, window.offset + seek + len(content)
        if sanitizer := window.machine.sanitizer:
            sanitizer.writing(window.memory, begin, end)
            window.memory.written = here(window.machine.clock.now_ns)
        window.memory.host[begin:end] = content

    def read(self, size: int, skip: int, /) -> NDArray[np.int8]:
        """A copy of `size` bytes of the host copy from `skip`: (size,) int8."""
        if not is_int(size, UINT64) or not is_int(skip, UINT64):
            raise incompatible("read", _READ_FORMS, (self, size, skip))
        window = self._range
        if skip + size > window.size:
            raise RuntimeError("attempting to read past buffer size")
        begin, end = window.offset + skip, window.offset + skip + size
        sanitizer = window.machine.sanitizer
        if sanitizer and not sanitizer.reading(window.memory, begin, end):
            return np.full(size, UNDEFINED, np.uint8).view(np.int8)
        return np.frombuffer(window.memory.host[begin:end], np.int8)

    def sync(self, direction: xclBOSyncDirection, size: int = _ALL, offset: int = _ALL, /) -> None:
        """Make the copies equal in `direction`, for the whole bo or for `size` bytes from `offset`."""
        if direction is _TO_DEVICE:
            to_device = True
        elif direction is _FROM_DEVICE:
            to_device = False
        elif isinstance(direction, xclBOSyncDirection):
            raise RuntimeError("sync direction not supported (err=-22): Invalid argument")
        else:
            raise incompatible("sync", _SYNC_FORMS, (self, direction))
        window = self._range
        machine, memory = window.machine, window.memory
        if size is _ALL:
            key, cost_ns = window.key, window.costs_ns[to_device]
        elif offset is _ALL or not is_int(size, UINT64) or not is_int(offset, UINT64):
            raise incompatible(
                "sync", _SYNC_FORMS, (self, direction, size, offset)[: 3 if offset is _ALL else 4]
            )
        else:
            key = window.offset + int(offset), window.offset + int(offset) + int(size)
            cost_ns = machine.sync_ns(to_device, int(size))
            if key[1] > memory.size:
                raise RuntimeError("Invalid offset and size when syncing sub buffer")
        machine.clock.now_ns += cost_ns
        if machine.effects:
            machine.settle()
        last, undefined = memory.last, None
        if last is None:  # nobody has used it, or nobody watches
            pass
        elif last.order > last.context.retired or memory.mixed:
            undefined = watching(machine).syncing(memory, key, to_device)
        elif (
            memory.fresh is last.result
            and key == memory.key
            and last.final is _COMPLETED
            and memory.host == (memory.agreed or memory.device)
        ):
            memory.fresh, last.unread = (), False  # the usual end of a run: its output is taken
        elif memory.fresh or last.unread:
            undefined = watching(machine).syncing(memory, key, to_device)
        if memory.agreed is None and key == memory.key:
            memory.device[:] = memory.host  # what `Memory.sync` comes to, without its slices
        else:
            memory.sync(*key)
        for begin, end in undefined or ():
            memory.undefine_host(begin, end)


def _allocate(machine: Machine, size: int, kind: bo_flags, group: int) -> BoRange:
    """A bo of its own; RuntimeError with XRT's text for what an NPU has not."""
    machine.ioctl("CREATE_BO")
    if kind not in (bo_flags.cacheable, bo_flags.host_only):
        raise RuntimeError("Bad BO type. (err=-22): Invalid argument")
    if not size:
        raise RuntimeError("DRM_IOCTL_AMDXDNA_CREATE_BO IOCTL failed (err=-22): Invalid argument")
    # Cacheable memory is the device's own heap, whatever group was asked for.
    bank = INSTRUCTION_BANK if kind is bo_flags.cacheable else group & 0xFFFF
    window = BoRange(machine, machine.allocate(size, bank), size, 0, 0)
    machine.clock.now_ns += machine.profile.alloc_ns
    return window


def watching(machine: Machine) -> Sanitizer:
    """The machine's sanitizer, where there must be one."""
    assert machine.sanitizer is not None
    return machine.sanitizer
