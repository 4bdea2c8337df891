"""Layer normalisation of 256 int8 values, in integers.

out = gamma (x - mean) / sqrt(variance + 1e-5) + beta. Every array is in units of 1/32. d / 256 is
the distance of a value from the mean, and v / 2^16 is the variance:

    s   = sum of x                           |s| <= 2^15
    v   = 256 * sum of x^2 - s^2             0 to 2^30
    d   = 256 * x - s                        |d| < 2^16, and |d| <= sqrt(255 v)
    w   = (v + 671) << 2k                    2^30 to 2^32 (unsigned)
    r   = floor(sqrt(w))                     2^15 to 2^16
    num = gamma * (d << k)                   |num| <= 2^27, as |d << k| < 16 sqrt(w)
    out = num / r + beta                     saturated to -128 to 127

with 671 = round(1e-5 * 32^2 * 2^16). Exactly one k from 0 to 11 brings w into its range; it gives
the root 16 bits even where the variance is small. num / r is rounded half away from zero.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SIZE = 256
EPSILON = 671


def layernorm(
    x: NDArray[np.int8], gamma: NDArray[np.int8], beta: NDArray[np.int8]
) -> NDArray[np.int8]:
    """Three (tiles, 256) int8 -> (tiles, 256) int8."""
    wide = x.astype(np.int32)
    s = wide.sum(axis=1, keepdims=True)
    radicand = SIZE * (wide * wide).sum(axis=1, keepdims=True) - s * s + EPSILON
    # The exponent that frexp returns is the number of bits.
    k = (32 - np.frexp(radicand)[1]) >> 1
    # float64 holds w, and its square root is rounded correctly, so the floor is exact.
    root = np.floor(np.sqrt(np.ldexp(radicand.astype(np.float64), 2 * k)))
    # Exact: a quotient that is not a half differs from one by at least 2^-17, and the error of
    # float64 is at most 2^-37.
    scaled = gamma * ((SIZE * wide - s) << k) / root
    rounded = np.trunc(scaled + np.copysign(0.5, scaled)) + beta
    return np.clip(rounded, -128, 127).astype(np.int8)
