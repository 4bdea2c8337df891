"""What the attention kernel computes, written a second time."""

from __future__ import annotations

from decimal import Decimal, getcontext
from operator import mul

import numpy as np

getcontext().prec = 40

OCTAVES = round(Decimal(2**18 * 256) / Decimal(2).ln() / 8192)
FRAC = [round(2**15 * Decimal(2) ** (Decimal(-f) / 256)) for f in range(256)]


def int32(value: int) -> int:
    assert -(2**31) <= value < 2**31
    return value


def weight(distance: int) -> int:
    octaves, fraction = divmod(int32(min(distance, 131072) * OCTAVES + 2**17) // 2**18, 256)
    half = 2**octaves // 2
    return int32(FRAC[fraction] + half) // 2**octaves


def divide(num: int, den: int) -> int:
    whole, rest = divmod(abs(num), den)
    rounded = whole + (2 * rest >= den)
    return -rounded if num < 0 else rounded


def plain(q, k, v):
    """One tile as lists of lists of int."""
    out = []
    for query in q:
        logits = [int32(sum(map(mul, query, key))) for key in k]
        top = max(logits)
        weights = [weight(top - logit) for logit in logits]
        sums = (int32(sum(map(mul, weights, column))) for column in zip(*v, strict=True))
        out.append([divide(num, sum(weights)) for num in sums])
    return out


def exact(q, k, v):
    """Attention in float64, in units of 1/32."""
    q, k, v = (array.astype(np.float64) / 32 for array in (q, k, v))
    logits = q @ k.transpose(0, 2, 1) / 8
    e = np.exp(logits - logits.max(axis=2, keepdims=True))
    return 32 * (e @ v / e.sum(axis=2, keepdims=True))
