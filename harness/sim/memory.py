"""Buffer memory as a non-coherent NPU has it: a host copy and a device copy, equal only after a sync."""

from __future__ import annotations

import numpy as np

from harness.kernel import Bytes

LINE_BYTES = 64
"""A sync moves whole cache lines: user-space clflush (xdna-driver, src/shim/buffer.cpp)."""
_ROUND_UP = LINE_BYTES - 1
UNDEFINED = 0xA5
"""What device memory holds before anything defines it, so that reading it shows."""


class Memory:
    """The two copies of one allocation, each (size_bytes,) uint8."""

    def __init__(self, size_bytes: int) -> None:
        self.size = size_bytes
        self.host: Bytes = np.zeros(size_bytes, np.uint8)
        self.device: Bytes = np.full(size_bytes, UNDEFINED, np.uint8)

    def to_device(self, offset: int, size: int) -> None:
        """Copy host bytes of every line that [offset, offset + size) touches to the device copy."""
        low, high = offset & -LINE_BYTES, offset + size + _ROUND_UP & -LINE_BYTES
        self.device[low:high] = self.host[low:high]

    def from_device(self, offset: int, size: int) -> None:
        """The same from the device copy to the host copy."""
        low, high = offset & -LINE_BYTES, offset + size + _ROUND_UP & -LINE_BYTES
        self.host[low:high] = self.device[low:high]
