"""How far outputs are from expected ones, element by element, and what a kernel cannot write."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.kernel.dtypes import HIGHEST, LOWEST, PACKED, Array, array_dtype

Errors = NDArray[np.float64]
FLOATS = ("bfloat16", "float16", "float32")
"""Element types with an exponent; the others are integers."""


@dataclass(frozen=True)
class Difference:
    """The comparison of an output part, for each of a number of tiles.

    wrong: (tiles,) bool, whether the tile is outside of the tolerance. largest: (tiles,) float64,
    its error in the unit of the tolerance: that of its worst element, the share of differing
    elements, or 1 - cosine; infinite with an element of `never_right`. at: (tiles,) int64, flat
    index of the worst element. outside: (tiles,) float64, share of the elements beyond the limit.
    """

    wrong: NDArray[np.bool_]
    largest: Errors
    at: NDArray[np.int64]
    outside: Errors


def integer_range(dtype: str) -> tuple[int, int]:
    """The smallest and the largest integer of `dtype`."""
    if dtype == PACKED:
        return LOWEST, HIGHEST
    limits = np.iinfo(array_dtype(dtype))
    return int(limits.min), int(limits.max)


def poison_of(expected: Array, dtype: str) -> Array:
    """For each element, a value that is wrong under every tolerance.

    Floats: NaN, or zero where NaN is right. Integers: the end of their range that is farther away.
    """
    if dtype in FLOATS:
        nan, zero = expected.dtype.type(np.nan), expected.dtype.type(0)
        floats: Array = np.where(np.isnan(expected), zero, nan)
        return floats
    lowest, highest = (expected.dtype.type(each) for each in integer_range(dtype))
    middle = (int(lowest) + int(highest) + 1) // 2
    integers: Array = np.where(expected >= middle, lowest, highest)
    return integers


def never_right(got: Array, expected: Array, dtype: str) -> NDArray[np.bool_]:
    """Elements that no limit and no share excuses.

    Floats: exactly one of both is NaN, or one is infinite and the other differs. Integers: the
    value of `poison_of`, which is that of an element that the kernel did not write.
    """
    if dtype not in FLOATS:
        return np.asarray(got == poison_of(expected, dtype))
    not_numbers = np.isnan(got), np.isnan(expected)
    infinite = (np.isinf(got) | np.isinf(expected)) & (got != expected)
    return np.asarray((not_numbers[0] != not_numbers[1]) | (infinite & ~not_numbers[0]))


def absolute(got: Array, expected: Array) -> Errors:
    """|got - expected|, (tiles, elements) float64; 0 where both are NaN, or the same infinity."""
    with np.errstate(invalid="ignore"):
        errors: Errors = np.abs(got.astype(np.float64) - expected.astype(np.float64))
    # NaN, or an infinity less itself. `never_right` has decided about all other cases.
    errors[np.isnan(errors)] = 0
    return errors


def relative(got: Array, expected: Array, floor: float) -> Errors:
    """`absolute` divided by |expected|, or by `floor` where that is larger."""
    with np.errstate(invalid="ignore"):
        sizes = np.fmax(np.abs(expected.astype(np.float64)), floor)
        errors: Errors = absolute(got, expected) / sizes
    errors[np.isnan(errors)] = 0
    return errors


def smallest_normal(dtype: str) -> float:
    """The least magnitude that a relative error is taken of: 1 for integers."""
    if dtype not in FLOATS:
        return 1.0
    exponent = -14 if dtype == "float16" else -126
    return 2.0**exponent


def ulps(got: Array, expected: Array) -> Errors:
    """Number of representable values from one to the other; +0 and -0 are the same value."""
    both_nan = np.isnan(got) & np.isnan(expected)
    errors: Errors = np.abs(_ordered(got) - _ordered(expected)).astype(np.float64)
    errors[both_nan] = 0
    return errors


def _ordered(values: Array) -> NDArray[np.int64]:
    """Floats as integers in the same order, consecutive floats as consecutive integers."""
    width = values.dtype.itemsize
    # IEEE 754 floats are sign and magnitude; their magnitudes are ordered as integers.
    raw = np.ascontiguousarray(values).view(f"i{width}").astype(np.int64)
    magnitude = raw & ((1 << (8 * width - 1)) - 1)
    return np.where(raw < 0, -magnitude, magnitude)


def differing(got: Array, expected: Array) -> Errors:
    """1 where the bits differ, else 0; NaN is the same whatever its bits."""
    width = got.dtype.itemsize
    same = np.ascontiguousarray(got).view(f"u{width}") == np.ascontiguousarray(expected).view(
        f"u{width}"
    )
    if got.dtype.kind not in "iu":
        same |= np.isnan(got) & np.isnan(expected)
    errors: Errors = (~same).astype(np.float64)
    return errors


def inner_products(got: Array, expected: Array) -> Errors:
    """got * expected, got * got and expected * expected, summed over a tile: (tiles, 3) float64.

    NaN and infinities do not count.
    """
    left, right = got.astype(np.float64), expected.astype(np.float64)
    uncounted = ~(np.isfinite(left) & np.isfinite(right))
    left[uncounted] = 0
    right[uncounted] = 0
    pairs = (left, right), (left, left), (right, right)
    return np.stack([np.einsum("ij,ij->i", *pair) for pair in pairs], axis=1)


def cosine_of(products: Errors) -> Errors:
    """The cosines, (tiles,) float64, of sums of `inner_products`.

    Two tiles of zeros have 1, one alone has 0.
    """
    dots, lefts, rights = products.T
    lengths = np.sqrt(lefts) * np.sqrt(rights)
    both_zero = (lefts == 0) & (rights == 0)
    cosine: Errors = np.where(lengths > 0, dots / np.where(lengths > 0, lengths, 1), both_zero)
    return cosine
