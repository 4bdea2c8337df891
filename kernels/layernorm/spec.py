"""Layer normalisation of 256 int8 values: gamma (x - mean) / sqrt(variance + 1e-5) + beta, in integers.

Every array counts units of 1/32. With d / 256 a value's distance from the mean, and v / 2^16 the variance:

    s   = sum of x                           |s| <= 2^15
    v   = 256 * sum of x^2 - s^2             0 to 2^30
    d   = 256 * x - s                        |d| < 2^16, and |d| <= sqrt(255 v): no value is farther out
    w   = (v + 671) << 2k                    2^30 to 2^32 (unsigned), by the one k of 0 to 11 that does it
    r   = floor(sqrt(w))                     2^15 to 2^16
    num = gamma * (d << k)                   |num| <= 2^27: |d << k| < 16 sqrt(w)
    out = num / r + beta                     num / r rounded half away from zero, then saturated to -128 to 127

with 671 = round(1e-5 * 32^2 * 2^16). k keeps 16 bits of the root where the variance is small, too.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.kernel import Buffer, KernelSpec, Part

SIZE = 256
EPSILON = 671


def layernorm(
    x: NDArray[np.int8], gamma: NDArray[np.int8], beta: NDArray[np.int8]
) -> NDArray[np.int8]:
    """Three (tiles, 256) int8 -> (tiles, 256) int8."""
    wide = x.astype(np.int32)
    s = wide.sum(axis=1, keepdims=True)
    radicand = SIZE * (wide * wide).sum(axis=1, keepdims=True) - s * s + EPSILON
    k = (32 - np.frexp(radicand)[1]) >> 1  # frexp's exponent is the number of bits
    # float64 holds w, and its square root is rounded correctly, so the floor is exact.
    root = np.floor(np.sqrt(np.ldexp(radicand.astype(np.float64), 2 * k)))
    # Exact: a quotient that is not a half is at least 2^-17 from one, and float64 is within 2^-37 of it.
    scaled = gamma * ((SIZE * wide - s) << k) / root
    rounded = np.trunc(scaled + np.copysign(0.5, scaled)) + beta
    return np.clip(rounded, -128, 127).astype(np.int8)


def _constant(name: str) -> Part:
    return Part(name, (SIZE,), constant=True)


SPEC = KernelSpec(
    name="layernorm",
    inputs=(Buffer("row", (Part("x", (SIZE,)), _constant("gamma"), _constant("beta"))),),
    output=Buffer("out", (Part("out", (SIZE,)),)),
    reference=layernorm,
    # Per value: sum, multiply-accumulate (2), d (2), num (2), division, + beta, two limits; the one root is left out.
    ops=11 * SIZE,
    accuracy=(
        "error against float64 within int8's range in units of 1/32: max 0.51, mean 0.24 on 1003 tiles of the packaged "
        "speech, of whose outputs 1.9 % saturate; max 0.51, mean 0.19 on 1000 uniform random tiles, 21.6 %; "
        "rounding the exact result gives 0.50 and 0.25"
    ),
)
