"""What the matmul kernel computes, written a second time."""

from __future__ import annotations

from operator import mul

import numpy as np


def plain(a, b):
    """One tile as lists of lists of int."""
    columns = list(zip(*b, strict=True))
    sums = [[sum(map(mul, row, column)) for column in columns] for row in a]
    return [[max(-128, min(127, (value + 16) // 32)) for value in row] for row in sums]


def exact(a, b):
    """The product in float64, in units of 1/32, as far as int8 goes."""
    return np.clip(32 * (a.astype(np.float64) / 32) @ (b.astype(np.float64) / 32), -128, 127)
