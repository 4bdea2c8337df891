"""Product of two 16x16 matrices, and GELU of it: two kernels in one launch.

The arithmetic is theirs (`kernels/matmul/spec.py`, `kernels/gelu/spec.py`); the 256 products, row by row, and 256 zeros
after them are gelu's 512 values. The bytes are those of the two kernels launched one after the other.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.kernel import KernelSpec, load_kernel

MATMUL, GELU = load_kernel("matmul"), load_kernel("gelu")


def matmul_gelu(a: NDArray[np.int8], b: NDArray[np.int8]) -> NDArray[np.int8]:
    """Two (tiles, 16, 16) int8 -> (tiles, 512) int8."""
    padded = np.zeros((len(a), *GELU.inputs[0].parts[0].shape), np.int8)
    padded[:, : MATMUL.output.size_bytes] = MATMUL.reference(a, b).reshape(len(a), -1)
    out: NDArray[np.int8] = GELU.reference(padded)
    return out


SPEC = KernelSpec(
    name="matmul_gelu",
    inputs=MATMUL.inputs,
    output=GELU.output,
    reference=matmul_gelu,
    ops=MATMUL.ops + GELU.ops,
    accuracy=(
        "error against float64 within int8's range in units of 1/32: max 1.03, mean 0.09 on 1003 tiles of the packaged "
        "speech, of whose outputs 9.0 % saturate; max 1.03, mean 0.02 on 1000 uniform random tiles, 21.3 %; "
        "the product is rounded, and so is its GELU"
    ),
)
