"""One layer of an encoder run through kernel calls: int8 arrays cut into tiles, and outputs gathered into arrays.

An operation's calls stand in the order of `times` (heads of attention, rows of a norm), then of the pieces of its
role's sizes, the last one fastest: of a product (m, k, n), of attention (head, q, s, d). Edges are filled with zeros.

What the host does, the kernels being what they are:

    products     partial sums over k, int8 each, are added in int32 and saturated; there are no biases
    attention    every tile of keys has a softmax of its own; of their outputs o_i, with n_i real keys each and N the
                 sum of n_i, it takes the mean: floor((2 * sum of n_i o_i + N) / 2 N), which rounds halves up
    residuals    added in int32 and saturated

Parts of a row of a norm, and of the width of a head, stand beside each other as they come.
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
    """What an operation does (a role of ROLES, None: an addition) and what it takes: names of operations, or `x`."""

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
    """The operations of one layer, from 0, in order; RequestError for a layer that is not there."""
    check_range("layer", layer, 0, encoder.layers - 1)
    return tuple(each for each in operations(encoder, tiling) if each.layer == layer)


def saturate(values: Array) -> Int8:
    """Integers of any shape, limited to int8."""
    return np.clip(values, -128, 127).astype(np.int8)


@dataclass(frozen=True)
class TileGrid:
    """How arrays of a role are cut: sizes and tiles by letter, in the role's order, `times` over."""

    times: int
    extents: dict[str, int]
    tile: dict[str, int]

    @property
    def pieces(self) -> dict[str, int]:
        """Tiles along every size."""
        return {letter: -(-extent // self.tile[letter]) for letter, extent in self.extents.items()}

    def tiles(self, array: Array, letters: str) -> Array:
        """(times or 1, *sizes of those letters) as (calls, *tile): padded, and repeated along the other letters."""
        pieces = self.pieces
        edges = [(0, pieces[each] * self.tile[each] - self.extents[each]) for each in letters]
        padded = np.pad(array, [(0, 0), *edges])
        split = padded.reshape(
            len(array), *(size for each in letters for size in (pieces[each], self.tile[each]))
        )
        ordered = split.transpose(0, *range(1, split.ndim, 2), *range(2, split.ndim, 2))
        shape = tuple(self.tile[each] for each in letters)
        apart = ordered.reshape(
            len(array), *(pieces[each] if each in letters else 1 for each in pieces), *shape
        )
        calls: Array = np.broadcast_to(apart, (self.times, *pieces.values(), *shape)).reshape(
            -1, *shape
        )
        return calls

    def whole(self, tiles: Array, letters: str) -> Array:
        """The inverse: (times, *pieces of those letters, *tile) as (times, *sizes), without padding."""
        count = len(letters)
        pairs = [axis for each in range(count) for axis in (1 + each, 1 + count + each)]
        sizes = (self.pieces[each] * self.tile[each] for each in letters)
        padded = tiles.transpose(0, *pairs).reshape(self.times, *sizes)
        return padded[(slice(None), *(slice(self.extents[each]) for each in letters))]


class LayerData:
    """The arrays of one layer while its operations are carried out in order, every one by `stage` and `take` or `host`.

    x: (frames, d_model) int8; weights: of `weight_shapes`. An operation before what it takes is a KeyError.
    """

    def __init__(
        self, encoder: Encoder, tiling: Tiling, x: Int8, weights: Mapping[str, Int8]
    ) -> None:
        wanted = (encoder.frames, encoder.d_model)
        if x.shape != wanted or x.dtype != np.int8:
            raise ValueError(f"x: given {x.dtype}{list(x.shape)}, takes int8{list(wanted)}")
        self.encoder = encoder
        self.tiling = tiling
        self.weights = weights
        self.arrays: dict[str, Int8] = {"x": x}

    def stage(self, operation: Operation) -> tuple[Bytes, ...]:
        """What its calls take: (calls, size_bytes) uint8 of every input buffer of its kernel."""
        role = _role(operation)
        arrays = self._inputs(operation.name, role)
        grid = self._grid(arrays, role)
        tiles = (grid.tiles(*each) for each in zip(arrays, ROLES[role].shapes[:-1], strict=True))
        return tuple(
            buffer.pack(*(next(tiles) for _ in buffer.parts))
            for buffer in self.tiling.spec(role).inputs
        )

    def take(self, operation: Operation, outputs: Bytes) -> None:
        """Store what its calls returned: (calls, output size_bytes) uint8; ValueError for another number of calls."""
        role = _role(operation)
        grid = self._grid(self._inputs(operation.name, role), role)
        (out,) = self.tiling.spec(role).output.unpack(outputs)
        tiles = out.reshape(grid.times, *grid.pieces.values(), *out.shape[1:])
        if role == "matmul":
            tiles = tiles.sum(axis=2, dtype=np.int32)
        elif role == "attention":
            tiles = _mean(tiles, grid)
        self.arrays[operation.name] = self._join(
            saturate(grid.whole(tiles, ROLES[role].shapes[-1])), role
        )

    def host(self, operation: Operation) -> None:
        """Carry out an addition of the host's."""
        first, second = (self.arrays[name] for name in FORMULAS[operation.name].sources)
        self.arrays[operation.name] = saturate(first.astype(np.int32) + second)

    @property
    def result(self) -> Int8:
        """(frames, d_model) int8, once the last operation is carried out."""
        return self.arrays["ffn residual"]

    def _inputs(self, name: str, role: str) -> list[Int8]:
        """Arrays of an operation, one per part: (times or 1, *sizes of the part's letters)."""
        sources, weight = (
            [self.arrays[each] for each in FORMULAS[name].sources],
            name.replace(" ", "_"),
        )
        if role == "matmul":
            return [sources[0][np.newaxis], self.weights[weight][np.newaxis]]
        if role == "layernorm":
            return [
                sources[0],
                *(self.weights[f"{weight}_{each}"][np.newaxis] for each in ("gamma", "beta")),
            ]
        if role == "gelu":
            return [sources[0].reshape(1, -1)]
        heads = (self.encoder.frames, self.encoder.heads, self.encoder.head_width)
        return [each.reshape(heads).transpose(1, 0, 2) for each in sources]

    def _join(self, whole: Int8, role: str) -> Int8:
        """The output (times, *sizes) as (frames, values per frame)."""
        apart = whole.transpose(1, 0, 2) if role == "attention" else whole
        return apart.reshape(self.encoder.frames, -1)

    def _grid(self, arrays: list[Int8], role: str) -> TileGrid:
        kind, sizes = ROLES[role], (size for array in arrays for size in array.shape[1:])
        named = dict(zip("".join(kind.shapes[:-1]), sizes, strict=True))
        return TileGrid(
            len(arrays[0]), {letter: named[letter] for letter in kind.sizes}, self.tiling.tile(role)
        )


def _role(operation: Operation) -> str:
    """Its role; ValueError of one that the host does."""
    role = FORMULAS[operation.name].role
    if role is None:
        raise ValueError(f"{operation.name}: no kernel's; the host does it")
    return role


def _mean(tiles: Array, grid: TileGrid) -> Array:
    """(heads, Q, S, D, q, d) int8 as (heads, Q, D, q, d): averaged over the tiles of keys, by their real keys."""
    keys, size = grid.extents["s"], grid.tile["s"]
    counts = np.minimum(size, keys - size * np.arange(grid.pieces["s"])).astype(np.int32)
    total = np.einsum("hksdij,s->hkdij", tiles, counts)
    mean: Array = (2 * total + keys) // (2 * keys)
    return mean
