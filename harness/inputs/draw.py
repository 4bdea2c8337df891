"""Values of tiles by element type: drawn from a seed, or made from the int8 values of speech."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np

from harness.errors import RequestError, override_text
from harness.kernel import Array, Int8
from harness.kernel.dtypes import array_dtype

UNIT = 32
"""The int8 value of 1.0: int8 arrays are in units of 1/32."""
RANGES: dict[str, tuple[float, float]] = {
    "int4": (-8, 7),
    # The range of the guide's own tests; as int8 in units of 1/32 it is that of the floats below.
    "int8": (-64, 63),
    "uint8": (0, 255),
    "int16": (-64, 63),
    "int32": (-64, 63),
    "bfloat16": (-2, 2),
    "float16": (-2, 2),
    "float32": (-2, 2),
}
"""Least and largest value that is drawn, by element type."""
DEVIATIONS = 6
"""Standard deviations of the normal distribution in its range; values beyond are clipped."""


class Distribution(Enum):
    """How values are drawn from their range.

    uniform: all values are equally likely. normal: the mean is the middle of the range, and the
    standard deviation a sixth of its length; values beyond the range are clipped.
    """

    uniform = "uniform"
    normal = "normal"


@dataclass(frozen=True)
class Draw:
    """How random arrays are drawn.

    limits: least and largest value; empty for the range of the element type in RANGES.
    """

    distribution: Distribution = Distribution.uniform
    limits: tuple[float, ...] = ()

    def check(self, name: str, dtype: str) -> None:
        """RequestError if elements of `dtype` cannot have the limits; name: of the input."""
        if not self.limits:
            return
        given = f"{range_text(self.limits)}: {name} is {dtype}"
        least, most = _range_of(dtype)
        if not all(least <= each <= most for each in self.limits):
            raise RequestError(f"{given}; allowed: {least:g} to {most:g}")
        if _is_integer(dtype) and not all(each == int(each) for each in self.limits):
            raise RequestError(f"{given}; give whole numbers")

    def array(self, generator: np.random.Generator, dtype: str, shape: tuple[int, ...]) -> Array:
        """Draw an array of `array_dtype(dtype)`."""
        low, high = self.limits or RANGES[dtype]
        if self.distribution is Distribution.normal:
            # float32, because the temporaries of large tiles would otherwise be twice as large.
            values = generator.standard_normal(shape, np.float32)
            values = values * np.float32((high - low) / DEVIATIONS) + np.float32((low + high) / 2)
            values = np.clip(values, low, high)
            return (np.rint(values) if _is_integer(dtype) else values).astype(array_dtype(dtype))
        if _is_integer(dtype):
            drawn: Array = generator.integers(
                int(low), int(high), shape, array_dtype(dtype), endpoint=True
            )
            return drawn
        share = generator.random(shape, np.float32)
        # In this form, the length of the range cannot overflow.
        mixed: Array = np.float32(high) * share + np.float32(low) * (1 - share)
        return mixed.astype(array_dtype(dtype))


DEFAULT_DRAW = Draw()
"""Uniform in the range of the element type, as all constants are drawn."""


def from_int8(values: Int8, dtype: str) -> Array:
    """Int8 values in units of 1/32 as elements of `dtype`.

    Floats are the values divided by 32; int16 and int32 the values themselves, uint8 the values
    plus 128, int4 the values divided by 16 and rounded down.
    """
    if dtype == "int4":
        return values >> 4
    if dtype == "uint8":
        return (values.astype(np.int16) + 128).astype(np.uint8)
    if _is_integer(dtype):
        return values.astype(array_dtype(dtype))
    return (values.astype(np.float32) / UNIT).astype(array_dtype(dtype))


def range_text(limits: Sequence[float]) -> str:
    """The override of a range, as the user types it.

    >>> range_text([-1.0, 0.5])
    'workload.range=[-1,0.5]'
    """
    numbers = [int(each) if each.is_integer() else each for each in map(float, limits)]
    return f"workload.range={override_text(numbers)}"


def _is_integer(dtype: str) -> bool:
    return "int" in dtype


def _range_of(dtype: str) -> tuple[float, float]:
    """Least and largest finite value of an element type."""
    if dtype == "int4":
        return RANGES[dtype]
    if _is_integer(dtype):
        integer = np.iinfo(dtype)
        return int(integer.min), int(integer.max)
    finfo: Any = np.finfo
    if dtype == "bfloat16":
        # Imported where used: numpy does not know this type.
        import ml_dtypes

        finfo = ml_dtypes.finfo
    limits = finfo(array_dtype(dtype))
    return float(limits.min), float(limits.max)
