"""Product of two square int8 matrices, A B, of 16x16 (`matmul`) or 64x64 (`matmul_64`), in integers.

Every array counts units of 1/32, so a sum of products counts 1/1024; with n rows, >> rounding down:

    S   = A B                                |S| <= n * 2^14: 2^18 or 2^20
    out = (S + 16) >> 5                      rounds half up, then saturated to -128 to 127
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.kernel import Buffer, KernelSpec, Part


def matmul(a: NDArray[np.int8], b: NDArray[np.int8]) -> NDArray[np.int8]:
    """Two (tiles, n, n) int8 -> (tiles, n, n) int8."""
    # float32 holds every whole number up to 2^24, hence S and S / 32; BLAS sums it exactly, in whatever order.
    s = a.astype(np.float32) @ b.astype(np.float32)
    return np.clip(np.floor((s + 16) / 32), -128, 127).astype(np.int8)


def _spec(name: str, side: int, accuracy: str) -> KernelSpec:
    return KernelSpec(
        name=name,
        inputs=(
            Buffer("operands", (Part("a", (side, side)), Part("b", (side, side), constant=True))),
        ),
        output=Buffer("out", (Part("out", (side, side)),)),
        reference=matmul,
        # side^3 multiply-accumulates; per output +, >> and two limits.
        ops=2 * side**3 + 4 * side**2,
        accuracy=accuracy,
    )


_ACCURACY = (
    "exact, then rounded: error against float64 within int8's range at most 0.50 units of 1/32; of the outputs {} % "
    "saturate on 1003 tiles of the packaged speech, {} % on 1000 uniform random tiles"
)
SPEC = _spec("matmul", 16, _ACCURACY.format(35.8, 85.1))
VARIANTS = (_spec("matmul_64", 64, _ACCURACY.format(59.9, 92.5)),)
