"""Outputs against the reference, bit for bit."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from harness.inputs.tiles import Tiles
from harness.kernel import Bytes

MOST_KEPT_BYTES = 1 << 30
CHUNK_TILES = 1024


class Comparison(Protocol):
    """What came of comparing outputs: how many tiles were, how many of them are wrong, and what is of the first."""

    compared: int
    mismatches: int
    first_mismatch: str


class Checker:
    """A sink that compares every tile when it is collected, and remembers the first that is wrong.

    The poison it gives for a tile is the bitwise complement of the right output, so that no byte that was not
    written can pass.
    """

    def __init__(self, tiles: Tiles, kernel_index: int = -1, of: str = "") -> None:
        """kernel_index: whose outputs; by default the last kernel's. of: what the tiles are calls of."""
        self._tiles = tiles
        self._kernel_index = kernel_index
        self._of = f"{of}: " if of else ""
        self.compared = 0
        self.mismatches = 0
        self.first_mismatch = ""

    def poison(self, kernel_index: int, first: int, count: int) -> Bytes:
        """What a kernel's output bos of these tiles hold before launch: (count, size_bytes) uint8."""
        return ~self._tiles.expect(first, count, kernel_index)

    def __call__(self, first: int, outputs: Bytes) -> None:
        """Compare outputs (count, size_bytes) uint8 of tiles `first`, `first` + 1, ..."""
        expected = self._tiles.expect(first, len(outputs), self._kernel_index)
        wrong = np.flatnonzero((outputs != expected).any(axis=1))
        self.compared += len(outputs)
        self.mismatches += len(wrong)
        if len(wrong) and not self.first_mismatch:
            row = slice(wrong[0], wrong[0] + 1)
            self.first_mismatch = self._describe(first + int(wrong[0]), outputs[row], expected[row])

    def _describe(self, tile: int, output: Bytes, expected: Bytes) -> str:
        """Tile, first differing index in the output's own shape, and both values."""
        kernels = self._tiles.chain.kernels
        spec = kernels[self._kernel_index]
        buffer, kernel = spec.output, f"{spec.name}: " if len(kernels) > 1 else self._of
        for part, got, right in zip(
            buffer.parts, buffer.unpack(output), buffer.unpack(expected), strict=True
        ):
            differing = np.argwhere(got[0] != right[0])
            if len(differing):
                index = tuple(int(i) for i in differing[0])
                where = f"{part.name}[{', '.join(map(str, index))}]"
                return f"{kernel}tile {tile}: {where} is {got[0][index]}, the reference says {right[0][index]}"
        return f"{kernel}tile {tile}: bytes differ"


class OutputCopies:
    """A sink that keeps the outputs of a timed pass, to be checked after it.

    All of them, up to MOST_KEPT_BYTES; of a longer pass the last ones. Row i is tile i modulo the rows.
    """

    def __init__(self, tiles: Tiles, count: int) -> None:
        size_bytes = tiles.spec.output.size_bytes
        self._count = count
        self._rows = max(1, min(count, MOST_KEPT_BYTES // size_bytes))
        self._outputs: Bytes = np.empty((self._rows, size_bytes), np.uint8)
        self._outputs.fill(
            0
        )  # touched here: the first touch of memory takes longer than the copy that is timed

    def __call__(self, first: int, outputs: Bytes) -> None:
        """Copy outputs (count, size_bytes) uint8 of tiles `first`, `first` + 1, ..."""
        kept, count = self._outputs, len(outputs)
        start = first % self._rows
        if start + count <= self._rows:
            kept[start : start + count] = outputs
        else:
            kept[np.arange(first, first + count) % self._rows] = outputs

    @property
    def outputs(self) -> Bytes:
        """All outputs of the pass, (count, size_bytes) uint8, in tile order; only where all could be kept."""
        assert self._rows >= self._count
        return self._outputs[: self._count]

    def feed(self, checker: Checker) -> Checker:
        """Have a checker compare what is kept, in tile order; returns it."""
        for first in range(max(0, self._count - self._rows), self._count, CHUNK_TILES):
            tiles = np.arange(first, min(first + CHUNK_TILES, self._count))
            checker(first, self._outputs[tiles % self._rows])
        return checker
