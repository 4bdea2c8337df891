"""Element types of kernels: arrays that numpy computes with, and their bytes on the device."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import RequestError, nearest

Bytes = NDArray[np.uint8]
Array = NDArray[Any]
Int8 = NDArray[np.int8]

DTYPES = ("int4", "int8", "uint8", "int16", "int32", "bfloat16", "float16", "float32")
"""Element types of a kernel's buffers. int4: two to a byte, the first in the low half."""
PACKED = "int4"
LOWEST, HIGHEST = -8, 7
"""Range of int4."""


def check_dtype(dtype: str, where: str) -> None:
    """RequestError unless `dtype` is one of DTYPES; where: what has it."""
    if dtype not in DTYPES:
        raise RequestError(f"{where}: dtype {dtype} is not allowed; {nearest(dtype, DTYPES)}")


def array_dtype(dtype: str) -> np.dtype[Any]:
    """The numpy dtype of arrays with elements of `dtype`: int8 for int4, which numpy lacks."""
    if dtype == "bfloat16":
        # Imported where used: only kernels with this dtype need the package.
        import ml_dtypes

        numbers: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16)
        return numbers
    return np.dtype("int8" if dtype == PACKED else dtype)


def size_bytes(dtype: str, count: int) -> int:
    """Bytes of `count` elements; an odd number of int4 fills its last byte with zero."""
    return (count + 1) // 2 if dtype == PACKED else count * array_dtype(dtype).itemsize


def to_bytes(array: Array, dtype: str) -> Bytes:
    """The bytes (rows, size_bytes) uint8 of an array (rows, elements) of `array_dtype(dtype)`.

    RequestError for an int4 outside of -8 to 7.
    """
    if dtype != PACKED:
        # A view as bytes needs contiguous rows; slices and transposed arrays have none.
        bytes_each = size_bytes(dtype, array.shape[1])
        return np.ascontiguousarray(array).view(np.uint8).reshape(len(array), bytes_each)
    if array.size and not LOWEST <= array.min() <= array.max() <= HIGHEST:
        raise RequestError(
            f"int4: given values from {array.min()} to {array.max()}; "
            f"allowed: {LOWEST} to {HIGHEST}"
        )
    nibbles: Bytes = np.bitwise_and(array.view(np.uint8), np.uint8(0xF))
    if array.shape[1] % 2:
        nibbles = np.pad(nibbles, ((0, 0), (0, 1)))
    packed: Bytes = nibbles[:, ::2] | nibbles[:, 1::2] * np.uint8(16)
    return packed


def from_bytes(packed: Bytes, dtype: str, count: int) -> Array:
    """The inverse of `to_bytes`: an array (rows, count) of the bytes (rows, size_bytes)."""
    if dtype != PACKED:
        flat: Array = np.ascontiguousarray(packed).view(array_dtype(dtype))
        return flat.reshape(len(packed), count)
    nibbles = np.stack([packed & 0xF, packed >> 4], axis=-1)
    nibbles = nibbles.reshape(len(packed), 2 * packed.shape[1])[:, :count]
    # Sign extension of four bits.
    return ((nibbles ^ 8).astype(np.int8) - 8).astype(np.int8)
