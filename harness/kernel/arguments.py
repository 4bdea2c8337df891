"""Arguments of a kernel: buffers of arrays, numbers, and arguments that it ignores."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from math import prod
from typing import TypeAlias

import numpy as np

from harness.errors import RequestError
from harness.kernel.dtypes import Array, Bytes, array_dtype, from_bytes, size_bytes, to_bytes

LINE_BYTES = 64
"""Bytes of a cache line. Each tile of a batch starts on one, so no sync touches a neighbour."""


class Direction(Enum):
    """Whether a kernel reads a buffer (`IN`), writes it (`OUT`), or does both (`INOUT`)."""

    IN = "in"
    OUT = "out"
    INOUT = "inout"


@dataclass(frozen=True)
class Part:
    """One array inside a buffer, without padding.

    dtype: one of `harness.kernel.DTYPES`. constant: the array is the same for every tile of a
    workload, as weights are. block: (rows, columns) of the blocks that the last two dimensions are
    stored in, block after block, as mlir-aie's 4x8 tiling; empty for C order.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str = "int8"
    constant: bool = False
    block: tuple[int, ...] = ()

    @cached_property
    def elements(self) -> int:
        """Number of elements."""
        return prod(self.shape)

    @cached_property
    def size_bytes(self) -> int:
        """Size of the array in bytes."""
        return size_bytes(self.dtype, self.elements)

    def pack(self, array: Array) -> Bytes:
        """The bytes (tiles, size_bytes) uint8 of an array (tiles, *shape)."""
        if self.block:
            *outer, rows, columns = array.shape
            height, width = self.block
            blocks = array.reshape(*outer, rows // height, height, columns // width, width)
            array = blocks.swapaxes(-3, -2)
        return to_bytes(array.reshape(len(array), self.elements), self.dtype)

    def unpack(self, packed: Bytes) -> Array:
        """The inverse of `pack`."""
        flat = from_bytes(packed, self.dtype, self.elements)
        if not self.block:
            return flat.reshape(len(packed), *self.shape)
        *outer, rows, columns = self.shape
        height, width = self.block
        blocks = flat.reshape(len(packed), *outer, rows // height, columns // width, height, width)
        return blocks.swapaxes(-3, -2).reshape(len(packed), *self.shape)


@dataclass(frozen=True)
class Buffer:
    """One bo argument of a kernel. Its parts follow each other without gaps."""

    name: str
    parts: tuple[Part, ...]
    direction: Direction = Direction.IN

    @property
    def is_input(self) -> bool:
        """Whether the host writes it before a launch."""
        return self.direction is not Direction.OUT

    @property
    def is_output(self) -> bool:
        """Whether the host reads it after an execution."""
        return self.direction is not Direction.IN

    @cached_property
    def size_bytes(self) -> int:
        """Size of one tile's data in bytes."""
        return sum(part.size_bytes for part in self.parts)

    @cached_property
    def stride_bytes(self) -> int:
        """Distance between two tiles of a batch: `size_bytes` rounded up to cache lines."""
        return -(-self.size_bytes // LINE_BYTES) * LINE_BYTES

    @cached_property
    def varying_bytes(self) -> int:
        """Bytes at the start that differ between tiles; the constant parts follow them.

        RequestError if a constant part comes before a varying one, or the kernel writes over it.
        """
        constant = [part.constant for part in self.parts]
        if any(constant) and self.direction is Direction.INOUT:
            raise RequestError(
                f"{self.name}: a constant part of an inout buffer does not stay on the device, "
                "because the kernel writes over it; let it vary, or put it into a buffer of "
                "direction in"
            )
        if constant != sorted(constant):
            raise RequestError(
                f"{self.name}: a constant part comes before a varying one; put constants last"
            )
        return sum(part.size_bytes for part in self.parts if not part.constant)

    def pack(self, *arrays: Array) -> Bytes:
        """Join one array per part, (tiles, *part.shape), into bytes: (tiles, size_bytes) uint8.

        RequestError if the number of arrays, a shape, a dtype or a number of tiles is wrong.
        """
        if len(arrays) != len(self.parts):
            names = ", ".join(part.name for part in self.parts)
            raise RequestError(
                f"{self.name}: given {len(arrays)} arrays, takes {len(self.parts)}: {names}"
            )
        columns = []
        for part, array in zip(self.parts, arrays, strict=True):
            dtype = array_dtype(part.dtype)
            if not array.ndim or array.shape[1:] != part.shape or array.dtype != dtype:
                raise RequestError(
                    f"{self.name}.{part.name}: given {array.dtype}{list(array.shape[1:])}, "
                    f"takes {dtype}{list(part.shape)} per tile"
                )
            if len(array) != len(arrays[0]):
                raise RequestError(
                    f"{self.name}.{part.name}: given {len(array)} tiles, "
                    f"takes as many as {self.parts[0].name}: {len(arrays[0])}"
                )
            columns.append(part.pack(array))
        return np.concatenate(columns, axis=1)

    def unpack(self, packed: Bytes) -> tuple[Array, ...]:
        """Split (tiles, size_bytes) uint8 into one array (tiles, *part.shape) per part.

        The inverse of `pack`. RequestError for another shape or dtype.
        """
        if packed.ndim != 2 or packed.shape[1] != self.size_bytes or packed.dtype != np.uint8:
            raise RequestError(
                f"{self.name}: given {packed.dtype}{list(packed.shape)}, "
                f"takes uint8[tiles, {self.size_bytes}]"
            )
        arrays, offset = [], 0
        for part in self.parts:
            arrays.append(part.unpack(packed[:, offset : offset + part.size_bytes]))
            offset += part.size_bytes
        return tuple(arrays)


@dataclass(frozen=True)
class Scalar:
    """A number that every launch gets. XRT takes integers of up to 32 bits from Python."""

    name: str
    value: int


@dataclass(frozen=True)
class Unused:
    """An argument that the kernel ignores, as mlir-aie pads to five buffers. It is never set."""

    name: str = ""


Argument: TypeAlias = Buffer | Scalar | Unused
