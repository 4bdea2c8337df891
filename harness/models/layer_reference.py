"""A second implementation of one encoder layer, in loops over blocks of whole arrays.

It has the arithmetic of `harness.models.layer`. It is slow, and shares no code with it except the
kernels' references, so that a comparison of the two finds tiles that were cut or gathered wrongly.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product

import numpy as np
from numpy.typing import NDArray

from harness.kernel import Int8
from harness.models.tiling import Tiling
from harness.models.whisper import Encoder

Int32 = NDArray[np.int32]


def layer_reference(encoder: Encoder, tiling: Tiling, x: Int8, weights: Mapping[str, Int8]) -> Int8:
    """Compute one layer: (frames, d_model) int8, arrays of `weight_shapes` -> (frames, d_model)."""
    normed = _norm(tiling, x, weights["attention_norm_gamma"], weights["attention_norm_beta"])
    query, key, value = (
        _product(tiling, normed, weights[name]) for name in ("query", "key", "value")
    )
    attended = np.empty_like(query)
    for head in range(encoder.heads):
        own = slice(head * encoder.head_width, (head + 1) * encoder.head_width)
        attended[:, own] = _attention(tiling, query[:, own], key[:, own], value[:, own])
    x = _sum(x, _product(tiling, attended, weights["output"]))
    normed = _norm(tiling, x, weights["ffn_norm_gamma"], weights["ffn_norm_beta"])
    inner = _gelu(tiling, _product(tiling, normed, weights["ffn_1"]))
    return _sum(x, _product(tiling, inner, weights["ffn_2"]))


def _block(array: Int8, corner: tuple[int, ...], shape: tuple[int, ...]) -> Int8:
    """Return the block of `shape` at `corner` as a batch of one, (1, *shape).

    Beyond the end of the array it is zero.
    """
    extents = zip(corner, shape, strict=True)
    inside = array[tuple(slice(start, start + size) for start, size in extents)]
    block = np.zeros((1, *shape), np.int8)
    block[0][tuple(slice(size) for size in inside.shape)] = inside
    return block


def _limit(values: Int32) -> Int8:
    return np.minimum(np.maximum(values, -128), 127).astype(np.int8)


def _sum(first: Int8, second: Int8) -> Int8:
    return _limit(first.astype(np.int32) + second.astype(np.int32))


def _product(tiling: Tiling, a: Int8, b: Int8) -> Int8:
    """Multiply by blocks: the int8 products of blocks are added in int32, and then saturated."""
    m, k, n = tiling.tile("matmul").values()
    (rows, inner), columns = a.shape, b.shape[1]
    total = np.zeros((rows, columns), np.int32)
    for i, j in product(range(0, rows, m), range(0, columns, n)):
        # A view: the sums below are added to `total`.
        area = total[i : i + m, j : j + n]
        for p in range(0, inner, k):
            ((part,),) = tiling.matmul.apply(_block(a, (i, p), (m, k)), _block(b, (p, j), (k, n)))
            area += part[: area.shape[0], : area.shape[1]]
    return _limit(total)


def _attention(tiling: Tiling, query: Int8, key: Int8, value: Int8) -> Int8:
    """Compute one head, (frames, head_width), as the mean of the attention over blocks of keys.

    Each block counts by its number of real keys; halves are rounded up.
    """
    q, s, d = tiling.tile("attention").values()
    frames, width = query.shape
    total = np.zeros((frames, width), np.int32)
    for i, c in product(range(0, frames, q), range(0, width, d)):
        area = total[i : i + q, c : c + d]
        for j in range(0, frames, s):
            keys = (_block(each, (j, c), (s, d)) for each in (key, value))
            ((part,),) = tiling.attention.apply(_block(query, (i, c), (q, d)), *keys)
            area += len(key[j : j + s]) * part[: area.shape[0], : area.shape[1]].astype(np.int32)
    # Exact: a quotient that is not a half differs from one by at least 1 / (2 * frames).
    return _limit(np.floor(total / frames + 0.5).astype(np.int32))


def _norm(tiling: Tiling, x: Int8, gamma: Int8, beta: Int8) -> Int8:
    """Normalise every piece of every row on its own."""
    (w,) = tiling.tile("layernorm").values()
    out = np.empty_like(x)
    for row, start in product(range(len(x)), range(0, x.shape[1], w)):
        ((part,),) = tiling.layernorm.apply(
            *(_block(each, (start,), (w,)) for each in (x[row], gamma, beta))
        )
        area = out[row, start : start + w]
        area[:] = part[: len(area)]
    return out


def _gelu(tiling: Tiling, x: Int8) -> Int8:
    """Apply GELU to all values, in C order, piece by piece."""
    (v,) = tiling.tile("gelu").values()
    flat = x.ravel()
    blocks = (_block(flat, (start,), (v,)) for start in range(0, len(flat), v))
    pieces = [tiling.gelu.apply(block)[0][0] for block in blocks]
    whole: Int8 = np.concatenate(pieces)[: len(flat)].reshape(x.shape)
    return whole
