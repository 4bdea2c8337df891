"""Attention, then layer normalisation of the first four rows of its output, in one launch.

The arithmetic is that of `kernels/attention/reference.py` and `kernels/layernorm/reference.py`. The
four rows of 64 values, one after the other, are the 256 values of layernorm. The output has the
same bytes as the two kernels launched one after the other.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.kernel import kernels_root, load_kernel

# Of the harness, also where the user has kernels of these names.
ATTENTION, LAYERNORM = (load_kernel(name, kernels_root()) for name in ("attention", "layernorm"))
ROWS = 4


def attention_layernorm(
    q: NDArray[np.int8],
    k: NDArray[np.int8],
    v: NDArray[np.int8],
    gamma: NDArray[np.int8],
    beta: NDArray[np.int8],
) -> NDArray[np.int8]:
    """Three (tiles, 64, 64), two (tiles, 256) int8 -> (tiles, 256) int8."""
    # Each row of attention's output depends on one query only, so four queries are enough.
    rows = ATTENTION.reference(q[:, :ROWS], k, v)
    out: NDArray[np.int8] = LAYERNORM.reference(rows.reshape(len(rows), -1), gamma, beta)
    return out
