"""The data of one encoder layer: cuts int8 arrays into tiles of kernel calls, and gathers outputs.

The calls of an operation are in the order of `times` (heads of attention, rows of a norm), then of
the tiles along each size of its role, the last size fastest: (m, k, n) for a product, (head, q, s,
d) for attention. Incomplete tiles are padded with zeros.

The kernels compute tiles only, so the host does the rest:

    products     adds the int8 partial sums over k in int32, and saturates; there are no biases
    attention    takes the mean over the tiles of keys, as each tile has a softmax of its own. With
                 outputs o_i of n_i real keys each, and N the sum of n_i, the mean is
                 floor((2 * sum of n_i o_i + N) / 2 N), which rounds halves up
    residuals    adds in int32, and saturates

Tiles along the row of a norm, or along the width of a head, are only put side by side.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from harness.errors import check_range
from harness.kernel import Array, Bytes, Int8
from harness.models.operations import Operation, operations
from harness.models.tiling import ROLES, Tiling
from harness.models.whisper import Encoder


@dataclass(frozen=True)
class Formula:
    """What an operation computes, and from what.

    role: key of ROLES, None for an addition. sources: names of earlier operations, or `x`.
    """

    role: str | None
    sources: tuple[str, ...]


FORMULAS = {
    "attention norm": Formula("layernorm", ("x",)),
    "query": Formula("matmul", ("attention norm",)),
    "key": Formula("matmul", ("attention norm",)),
    "value": Formula("matmul", ("attention norm",)),
    "attention": Formula("attention", ("query", "key", "value")),
    "output": Formula("matmul", ("attention",)),
    "attention residual": Formula(None, ("x", "output")),
    "ffn norm": Formula("layernorm", ("attention residual",)),
    "ffn 1": Formula("matmul", ("ffn norm",)),
    "ffn gelu": Formula("gelu", ("ffn 1",)),
    "ffn 2": Formula("matmul", ("ffn gelu",)),
    "ffn residual": Formula(None, ("attention residual", "ffn 2")),
}


def layer_operations(encoder: Encoder, tiling: Tiling, layer: int) -> tuple[Operation, ...]:
    """Return the operations of one layer in order; RequestError if `layer` does not exist."""
    check_range("layer", layer, 0, encoder.layers - 1)
    return tuple(each for each in operations(encoder, tiling) if each.layer == layer)


def saturate(values: Array) -> Int8:
    """Limit integers to the range of int8, and convert them."""
    return np.clip(values, -128, 127).astype(np.int8)


@dataclass(frozen=True)
class TileGrid:
    """How the arrays of an operation are cut into tiles.

    times: heads of attention, or rows of a norm. extents, tile: sizes of the arrays and of the tile
    by letter, in the order of the role.
    """

    times: int
    extents: dict[str, int]
    tile: dict[str, int]

    @property
    def pieces(self) -> dict[str, int]:
        """Number of tiles along each size."""
        return {letter: -(-extent // self.tile[letter]) for letter, extent in self.extents.items()}

    def tiles(self, array: Array, letters: str) -> Array:
        """Cut an array, (times or 1, *sizes of `letters`), into tiles: (calls, *tile).

        It is padded with zeros, and its tiles are repeated along the sizes that it does not have.
        """
        pieces, shape = self.pieces, tuple(self.tile[each] for each in letters)
        edges = [(0, pieces[each] * self.tile[each] - self.extents[each]) for each in letters]
        padded = np.pad(array, [(0, 0), *edges])
        # Split each axis into (piece, offset in the tile), then put all piece axes first.
        axes = [size for each in letters for size in (pieces[each], self.tile[each])]
        split = padded.reshape(len(array), *axes)
        ordered = split.transpose(0, *range(1, split.ndim, 2), *range(2, split.ndim, 2))
        # An axis of length 1 for each size that the array does not have.
        counts = [count if each in letters else 1 for each, count in pieces.items()]
        apart = ordered.reshape(len(array), *counts, *shape)
        calls: Array = np.broadcast_to(apart, (self.times, *pieces.values(), *shape))
        return calls.reshape(-1, *shape)

    def whole(self, tiles: Array, letters: str) -> Array:
        """Join tiles, (times, *pieces of `letters`, *tile), into (times, *sizes) without padding.

        The inverse of `tiles`.
        """
        # Puts the axis of the pieces before that of the offsets in a tile, size by size.
        count = len(letters)
        pairs = [axis for each in range(count) for axis in (1 + each, 1 + count + each)]
        sizes = (self.pieces[each] * self.tile[each] for each in letters)
        padded = tiles.transpose(0, *pairs).reshape(self.times, *sizes)
        return padded[(slice(None), *(slice(self.extents[each]) for each in letters))]


class LayerData:
    """The arrays of one layer while its operations run.

    Run the operations in order: `stage` and `take` for one with a kernel, `host` for an addition.
    KeyError if an operation runs before its sources.

    x: (frames, d_model) int8. weights: arrays of `weight_shapes`.

        data = LayerData(encoder, tiling, x, make_weights(encoder, seed=0))
        for operation in layer_operations(encoder, tiling, layer=0):
            if operation.kernel is None:
                data.host(operation)
            else:  # here by the reference; on a device, call by call
                spec = load_kernel(operation.kernel)
                data.take(operation, spec.compute(*data.stage(operation)))
        data.result
    """

    def __init__(
        self, encoder: Encoder, tiling: Tiling, x: Int8, weights: Mapping[str, Int8]
    ) -> None:
        shape = (encoder.frames, encoder.d_model)
        if x.shape != shape or x.dtype != np.int8:
            raise ValueError(f"x: given {x.dtype}{list(x.shape)}, takes int8{list(shape)}")
        self.encoder = encoder
        self.tiling = tiling
        self.weights = weights
        self.arrays: dict[str, Int8] = {"x": x}

    def stage(self, operation: Operation) -> tuple[Bytes, ...]:
        """Return the inputs of all calls: (calls, size_bytes) uint8 per input buffer."""
        role = _role(operation)
        arrays = self._inputs(operation.name, role)
        grid = self._grid(arrays, role)
        tiles = (grid.tiles(*each) for each in zip(arrays, ROLES[role].shapes[:-1], strict=True))
        return tuple(
            buffer.pack(*(next(tiles) for _ in buffer.parts))
            for buffer in self.tiling.spec(role).inputs
        )

    def take(self, operation: Operation, outputs: Bytes) -> None:
        """Store the outputs of all calls: (calls, output size_bytes) uint8.

        ValueError for another number of calls.
        """
        role = _role(operation)
        grid = self._grid(self._inputs(operation.name, role), role)
        (out,) = self.tiling.spec(role).output.unpack(outputs)
        tiles = out.reshape(grid.times, *grid.pieces.values(), *out.shape[1:])
        if role == "matmul":
            # Axis 2 is k. The int8 partial sums add up in int32; `saturate` below limits the total.
            tiles = tiles.sum(axis=2, dtype=np.int32)
        elif role == "attention":
            tiles = _mean(tiles, grid)
        output = saturate(grid.whole(tiles, ROLES[role].shapes[-1]))
        self.arrays[operation.name] = self._join(output, role)

    def host(self, operation: Operation) -> None:
        """Compute an addition on the host."""
        # In int32, because a sum of int8 would wrap around.
        first, second = (self.arrays[name] for name in FORMULAS[operation.name].sources)
        self.arrays[operation.name] = saturate(first.astype(np.int32) + second)

    @property
    def result(self) -> Int8:
        """Output of the layer, (frames, d_model) int8; KeyError before the last operation."""
        return self.arrays["ffn residual"]

    def _inputs(self, name: str, role: str) -> list[Int8]:
        """Return the input arrays of an operation: (times or 1, *sizes of the part's letters)."""
        sources = [self.arrays[each] for each in FORMULAS[name].sources]
        weight = name.replace(" ", "_")
        if role == "matmul":
            return [sources[0][np.newaxis], self.weights[weight][np.newaxis]]
        if role == "layernorm":
            gamma, beta = (self.weights[f"{weight}_{each}"] for each in ("gamma", "beta"))
            return [sources[0], gamma[np.newaxis], beta[np.newaxis]]
        if role == "gelu":
            return [sources[0].reshape(1, -1)]
        # The heads are columns of the projections; attention runs head by head.
        heads = (self.encoder.frames, self.encoder.heads, self.encoder.head_width)
        return [each.reshape(heads).transpose(1, 0, 2) for each in sources]

    def _join(self, whole: Int8, role: str) -> Int8:
        """Reshape an output, (times, *sizes), to (frames, values per frame)."""
        apart = whole.transpose(1, 0, 2) if role == "attention" else whole
        return apart.reshape(self.encoder.frames, -1)

    def _grid(self, arrays: list[Int8], role: str) -> TileGrid:
        kind, sizes = ROLES[role], (size for array in arrays for size in array.shape[1:])
        by_letter = dict(zip("".join(kind.shapes[:-1]), sizes, strict=True))
        extents = {letter: by_letter[letter] for letter in kind.sizes}
        return TileGrid(len(arrays[0]), extents, self.tiling.tile(role))


def _role(operation: Operation) -> str:
    """Return the role of an operation; ValueError for an addition, which the host does."""
    role = FORMULAS[operation.name].role
    if role is None:
        raise ValueError(f"{operation.name}: no kernel computes it; the host does it")
    return role


def _mean(tiles: Array, grid: TileGrid) -> Array:
    """Average attention over the tiles of keys, each weighted by its number of real keys.

    Takes (heads, Q, S, D, q, d) int8, tile counts in capitals; returns (heads, Q, D, q, d).
    """
    keys, size = grid.extents["s"], grid.tile["s"]
    counts = np.minimum(size, keys - size * np.arange(grid.pieces["s"])).astype(np.int32)
    total = np.einsum("hksdij,s->hkdij", tiles, counts)
    mean: Array = (2 * total + keys) // (2 * keys)
    return mean
