"""Buffer memory of a non-coherent NPU: a host copy and a device copy, equal only after a sync."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from harness.sim.sites import Site

if TYPE_CHECKING:
    from harness.sim.access import Access, Result
    from harness.sim.launch import Launch

LINE_BYTES = 64
"""A sync moves whole cache lines: user-space clflush (xdna-driver, src/shim/buffer.cpp)."""
PAGE_BYTES = 4096
_ROUND_UP = LINE_BYTES - 1
UNDEFINED = 0xA5
"""Value of undefined bytes: not zero, so that a program that reads them gets wrong results."""


def whole_lines(low: int, high: int) -> tuple[int, int]:
    """Extend the bytes `low` to `high` (excluded) to whole cache lines."""
    return low & -LINE_BYTES, high + _ROUND_UP & -LINE_BYTES


class Memory:
    """The host copy and the device copy of one allocation: at least its cache lines, zero at first.

    In either direction, a sync writes back the lines that the host changed, and drops the others
    from the cache, so that the host reads them from the device.

    host, device: the two copies
    sync_copy: content after the last sync, to see what each side changed. None until the device
        writes: until then it equals `device`
    size, key: requested bytes, and the range of them: (0, size)
    address, bank: place on the device
    heap_bytes: bytes of the device's heap that it occupies; 0 outside of it
    name: name in reports
    handles: number of bos and sub-buffers that exist
    accesses, writers: accesses of the runs that are bound to it, and how many of them write
    last: the latest launch that used it
    mixed: other launches than `last` may be in flight or unread
    fresh: byte ranges that runs wrote and that were not synced since
    write_site: the last call through which the host may have written to it
    rewritten: byte ranges that `bo.write` wrote since the device wrote, until their sync. A sync
        writes them back, also if they are the bytes that the host had before
    """

    __slots__ = (
        "accesses",
        "address",
        "bank",
        "device",
        "fresh",
        "handles",
        "heap_bytes",
        "host",
        "key",
        "last",
        "mixed",
        "name",
        "rewritten",
        "size",
        "sync_copy",
        "write_site",
        "writers",
    )

    def __init__(self, size_bytes: int, name: str = "bo", address: int = 0, bank: int = 0) -> None:
        whole = size_bytes + _ROUND_UP & -LINE_BYTES
        self.size = size_bytes
        self.key = 0, size_bytes
        # The allocator often puts the two side by side. If they lie just over a multiple of 4 KiB
        # apart, copying takes up to 30 times as long: the processor takes their loads and stores
        # for ones of the same bytes (4K aliasing).
        if whole % PAGE_BYTES <= LINE_BYTES:
            whole += PAGE_BYTES // 2
        self.host = bytearray(whole)
        self.device = bytearray(whole)
        self.sync_copy: bytearray | None = None
        self.accesses: list[Access] = []
        self.fresh: tuple[Result, ...] = ()
        self.handles = self.writers = self.heap_bytes = 0
        self.last: Launch | None = None
        self.mixed = False
        self.name = name
        self.address = address
        self.bank = bank
        self.write_site: Site | None = None
        self.rewritten: tuple[tuple[int, int], ...] = ()

    def sync(self, low: int, high: int) -> None:
        """Make the two copies equal in every cache line of the bytes `low` to `high`."""
        host, device, sync_copy = self.host, self.device, self.sync_copy
        low, high = whole_lines(low, high)
        if sync_copy is None:
            device[low:high] = host[low:high]
            return
        if self.rewritten:
            self._write_back(low, high, sync_copy)
        before, ours = sync_copy[low:high], host[low:high]
        if ours != before:
            theirs = device[low:high]
            # Both sides changed bytes since the last sync: lines decide which change survives.
            if theirs != before:
                ours = _merge(ours, theirs, before)
            device[low:high] = sync_copy[low:high] = ours
            host[low:high] = ours
        else:
            host[low:high] = sync_copy[low:high] = device[low:high]

    def note_write(self, low: int, high: int) -> None:
        """Note that `bo.write` wrote the bytes `low` to `high`, if the device has written before.

        A range that touches the last one extends it: a program may write a bo in many pieces.
        """
        if self.sync_copy is None:
            return
        *earlier, last = self.rewritten or ((low, high),)
        if low <= last[1] and last[0] <= high:
            last = min(low, last[0]), max(high, last[1])
            self.rewritten = (*earlier, last)
        else:
            self.rewritten += ((low, high),)

    def _write_back(self, low: int, high: int, sync_copy: bytearray) -> None:
        """Write what `bo.write` wrote in the lines `low` to `high` to the device."""
        left: list[tuple[int, int]] = []
        for begin, end in self.rewritten:
            inside = slice(max(low, begin), max(low, begin, min(high, end)))
            self.device[inside] = sync_copy[inside] = self.host[inside]
            outside = (begin, min(end, low)), (max(begin, high), end)
            left += [span for span in outside if span[0] < span[1]]
        self.rewritten = tuple(left)

    def changed_by_host(self, low: int, high: int) -> bool:
        """Return whether the host changed the bytes `low` to `high` since their last sync."""
        sync_copy = self.sync_copy
        if sync_copy is None:
            sync_copy = self.device
        # Without slices, which copy: most bos are used as a whole.
        if low == 0 and high >= self.size:
            return self.host != sync_copy
        return self.host[low:high] != sync_copy[low:high]

    def device_writes(self) -> None:
        """Prepare for a change of the device copy: store the content after the last sync."""
        if self.sync_copy is None:
            self.sync_copy = bytearray(self.device)

    def undefine(self, low: int, high: int) -> None:
        """Fill the bytes `low` to `high` of the device copy with UNDEFINED."""
        self.device_writes()
        self.device[low:high] = bytes([UNDEFINED]) * (high - low)

    def undefine_host(self, low: int, high: int) -> None:
        """Fill the bytes `low` to `high` of the host copy with UNDEFINED, until the next sync."""
        self.device_writes()
        assert self.sync_copy is not None
        self.host[low:high] = self.sync_copy[low:high] = bytes([UNDEFINED]) * (high - low)


def _merge(host: bytearray, device: bytearray, before: bytearray) -> bytearray:
    """Merge two copies by cache line: the host's where it changed the line, else the device's."""
    ours, theirs, base = (
        np.frombuffer(copy, np.uint8).reshape(-1, LINE_BYTES) for copy in (host, device, before)
    )
    dirty = (ours != base).any(axis=1, keepdims=True)
    return bytearray(np.where(dirty, ours, theirs).tobytes())
