"""`pyxrt.bo`: a buffer object, its host copy, and the sync of the two copies."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.hazard import Kind
from harness.sim.device import device, hw_context
from harness.sim.enums import ert_cmd_state, xclBOSyncDirection
from harness.sim.enums import flags as bo_flags
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
"""Default of an optional argument."""


class BoRange:
    """The bytes of a memory that a bo covers.

    key: first byte and end. costs_ns: time of a sync of all of them, from and to the device.
    device_offset: offset on the device. It differs from the host's in a sub-buffer of a sub-buffer:
    its device address loses the outer offset (XRT #9952).
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
    """A buffer object, or a sub-buffer of one."""

    flags = bo_flags
    normal, cacheable, svm = bo_flags.normal, bo_flags.cacheable, bo_flags.svm
    device_only, host_only, p2p = bo_flags.device_only, bo_flags.host_only, bo_flags.p2p

    _range: BoRange

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        values = args
        for names in _NAMES:
            if kwargs and (ordered := keywords(args, kwargs, names)):
                values = ordered
        owner = values[0] if values else None
        if (
            isinstance(owner, bo)
            and len(values) == 3
            and all(is_int(value, UINT64) for value in values[1:])
        ):
            parent, size, offset = owner._range, int(values[1]), int(values[2])
            if offset + size > parent.size:
                raise RuntimeError("sub buffer size and offset: Invalid argument")
            self._range = BoRange(
                parent.machine, parent.memory, size, parent.offset + offset, offset
            )
        else:
            # The form without flags means `normal`, which NPUs refuse.
            if isinstance(owner, hw_context) and len(values) == 3:
                values = owner, values[1], bo_flags.normal, values[2]
            if (
                len(values) != 4
                or not isinstance(owner, device | hw_context)
                or not isinstance(values[2], bo_flags)
                or not (is_int(values[1], UINT64) and is_int(values[3], UINT32))
            ):
                raise incompatible("__init__", _FORMS, args, kwargs)
            self._range = _allocate(owner._machine, int(values[1]), values[2], int(values[3]))
        self._range.memory.handles += 1

    # A default argument, because the globals of a module may be gone when the interpreter exits.
    def __del__(self, finalizing: Callable[[], bool] = sys.is_finalizing) -> None:
        if "_range" in self.__dict__ and not finalizing():
            window = self._range
            window.memory.handles -= 1
            if not window.memory.handles:
                window.machine.free(window.memory)

    def size(self) -> int:
        """Return the size in bytes."""
        return self._range.size

    def address(self) -> int:
        """Return the address on the device."""
        return self._range.memory.address + self._range.device_offset

    def map(self) -> memoryview:
        """Return a writable view of the host copy. The view does not keep the bo alive."""
        window = self._range
        # A write through the view makes no call, so every view may be where a write came from.
        if window.machine.sanitizer:
            window.memory.write_site = here(window.machine.clock.now_ns)
        return memoryview(window.memory.host)[slice(*window.key)]

    def write(self, data: Any, seek: int, /) -> None:
        """Copy the bytes of an array into the host copy, from byte `seek` on.

        Of an array that is not in C order, it copies as many bytes from its first element on, as
        pyxrt does.
        """
        try:
            view = memoryview(data)
        except TypeError:
            raise incompatible("write", _WRITE_FORMS, (self, data, seek)) from None
        if not is_int(seek, UINT64):
            raise incompatible("write", _WRITE_FORMS, (self, data, seek))
        window = self._range
        content = view.cast("B") if view.c_contiguous else _behind_first_element(view)
        if seek + len(content) > window.size:
            raise RuntimeError("attempting to write past buffer size: Invalid argument")
        begin, end = window.offset + seek, window.offset + seek + len(content)
        if sanitizer := window.machine.sanitizer:
            sanitizer.on_write(window.memory, begin, end)
            if not view.c_contiguous and content != view.tobytes():
                span = begin, end
                sanitizer.log.add(Kind.STRIDED_WRITE, None, window.memory.name, span, None, "")
            window.memory.write_site = here(window.machine.clock.now_ns)
        window.memory.note_write(begin, end)
        window.memory.host[begin:end] = content

    def read(self, size: int, skip: int, /) -> NDArray[np.int8]:
        """Return a copy of `size` bytes of the host copy, from byte `skip` on: (size,) int8."""
        if not is_int(size, UINT64) or not is_int(skip, UINT64):
            raise incompatible("read", _READ_FORMS, (self, size, skip))
        window = self._range
        if skip + size > window.size:
            raise RuntimeError("attempting to read past buffer size: Invalid argument")
        begin, end = window.offset + skip, window.offset + skip + size
        sanitizer = window.machine.sanitizer
        if sanitizer and not sanitizer.on_read(window.memory, begin, end):
            return np.full(size, UNDEFINED, np.uint8).view(np.int8)
        return np.frombuffer(window.memory.host[begin:end], np.int8)

    def sync(self, direction: xclBOSyncDirection, size: int = _ALL, offset: int = _ALL, /) -> None:
        """Make the two copies equal: the whole bo, or `size` bytes from `offset`."""
        if direction is _TO_DEVICE:
            to_device = True
        elif direction is _FROM_DEVICE:
            to_device = False
        elif isinstance(direction, xclBOSyncDirection):
            # The directions of other devices: accepted, without an effect.
            return
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
                raise RuntimeError(
                    f"Invalid BO offset and size for sync'ing: {offset}, {size} (err=22): "
                    "Invalid argument"
                )
        if machine.contention:
            cost_ns = machine.contention.sync_ns(cost_ns)
        machine.clock.now_ns += cost_ns
        # Executions that ended by now have written their outputs.
        if machine.effects:
            machine.settle()
        last, undefined = memory.last, None
        # The usual cases are handled here, as a call of the sanitizer costs more than the sync.
        if last is None:
            pass  # no run has used the memory, or there is no sanitizer
        elif last.order > last.context.retired or memory.mixed:
            undefined = _sanitizer_of(machine).on_sync(memory, key, to_device)
        elif (
            memory.fresh is last.result
            and key == memory.key
            and last.final is _COMPLETED
            and memory.host == (memory.sync_copy or memory.device)
        ):
            # The usual end of a run: its output is read back.
            memory.fresh, last.unread = (), False
        elif memory.fresh or last.unread:
            undefined = _sanitizer_of(machine).on_sync(memory, key, to_device)
        if memory.sync_copy is None and key == memory.key:
            # The same result as `Memory.sync`, without its slices.
            memory.device[:] = memory.host
        else:
            memory.sync(*key)
        for begin, end in undefined or ():
            memory.undefine_host(begin, end)


def _behind_first_element(view: memoryview) -> bytes:
    """As many bytes as a strided array has, from its first element on, whatever lies there.

    UNDEFINED where the array's own memory ends before: pyxrt reads beyond it.
    """
    array = np.asarray(view)
    begin = array.ctypes.data
    end = begin + array.itemsize
    end += sum(
        (n - 1) * each for n, each in zip(array.shape, array.strides, strict=True) if each > 0
    )
    content = ctypes.string_at(begin, min(array.nbytes, end - begin))
    return content + bytes([UNDEFINED]) * (array.nbytes - len(content))


def _allocate(machine: Machine, size: int, kind: bo_flags, group: int) -> BoRange:
    """Allocate memory for a bo; RuntimeError with XRT's text for a kind that NPUs lack."""
    machine.ioctl("CREATE_BO")
    if kind is bo_flags.normal:
        raise RuntimeError("unsupported buffer type: none flag (err=95): Operation not supported")
    if kind not in (bo_flags.cacheable, bo_flags.host_only):
        raise RuntimeError("Bad BO type. (err=22): Invalid argument")
    if not size:
        raise RuntimeError("mmap_range(len=0) failed (err=-22): Invalid argument")
    # The bits of a group id above 16 are the context's slot.
    in_heap = kind is bo_flags.cacheable
    window = BoRange(machine, machine.allocate(size, group & 0xFFFF, in_heap), size, 0, 0)
    machine.clock.now_ns += machine.profile.alloc_ns
    return window


def _sanitizer_of(machine: Machine) -> Sanitizer:
    """Return the sanitizer of a machine that has one: only a sanitizer sets `Memory.last`."""
    assert machine.sanitizer is not None
    return machine.sanitizer
