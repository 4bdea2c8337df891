"""Attention, and layer normalisation of the first four rows of its output: two kernels in one launch.

The arithmetic is theirs (`kernels/attention/spec.py`, `kernels/layernorm/spec.py`); the four rows of 64, one after the
other, are layernorm's 256 values. The bytes are those of the two kernels launched one after the other.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.kernel import Buffer, KernelSpec, load_kernel

ATTENTION, LAYERNORM = load_kernel("attention"), load_kernel("layernorm")
ROWS = 4


def attention_layernorm(
    q: NDArray[np.int8],
    k: NDArray[np.int8],
    v: NDArray[np.int8],
    gamma: NDArray[np.int8],
    beta: NDArray[np.int8],
) -> NDArray[np.int8]:
    """Three (tiles, 64, 64), two (tiles, 256) int8 -> (tiles, 256) int8."""
    # A row of attention's output depends on no other query's.
    rows = ATTENTION.reference(q[:, :ROWS], k, v)
    out: NDArray[np.int8] = LAYERNORM.reference(rows.reshape(len(rows), -1), gamma, beta)
    return out


SPEC = KernelSpec(
    name="attention_layernorm",
    inputs=(Buffer("qkv_row", (*ATTENTION.inputs[0].parts, *LAYERNORM.inputs[0].parts[1:])),),
    output=LAYERNORM.output,
    reference=attention_layernorm,
    # The device computes all of attention's rows, as it does unfused.
    ops=ATTENTION.ops + LAYERNORM.ops,
    accuracy=(
        "error against float64 within int8's range in units of 1/32: max 8.6, mean 0.69 on 1003 tiles of the packaged "
        "speech, of whose outputs 1.9 % saturate; max 2.2, mean 0.29 on 1000 uniform random tiles, 20.8 %; "
        "layernorm enlarges the rounding of attention's outputs, which spread little"
    ),
)
