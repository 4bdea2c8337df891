"""Outputs against the reference, bit for bit."""

from __future__ import annotations

import numpy as np

from harness.kernel import Bytes
from harness.workload import Tiles


class Checker:
    """A sink that compares every tile when it is collected, and remembers the first that is wrong.

    The poison it gives for a tile is the bitwise complement of the right output, so that no byte that was not
    written can pass.
    """

    def __init__(self, tiles: Tiles) -> None:
        self._tiles = tiles
        self.compared = 0
        self.mismatches = 0
        self.first_mismatch = ""

    def poison(self, first: int, count: int) -> Bytes:
        """What the output bos of these tiles hold before launch: (count, size_bytes) uint8."""
        return ~self._tiles.expect(first, count)

    def __call__(self, first: int, outputs: Bytes) -> None:
        """Compare outputs (count, size_bytes) uint8 of tiles `first`, `first` + 1, ..."""
        expected = self._tiles.expect(first, len(outputs))
        wrong = np.flatnonzero((outputs != expected).any(axis=1))
        self.compared += len(outputs)
        self.mismatches += len(wrong)
        if len(wrong) and not self.first_mismatch:
            row = slice(wrong[0], wrong[0] + 1)
            self.first_mismatch = self._describe(first + int(wrong[0]), outputs[row], expected[row])

    def _describe(self, tile: int, output: Bytes, expected: Bytes) -> str:
        """Tile, first differing index in the output's own shape, and both values."""
        buffer = self._tiles.spec.output
        for part, got, right in zip(buffer.parts, buffer.unpack(output), buffer.unpack(expected), strict=True):
            differing = np.argwhere(got[0] != right[0])
            if len(differing):
                index = tuple(int(i) for i in differing[0])
                where = f"{part.name}[{', '.join(map(str, index))}]"
                return f"tile {tile}: {where} is {got[0][index]}, the reference says {right[0][index]}"
        return f"tile {tile}: bytes differ"


class Kept:
    """A sink that keeps the outputs of a timed pass, to be checked after it: row i is tile i modulo the period."""

    def __init__(self, tiles: Tiles, poisoned: bool) -> None:
        self.outputs = ~tiles.expected if poisoned else np.empty((tiles.period, tiles.spec.output.size_bytes), np.uint8)

    def __call__(self, first: int, outputs: Bytes) -> None:
        """Copy outputs (count, size_bytes) uint8 of tiles `first`, `first` + 1, ..."""
        kept, count = self.outputs, len(outputs)
        start = first % len(kept)
        fitting = min(count, len(kept) - start)
        kept[start : start + fitting] = outputs[:fitting]
        if fitting < count:
            kept[np.arange(count - fitting) % len(kept)] = outputs[fitting:]
