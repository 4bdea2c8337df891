"""Single-head attention on one 64x64 int8 tile, softmax(Q K^T / 8) V, in integers.

Every array is in units of 1/32. With S = Q K^T, a logit is S / 8192: 32 * 32 for the units, and
8 = sqrt(64) for the scale of attention. Every step fits int32, and >> rounds down:

    S   = Q K^T                               |S| <= 2^20
    d   = min(max of the row of S - S, 2^17)  0 to 16 nats
    t   = (d * 11819 + 2^17) >> 18            0 to 5910: d in 1/256 octaves
    e   = (FRAC[t & 255] + r) >> s            0 to 2^15, rounded half up
    num = sum over j of e[i, j] * V[j, c]     |num| <= 2^28
    den = sum over j of e[i, j]               2^15 to 2^21: e = 2^15 for the largest S of a row
    out = num / den                           rounded half away from zero

with s = t >> 8, r = (1 << s) >> 1, 11819 = round(2^18 * 256 * log2(e) / 8192), and
FRAC[f] = round(2^15 * 2^(-f / 256)). From d = 11.1 nats, a weight e is less than half a unit.
out is a weighted mean of int8 values, so it is within -128 to 127 and needs no saturation.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MOST_DISTANCE = 1 << 17
OCTAVES = 11819
# Tiles per numpy call. The temporaries of 16 tiles (0.5 MiB each) fit the cache; with 64 tiles per
# call, a tile takes four times as long.
CHUNK = 16


def exponents(distance: NDArray[np.int32]) -> NDArray[np.int32]:
    """Compute `t` from `distance`, which is d: 0 to 2^17."""
    return (distance * OCTAVES + (1 << 17)) >> 18


def weights() -> NDArray[np.float64]:
    """Compute the table of `e` by t, (5911,): whole numbers in float64, as the sum needs."""
    t = np.arange((MOST_DISTANCE * OCTAVES + (1 << 17) >> 18) + 1)
    frac = np.rint(2**15 * 2 ** (-np.arange(256) / 256)).astype(np.int64)
    shift = t >> 8
    e: NDArray[np.float64] = ((frac[t & 255] + ((1 << shift) >> 1)) >> shift).astype(np.float64)
    return e


WEIGHTS = weights()


def attend(q: NDArray[np.int8], k: NDArray[np.int8], v: NDArray[np.int8]) -> NDArray[np.float64]:
    """Apply the arithmetic above to all tiles at once; returns whole numbers in float64."""
    # Sums of whole numbers are exact in any order that BLAS chooses, as long as the type holds
    # them: float32 up to 2^24 (S and d), float64 for num, which reaches 2^28.
    s = q.astype(np.float32) @ k.astype(np.float32).transpose(0, 2, 1)
    distance = np.minimum(s.max(axis=2, keepdims=True) - s, MOST_DISTANCE).astype(np.int32)
    e = WEIGHTS.take(exponents(distance))
    mean = (e @ v.astype(np.float64)) / e.sum(axis=2, keepdims=True)
    # Exact: a quotient that is not a half differs from one by at least 2^-22, and the error of
    # float64 is at most 2^-45.
    rounded: NDArray[np.float64] = np.trunc(mean + np.copysign(0.5, mean))
    return rounded


def attention(q: NDArray[np.int8], k: NDArray[np.int8], v: NDArray[np.int8]) -> NDArray[np.int8]:
    """Three (tiles, 64, 64) int8 -> (tiles, 64, 64) int8.

    With fewer queries, (tiles, n, 64), the result has their n rows only.
    """
    out = np.empty(q.shape, np.int8)
    for start in range(0, len(out), CHUNK):
        tiles = slice(start, start + CHUNK)
        out[tiles] = attend(q[tiles], k[tiles], v[tiles])
    return out
