"""Instruction streams, written operation by operation as mlir-aie's TxnEncoding.h has them."""

from __future__ import annotations

import struct

SHIM_DMA = 0x1D000
S2MM, MM2S = 0x1D204, 0x1D214
"""Task queues of channel 0: into the memory of the host, and out of it."""


def words(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}I", *values)


def write(address: int, value: int) -> bytes:
    return words(0, 0, address, 0, value, 24)


def mask_write(address: int, value: int) -> bytes:
    return words(3, 0, address, 0, value, 0xFFFFFFFF, 28)


def block_write(address: int, *values: int) -> bytes:
    return words(1, 0, address, 16 + 4 * len(values), *values)


def sync() -> bytes:
    return words(0x80, 16, 0, 0x10100)


def patch(address: int, argument: int) -> bytes:
    return words(0x81, 48, 0, 0, 0, 0, address, 0, argument, 0, 0, 0)


def transfer(argument: int, queue: int, descriptor: int = 0, column: int = 0) -> list[bytes]:
    """The operations that move the data of an argument, numbered from 0 after the first three."""
    tile = column << 25
    place = tile + SHIM_DMA + 0x20 * descriptor
    return [
        block_write(place, *[64] * 8),
        patch(place + 4, argument),
        write(tile + queue, 0x80000000 + descriptor),
    ]


def stream(
    *operations: bytes, generation: int = 3, columns: int = 4, version: int = 0x100
) -> bytes:
    """A whole stream; version: minor in the second byte, major in the first."""
    body = b"".join(operations)
    head = words(0x06000000 | generation << 16 | version, 0x100 | columns, len(operations))
    return head + words(16 + len(body)) + body
