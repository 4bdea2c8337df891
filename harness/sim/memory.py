"""Buffer memory as a non-coherent NPU has it: a host copy and a device copy, equal only after a sync."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from harness.sim.sites import Site

if TYPE_CHECKING:
    from harness.sim.launch import Access, Launch, Result

LINE_BYTES = 64
"""A sync moves whole cache lines: user-space clflush (xdna-driver, src/shim/buffer.cpp)."""
_ROUND_UP = LINE_BYTES - 1
UNDEFINED = 0xA5
"""What stands where nothing is defined, so that reading it shows."""


def whole_lines(low: int, high: int) -> tuple[int, int]:
    """Bytes `low` to `high`, end excluded, extended to whole cache lines."""
    return low & -LINE_BYTES, high + _ROUND_UP & -LINE_BYTES


class Memory:
    """The two copies of one allocation, zero at first, as the driver hands it out; whole cache lines.

    Whichever its direction, a sync writes the lines that the host changed back, and drops the others from the
    cache, so that the host reads them anew. `agreed` is what both sides last had; it is the device's copy itself until
    the device writes (None), and a copy of its own from then on.

    accesses: what runs bound to it will do; writers: how many of them write. last: the latest launch that used it;
    mixed: that does not tell of all that do. fresh: byte ranges that runs wrote and nobody has synced since. handles:
    bos and sub-buffers that still exist. name: for people. size: bytes asked for; key: all of them. address, bank: on
    the device. written: the last call through which the host may have written to it.
    """

    __slots__ = (
        *(
            "accesses",
            "address",
            "agreed",
            "bank",
            "device",
            "fresh",
            "handles",
            "host",
            "key",
            "last",
        ),
        *("mixed", "name", "size", "writers", "written"),
    )

    def __init__(self, size_bytes: int, name: str = "bo", address: int = 0, bank: int = 0) -> None:
        whole = size_bytes + _ROUND_UP & -LINE_BYTES
        self.size = size_bytes
        self.key = 0, size_bytes
        self.host = bytearray(whole)
        self.device = bytearray(whole)
        self.agreed: bytearray | None = None
        self.accesses: list[Access] = []
        self.fresh: tuple[Result, ...] = ()
        self.handles = self.writers = 0
        self.last: Launch | None = None
        self.mixed = False
        self.name = name
        self.address = address
        self.bank = bank
        self.written: Site | None = None

    def sync(self, low: int, high: int) -> None:
        """Make the copies of every line that bytes `low` to `high` touch equal."""
        host, device, agreed = self.host, self.device, self.agreed
        low, high = whole_lines(low, high)
        if agreed is None:
            device[low:high] = host[low:high]
            return
        before, ours = agreed[low:high], host[low:high]
        if ours != before:
            theirs = device[low:high]
            if theirs != before:
                ours = _merged(ours, theirs, before)
            device[low:high] = agreed[low:high] = ours
            host[low:high] = ours
        else:
            host[low:high] = agreed[low:high] = device[low:high]

    def changed_by_host(self, low: int, high: int) -> bool:
        """Whether the host has written to bytes `low` to `high` since they were last synced."""
        agreed = self.agreed
        if agreed is None:
            agreed = self.device
        if low == 0 and high >= self.size:
            return self.host != agreed
        return self.host[low:high] != agreed[low:high]

    def device_writes(self) -> None:
        """Called before the device's copy changes: from here on the two copies differ for more than one reason."""
        if self.agreed is None:
            self.agreed = bytearray(self.device)

    def undefine(self, low: int, high: int) -> None:
        """Leave nothing to rely on in what the device holds in bytes `low` to `high`."""
        self.device_writes()
        self.device[low:high] = bytes([UNDEFINED]) * (high - low)

    def undefine_host(self, low: int, high: int) -> None:
        """The same with what the host sees, until the next sync."""
        self.device_writes()
        assert self.agreed is not None
        self.host[low:high] = self.agreed[low:high] = bytes([UNDEFINED]) * (high - low)


def _merged(host: bytearray, device: bytearray, before: bytearray) -> bytearray:
    """The lines that the host changed, else the device's."""
    ours, theirs, agreed = (
        np.frombuffer(copy, np.uint8).reshape(-1, LINE_BYTES) for copy in (host, device, before)
    )
    dirty = (ours != agreed).any(axis=1, keepdims=True)
    return bytearray(np.where(dirty, ours, theirs).tobytes())
