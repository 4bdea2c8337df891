"""The result of one layer by loops over blocks of whole arrays: the arithmetic of `harness.models.layer`, written again.

Slow, and meant to share nothing with it but the kernels' references, so that a tile gathered wrongly is seen.
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
    """(frames, d_model) int8 and the arrays of `weight_shapes` -> (frames, d_model) int8."""
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
    """That part of an array as a batch of one, (1, *shape); zeros where the array has ended."""
    found = array[
        tuple(slice(start, start + size) for start, size in zip(corner, shape, strict=True))
    ]
    block = np.zeros((1, *shape), np.int8)
    block[0][tuple(slice(size) for size in found.shape)] = found
    return block


def _limit(values: Int32) -> Int8:
    return np.minimum(np.maximum(values, -128), 127).astype(np.int8)


def _sum(first: Int8, second: Int8) -> Int8:
    return _limit(first.astype(np.int32) + second.astype(np.int32))


def _product(tiling: Tiling, a: Int8, b: Int8) -> Int8:
    """Of every block of the result, the int8 products of its blocks of a and b, added in int32 and limited."""
    m, k, n = tiling.tile("matmul").values()
    (rows, inner), columns = a.shape, b.shape[1]
    total = np.zeros((rows, columns), np.int32)
    for i, j in product(range(0, rows, m), range(0, columns, n)):
        area = total[i : i + m, j : j + n]
        for p in range(0, inner, k):
            (part,) = tiling.matmul.reference(_block(a, (i, p), (m, k)), _block(b, (p, j), (k, n)))
            area += part[: area.shape[0], : area.shape[1]]
    return _limit(total)


def _attention(tiling: Tiling, query: Int8, key: Int8, value: Int8) -> Int8:
    """Of one head, (frames, head_width): the mean over blocks of keys, weighted by the keys in them, halves up."""
    q, s, d = tiling.tile("attention").values()
    frames, width = query.shape
    total = np.zeros((frames, width), np.int32)
    for i, c in product(range(0, frames, q), range(0, width, d)):
        area = total[i : i + q, c : c + d]
        for j in range(0, frames, s):
            keys = (_block(each, (j, c), (s, d)) for each in (key, value))
            (part,) = tiling.attention.reference(_block(query, (i, c), (q, d)), *keys)
            area += len(key[j : j + s]) * part[: area.shape[0], : area.shape[1]].astype(np.int32)
    # Exact: the quotient is a half, or at least 1 / (2 * frames) from one.
    return _limit(np.floor(total / frames + 0.5).astype(np.int32))


def _norm(tiling: Tiling, x: Int8, gamma: Int8, beta: Int8) -> Int8:
    """Every row in pieces, each normalised for itself."""
    (w,) = tiling.tile("layernorm").values()
    out = np.empty_like(x)
    for row, start in product(range(len(x)), range(0, x.shape[1], w)):
        (part,) = tiling.layernorm.reference(
            *(_block(each, (start,), (w,)) for each in (x[row], gamma, beta))
        )
        area = out[row, start : start + w]
        area[:] = part[: len(area)]
    return out


def _gelu(tiling: Tiling, x: Int8) -> Int8:
    """All values in C order, piece by piece."""
    (v,) = tiling.tile("gelu").values()
    flat = x.ravel()
    pieces = [
        tiling.gelu.reference(_block(flat, (start,), (v,)))[0] for start in range(0, len(flat), v)
    ]
    whole: Int8 = np.concatenate(pieces)[: len(flat)].reshape(x.shape)
    return whole
