"""Reads what a transaction-style instruction stream says about the kernel that it drives.

Sources: mlir-aie, include/aie/Runtime/TxnEncoding.h, for the header and the operations; the
register map of the AIE-ML shim tile for its DMA's buffer descriptors and task queues.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from harness.kernel import FIRST_DATA_ARGUMENT, Bytes

GENERATIONS = {3: "NPU1 (Phoenix, Hawk Point)", 4: "NPU2 (Strix, Krackan)"}
"""Names of the device generations in the header."""
READS, WRITES = "reads", "writes"
VERSION = (0, 1)
HEADER_WORDS = 4
WRITE, PATCH = 0, 0x81
FIRST_CUSTOM = 0x80
# Opcode -> index of the word that has the operation's size in bytes.
SIZE_WORD = {WRITE: 5, 1: 3, 2: 3, 3: 6, 4: 6, 7: 6}
# Opcode -> number of words of an operation without a size: NOOP, PREEMPT, LOADPDI, LOAD_PM_START.
FIXED_WORDS = {5: 1, 6: 1, 8: 4, 9: 2}
TILE_SHIFT, IN_TILE = 20, 0xFFFFF
DESCRIPTORS, DESCRIPTOR_BYTES, DESCRIPTOR_COUNT = 0x1D000, 0x20, 16
# Task queue of a DMA channel -> what the DMA does with the memory of the host.
QUEUES = {0x1D204: WRITES, 0x1D20C: WRITES, 0x1D214: READS, 0x1D21C: READS}


@dataclass(frozen=True)
class Stream:
    """Header of a stream, and the kernel's arguments that it uses.

    generation: of the device, 3 or 4 for those in GENERATIONS. columns: of the device that it was
    built for. size_bytes: as the header states it. arguments: index of each argument that the
    stream uses -> READS and WRITES, as far as known; None if an operation is not known.
    """

    generation: int
    columns: int
    operations: int
    size_bytes: int
    arguments: Mapping[int, frozenset[str]] | None


def read_stream(content: Bytes) -> Stream | None:
    """Read a stream (bytes,) uint8 of whole 32-bit words; None for another version than 0.1."""
    words = content.view(np.uint32)
    if len(words) < HEADER_WORDS or (content[0], content[1]) != VERSION:
        return None
    operations, size = int(words[2]), int(words[3])
    return Stream(int(content[2]), int(content[4]), operations, size, _uses(words, operations))


def _uses(words: np.ndarray, count: int) -> dict[int, frozenset[str]] | None:
    uses: dict[int, frozenset[str]] = {}
    owners: dict[tuple[int, int], int] = {}
    for operation in _operations(words, count):
        if operation is None:
            return None
        opcode = int(operation[0]) & 0xFF
        if opcode == PATCH and len(operation) > 8:
            # The address of an argument goes into a buffer descriptor.
            tile, place = _split(int(operation[6]))
            argument = FIRST_DATA_ARGUMENT + int(operation[8])
            owners[tile, (place - DESCRIPTORS) // DESCRIPTOR_BYTES] = argument
            uses.setdefault(argument, frozenset())
        elif opcode == WRITE:
            # A write to a task queue starts the transfer of a descriptor.
            tile, place = _split(int(operation[2]))
            owner = owners.get((tile, int(operation[4]) % DESCRIPTOR_COUNT))
            if place in QUEUES and owner is not None:
                uses[owner] |= {QUEUES[place]}
    return dict(sorted(uses.items()))


def _split(address: int) -> tuple[int, int]:
    """Tile of an address, and the offset in it."""
    return address >> TILE_SHIFT, address & IN_TILE


def _operations(words: np.ndarray, count: int) -> Iterator[np.ndarray | None]:
    """The words of each operation; None, and no more, where the size is not known or wrong."""
    place = HEADER_WORDS
    for _ in range(count):
        length = _length(words[place:])
        if not 0 < length <= len(words) - place:
            yield None
            return
        yield words[place : place + length]
        place += length


def _length(words: np.ndarray) -> int:
    """Number of words of the operation at the begin; 0 if it is not known or is no whole number."""
    opcode = int(words[0]) & 0xFF if len(words) else -1
    if opcode in FIXED_WORDS:
        return FIXED_WORDS[opcode]
    word = 1 if opcode >= FIRST_CUSTOM else SIZE_WORD.get(opcode, len(words))
    length, rest = divmod(int(words[word]) if word < len(words) else 0, 4)
    # The word with the size is the last of the operation's own words.
    return length if not rest and length > word else 0
