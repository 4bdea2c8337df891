"""Buffer objects, as pyxrt has them."""

from __future__ import annotations

from enum import IntEnum
from typing import overload

from harness.sim.enums import xclBOSyncDirection
from harness.sim.machine import Machine
from harness.sim.memory import Memory
from harness.sim.platform import device

_TO_DEVICE = int(xclBOSyncDirection.XCL_BO_SYNC_BO_TO_DEVICE)


class bo:
    """A buffer object, or a window onto one."""

    class flags(IntEnum):
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
        if size is None:
            size = self._size
        memory, begin = self._memory, self._offset + offset
        if begin + size > memory.size:
            raise RuntimeError("sync size and offset out of range")
        machine, to_device = self._machine, direction == _TO_DEVICE
        machine.now_ns += machine.sync_ns(to_device, size)
        machine.settle()
        if to_device:
            memory.to_device(begin, size)
        else:
            memory.from_device(begin, size)
