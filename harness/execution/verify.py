"""Compares outputs with the reference, bit for bit."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from harness.inputs.tiles import Tiles
from harness.kernel import Bytes

MOST_COPIED_BYTES = 1 << 30
"""Largest memory for the outputs of one timed pass."""
CHUNK_TILES = 1024
"""Tiles per comparison of copied outputs."""


class Comparison(Protocol):
    """The result of comparing outputs with a reference.

    compared: number of tiles compared. mismatches: number of wrong ones. first_mismatch: place and
    values of the first wrong one, as text; empty if all are right.
    """

    compared: int
    mismatches: int
    first_mismatch: str


class Checker:
    """A sink for `Executor.run` that compares every tile with the reference.

        checker = Checker(tiles)
        executor.run(tiles, checker, checker.poison)
        print(checker.mismatches, checker.first_mismatch)

    The poison for a tile is the bitwise complement of the right output, so every byte that the
    device does not write is a mismatch.
    """

    def __init__(self, tiles: Tiles, kernel_index: int = -1, operation: str = "") -> None:
        """kernel_index: kernel whose outputs are compared; operation: its name, for messages."""
        self._tiles = tiles
        self._kernel_index = kernel_index
        self._operation = f"{operation}: " if operation else ""
        self.compared = 0
        self.mismatches = 0
        self.first_mismatch = ""

    def poison(self, kernel_index: int, first: int, count: int) -> Bytes:
        """Content for a kernel's output bos before launch, (count, size_bytes) uint8."""
        return ~self._tiles.expect(first, count, kernel_index)

    def __call__(self, first: int, outputs: Bytes) -> None:
        """Compare outputs (count, size_bytes) uint8 of tiles `first`, `first` + 1, ..."""
        expected = self._tiles.expect(first, len(outputs), self._kernel_index)
        # Bytes, not values: the reference is exact, so there is no tolerance.
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
        buffer, prefix = spec.output, f"{spec.name}: " if len(kernels) > 1 else self._operation
        for part, got, right in zip(
            buffer.parts, buffer.unpack(output), buffer.unpack(expected), strict=True
        ):
            differing = np.argwhere(got[0] != right[0])
            if len(differing):
                index = tuple(int(i) for i in differing[0])
                place = f"{part.name}[{', '.join(map(str, index))}]"
                return (
                    f"{prefix}tile {tile}: {place} is {got[0][index]}, expected {right[0][index]}"
                )
        return f"{prefix}tile {tile}: bytes differ"


class OutputCopies:
    """A sink for `Executor.run` that copies the outputs of a timed pass, to compare them later.

    It copies all outputs, or the last MOST_COPIED_BYTES of a longer pass. Tile i is in row i modulo
    the number of rows.
    """

    def __init__(self, tiles: Tiles, count: int) -> None:
        size_bytes = tiles.spec.output.size_bytes
        self._count = count
        self._rows = max(1, min(count, MOST_COPIED_BYTES // size_bytes))
        self._outputs: Bytes = np.empty((self._rows, size_bytes), np.uint8)
        # Linux maps memory on its first write, which would take longer than the timed copy itself.
        self._outputs.fill(0)

    def __call__(self, first: int, outputs: Bytes) -> None:
        """Copy outputs (count, size_bytes) uint8 of tiles `first`, `first` + 1, ..."""
        copies, count = self._outputs, len(outputs)
        start = first % self._rows
        if start + count <= self._rows:
            copies[start : start + count] = outputs
        else:
            copies[np.arange(first, first + count) % self._rows] = outputs

    @property
    def outputs(self) -> Bytes:
        """All outputs of the pass, (count, size_bytes) uint8, in tile order.

        Only for a pass whose outputs fit MOST_COPIED_BYTES.
        """
        assert self._rows >= self._count
        return self._outputs[: self._count]

    def feed(self, checker: Checker) -> Checker:
        """Pass the copies to a checker in tile order; returns the checker."""
        # Rows of a longer pass were used again: only its last tiles are there.
        for first in range(max(0, self._count - self._rows), self._count, CHUNK_TILES):
            tiles = np.arange(first, min(first + CHUNK_TILES, self._count))
            checker(first, self._outputs[tiles % self._rows])
        return checker
