"""Product of two square int8 matrices A B, 16x16 (`matmul`) or 64x64 (`matmul_64`), in integers.

Every array is in units of 1/32, so a sum of products is in units of 1/1024. For n rows:

    S   = A B                                |S| <= n * 2^14: 2^18 or 2^20
    out = (S + 16) >> 5                      rounded half up, then saturated to -128 to 127
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def matmul(a: NDArray[np.int8], b: NDArray[np.int8]) -> NDArray[np.int8]:
    """Two (tiles, n, n) int8 -> (tiles, n, n) int8."""
    # Exact in any order that BLAS chooses: float32 holds every whole number up to 2^24, so also S
    # and S / 32.
    s = a.astype(np.float32) @ b.astype(np.float32)
    return np.clip(np.floor((s + 16) / 32), -128, 127).astype(np.int8)
