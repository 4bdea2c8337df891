"""Compares outputs with the expected ones, bit for bit or within the tolerance of their kernel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from harness.execution.agreement import Extreme
from harness.inputs.chain import Chain
from harness.inputs.tiles import Tiles
from harness.kernel import Array, Bytes, KernelSpec, Part
from harness.kernel.difference import differing, poison_of

MOST_COPIED_BYTES = 1 << 30
"""Largest memory for the outputs of one timed pass."""
CHUNK_TILES = 1024
CHUNK_BYTES = 1 << 26
"""Tiles, and bytes of their outputs, per comparison of copied outputs."""
MEASURED_BYTES = 1 << 22
"""Outputs that are measured at once; the errors of their elements take at most 16 times that."""


class Comparison(Protocol):
    """The result of comparing outputs with expected ones.

    compared: number of tiles compared. mismatches: number of wrong ones. first_mismatch: place and
    values of the first wrong one, as text; empty if all are right. extremes: the largest error of
    each kernel with a tolerance. remarks: errors that the comparison cannot detect.
    """

    @property
    def compared(self) -> int: ...  # noqa: D102
    @property
    def mismatches(self) -> int: ...  # noqa: D102
    @property
    def first_mismatch(self) -> str: ...  # noqa: D102
    @property
    def extremes(self) -> Sequence[Extreme]: ...  # noqa: D102
    @property
    def remarks(self) -> Sequence[str]: ...  # noqa: D102


@dataclass(frozen=True)
class Result:
    """A finished comparison."""

    compared: int
    mismatches: int
    first_mismatch: str
    extremes: Sequence[Extreme] = ()
    remarks: Sequence[str] = ()


class Expected(Protocol):
    """The outputs that the tiles of a chain should have. wording: what a message calls them."""

    @property
    def chain(self) -> Chain: ...  # noqa: D102
    @property
    def wording(self) -> str: ...  # noqa: D102

    def expect(self, first: int, count: int, kernel_index: int = -1) -> Bytes:
        """Outputs of `count` tiles from `first` on, (count, size_bytes) uint8."""


class Checker:
    """A sink for `Executor.run` that compares every tile with the expected one.

        checker = Checker(tiles)
        executor.run(tiles, checker, checker.poison)
        print(checker.mismatches, checker.first_mismatch)

    Every element that the device does not write is a mismatch: the poison for a tile is the bitwise
    complement of the right output, or, with a tolerance, of elements that no tolerance allows.
    """

    remarks: Sequence[str] = ()

    def __init__(self, expected: Expected, kernel_index: int = -1, operation: str = "") -> None:
        """kernel_index: kernel whose outputs are compared; operation: its name, for messages."""
        self._expected = expected
        self._kernel_index = kernel_index
        kernels = expected.chain.kernels
        self._spec = kernels[kernel_index]
        self._tolerance = self._spec.tolerance
        self._is_exact = self._tolerance.is_exact
        self._prefix = f"{operation}: " if operation else ""
        if len(kernels) > 1:
            self._prefix = f"{self._spec.name}: "
        self._inexact = [spec.name for spec in kernels[:kernel_index] if not is_exact(spec)]
        self._first = ""
        self._extreme = Extreme(self._spec)
        self.compared = 0
        self.mismatches = 0

    @property
    def extremes(self) -> Sequence[Extreme]:
        """The largest error of the kernel; empty for an exact one."""
        return () if self._is_exact else (self._extreme,)

    @property
    def first_mismatch(self) -> str:
        """Place and values of the first wrong tile; with a tolerance, also the largest error."""
        if not self._first:
            return ""
        parts = [self._first]
        if not self._is_exact:
            parts.append(f"in all tiles: {self._extreme.text}")
        if self._inexact:
            names = " and ".join(self._inexact)
            parts.append(f"the tolerance of {names} allows errors in the input of this kernel")
        return "; ".join(parts)

    def poison(self, kernel_index: int, first: int, count: int) -> Bytes:
        """Content for a kernel's output bos before launch, (count, size_bytes) uint8."""
        expected = self._expected.expect(first, count, kernel_index)
        spec = self._expected.chain.kernels[kernel_index]
        return ~expected if is_exact(spec) else poisoned(spec, expected)

    def __call__(self, first: int, outputs: Bytes) -> None:
        """Compare outputs (count, size_bytes) uint8 of tiles `first`, `first` + 1, ..."""
        expected = self._expected.expect(first, len(outputs), self._kernel_index)
        # Bytes, not values: equal bytes are right under every tolerance.
        wrong = np.flatnonzero((outputs != expected).any(axis=1))
        if len(wrong) and not self._is_exact:
            wrong = self._beyond(first, wrong, outputs, expected)
        self.compared += len(outputs)
        self.mismatches += len(wrong)
        if len(wrong) and not self._first:
            row = slice(wrong[0], wrong[0] + 1)
            self._first = self._describe(first + int(wrong[0]), outputs[row], expected[row])

    def _beyond(
        self, first: int, rows: NDArray[np.intp], outputs: Bytes, expected: Bytes
    ) -> NDArray[np.intp]:
        """Those of `rows` that are outside of the tolerance; updates the largest error."""
        at_once = max(1, MEASURED_BYTES // self._spec.output.size_bytes)
        wrong = np.zeros(len(rows), bool)
        for begin in range(0, len(rows), at_once):
            piece = rows[begin : begin + at_once]
            for part, got, right in self._parts(outputs[piece], expected[piece]):
                difference = self._tolerance.measure(got, right, part.dtype)
                wrong[begin : begin + at_once] |= difference.wrong
                worst = int(difference.largest.argmax())
                place = f"tile {first + int(piece[worst])}"
                if self._tolerance.is_elementwise:
                    place += f" {_element(part, int(difference.at[worst]))}"
                largest, outside = difference.largest[worst], difference.outside.max()
                extreme = Extreme(self._spec, float(largest), float(outside), place)
                self._extreme = self._extreme.or_worse(extreme)
        return rows[wrong]

    def _parts(self, outputs: Bytes, expected: Bytes) -> Any:
        """Each part of the output with its two arrays, (tiles, *shape)."""
        buffer = self._spec.output
        return zip(buffer.parts, buffer.unpack(outputs), buffer.unpack(expected), strict=True)

    def _describe(self, tile: int, output: Bytes, expected: Bytes) -> str:
        """Tile, index of an element in the output's own shape, and both values.

        The first element that differs, or with a tolerance that with the largest error.
        """
        start = f"{self._prefix}tile {tile}: "
        for part, got, right in self._parts(output, expected):
            if self._is_exact:
                at = differing(got, right).reshape(-1)
                if at.any():
                    return start + self._values(part, int(at.argmax()), got, right)
                continue
            difference = self._tolerance.measure(got, right, part.dtype)
            if difference.wrong[0]:
                values = self._values(part, int(difference.at[0]), got, right)
                largest, outside = float(difference.largest[0]), float(difference.outside[0])
                return f"{start}{values} ({self._tolerance.place(largest, outside)})"
        return (
            f"{start}only the bits of NaN, or of the padding of an odd number of int4, differ; "
            "a tolerance of {kind: absolute, limit: 0} allows that"
        )

    def _values(self, part: Part, at: int, got: Array, right: Array) -> str:
        values = got.reshape(-1)[at], right.reshape(-1)[at]
        return f"{_element(part, at)} is {values[0]}, {self._expected.wording} {values[1]}"


def is_exact(spec: KernelSpec) -> bool:
    """Whether the outputs of a kernel must have the same bits."""
    return spec.tolerance.is_exact


def poisoned(spec: KernelSpec, expected: Bytes) -> Bytes:
    """Outputs (tiles, size_bytes) uint8 that no tolerance allows in place of `expected`."""
    buffer = spec.output
    arrays = buffer.unpack(expected)
    poison = (
        poison_of(array, part.dtype) for part, array in zip(buffer.parts, arrays, strict=True)
    )
    return buffer.pack(*poison)


def _element(part: Part, at: int) -> str:
    """An element of a part by its flat index: `out[3, 5]`."""
    index = np.unravel_index(at, part.shape)
    return f"{part.name}[{', '.join(str(int(each)) for each in index)}]"


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
        step = max(1, min(CHUNK_TILES, CHUNK_BYTES // self._outputs.shape[1]))
        # Rows of a longer pass were used again: only its last tiles are there.
        for first in range(max(0, self._count - self._rows), self._count, step):
            tiles = np.arange(first, min(first + step, self._count))
            checker(first, self._outputs[tiles % self._rows])
        return checker
