"""Reads the AIE_PARTITION section of an xclbin: its columns and its device images (PDIs).

Source: struct aie_partition and what it refers to in XRT's src/runtime_src/core/include/xclbin.h.
All offsets are bytes from the begin of the section.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from struct import Struct
from typing import Any, BinaryIO

from harness import xclbin

# struct aie_partition: operations_per_cycle, info.column_width, count and offset of the start
# columns and of the PDIs.
HEAD = Struct("<8x I 20x H 6x I I 72x I I 56x")
START_COLUMN = Struct("<H")
# struct aie_pdi: uuid, image size, image offset, count and offset of its cdo_groups
IMAGE = Struct("<16s I I I I 64x")
GROUP = Struct("<16x I I 72x")  # struct cdo_group: count and offset of dpu_kernel_ids
KERNEL_ID = Struct("<Q")
MAX_BYTES = 4 << 20
"""Bytes of arrays that are read; public xclbins have at most some 100 KB.

The arrays of a hostile file may overlap, and so be larger than the file.
"""


@dataclass(frozen=True)
class Image:
    """A device image: it configures the array for the kernels with these `dpu_kernel_id`s."""

    uuid: str
    size_bytes: int
    dpu_ids: tuple[int, ...]


@dataclass(frozen=True)
class Partition:
    """columns: width of the partition. start_columns: columns of the array that it can begin at."""

    columns: int
    start_columns: tuple[int, ...]
    images: tuple[Image, ...]
    operations_per_cycle: int


def read_partition(path: Path) -> Partition | None:
    """Read the partition of an xclbin that `harness.xclbin.read` accepts; None without one.

    ValueError, with a text of one line, if an array of it is not inside the section.
    """
    with path.open("rb") as file:
        head = file.read(xclbin.HEADER.size)
        *_, count = xclbin.HEADER.unpack(head)
        places = xclbin.section_places(file, count, path.stat().st_size)
        if xclbin.AIE_PARTITION not in places:
            return None
        section = _Section(file, *places[xclbin.AIE_PARTITION])
        ((operations, width, starts, first, images, offset),) = section.read(HEAD, 1, 0)
        return Partition(
            width,
            tuple(column for (column,) in section.read(START_COLUMN, starts, first)),
            tuple(_image(section, *fields) for fields in section.read(IMAGE, images, offset)),
            operations,
        )


def _image(
    section: _Section, identity: bytes, size: int, place: int, groups: int, offset: int
) -> Image:
    section.check(place, size)
    ids = tuple(
        number
        for count, first in section.read(GROUP, groups, offset)
        for (number,) in section.read(KERNEL_ID, count, first)
    )
    return Image(str(uuid.UUID(bytes=identity)), size, ids)


class _Section:
    """The section in an open file, from which at most MAX_BYTES are read."""

    def __init__(self, file: BinaryIO, begin: int, length: int) -> None:
        self._file, self._begin, self._length = file, begin, length
        self._left = MAX_BYTES

    def check(self, offset: int, length: int) -> None:
        """ValueError if these bytes are not inside the section."""
        if offset + length > self._length:
            raise ValueError(
                f"malformed xclbin: AIE_PARTITION of {self._length} bytes refers to bytes "
                f"{offset} to {offset + length}"
            )

    def read(self, entry: Struct, count: int, offset: int) -> Iterator[tuple[Any, ...]]:
        """The entries of an array; ValueError if it is not inside the section, or too much."""
        length = entry.size * count
        self.check(offset, length)
        self._left -= length
        if self._left < 0:
            raise ValueError(f"malformed xclbin: AIE_PARTITION lists more than {MAX_BYTES} bytes")
        return entry.iter_unpack(xclbin.read_bytes(self._file, self._begin + offset, length))
