"""Product of two 16x16 matrices, then GELU of the product, in one launch.

The arithmetic is that of `kernels/matmul/reference.py` and `kernels/gelu/reference.py`. The 256
values of the product, row by row, and 256 zeros after them are the 512 values of gelu. The output
has the same bytes as the two kernels launched one after the other.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.kernel import kernels_root, load_kernel

# Of the harness, also where the user has kernels of these names.
MATMUL, GELU = (load_kernel(name, kernels_root()) for name in ("matmul", "gelu"))


def matmul_gelu(a: NDArray[np.int8], b: NDArray[np.int8]) -> NDArray[np.int8]:
    """Two (tiles, 16, 16) int8 -> (tiles, 512) int8."""
    padded = np.zeros((len(a), *GELU.inputs[0].parts[0].shape), np.int8)
    padded[:, : MATMUL.output.size_bytes] = MATMUL.reference(a, b).reshape(len(a), -1)
    out: NDArray[np.int8] = GELU.reference(padded)
    return out
