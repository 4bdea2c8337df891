"""Tiles: the inputs of a chain of kernels, and the outputs that the references compute."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from traceback import extract_tb
from typing import Any, ClassVar

import numpy as np

from harness.errors import RequestError
from harness.inputs.chain import Chain
from harness.kernel import Bytes, KernelSpec
from harness.kernel.modules import one_line

PIECE_TILES = 4096
PIECE_BYTES = 1 << 26
"""Tiles, and bytes of inputs and outputs, per reference call; its temporaries are several times
larger."""


@dataclass(frozen=True)
class Tiles:
    """The distinct tiles of a chain; a pass may run more tiles: tile i is distinct tile i % period.

    packed: inputs of the first kernel, one (period, size_bytes) uint8 per input buffer. audio_s:
    seconds of audio that the tiles represent. host_ns: measured time of loading and preprocessing.
    later_constants: for each kernel after the first, the bytes of its constants per input buffer.
    remarks: what the user should know about these tiles, a line each.
    """

    chain: Chain
    packed: tuple[Bytes, ...]
    audio_s: float
    host_ns: int
    later_constants: tuple[tuple[Bytes, ...], ...] = ()
    remarks: tuple[str, ...] = ()

    wording: ClassVar[str] = "expected"
    """What messages call the outputs of `expect`."""

    def __post_init__(self) -> None:
        for packed in self.packed:
            # The jobs of a sweep share these arrays (`make_tiles` is cached).
            packed.setflags(write=False)

    @property
    def first_spec(self) -> KernelSpec:
        """The first kernel of the chain, which takes `packed`."""
        return self.chain.kernels[0]

    @property
    def spec(self) -> KernelSpec:
        """The last kernel of the chain, whose outputs are the chain's outputs."""
        return self.chain.kernels[-1]

    @property
    def period(self) -> int:
        """Number of distinct tiles."""
        return len(self.packed[0])

    @cached_property
    def constants(self) -> tuple[tuple[Bytes, ...], ...]:
        """For each kernel, the bytes of its constants per input buffer."""
        first = tuple(
            packed[0, buffer.varying_bytes :]
            for packed, buffer in zip(self.packed, self.first_spec.inputs, strict=True)
        )
        return (first, *self.later_constants)

    def constants_to_hold(self, resident: bool) -> tuple[tuple[Bytes, ...], ...]:
        """The constants that an executor needs; empty if every tile is staged with its constants.

        That is so for a single kernel, unless the strategy keeps constants resident.
        """
        return self.constants if resident or self.later_constants else ()

    @cached_property
    def expected(self) -> tuple[Bytes, ...]:
        """Outputs of the references, (period, size_bytes) uint8 for each kernel."""
        outputs = [_reference_outputs(self.first_spec, self.packed)]
        for kernel_index, spec in list(enumerate(self.chain.kernels))[1:]:
            whole = self.chain.glue_whole(kernel_index, outputs[-1], self.constants[kernel_index])
            packed = tuple(
                each[:, : buffer.size_bytes]
                for each, buffer in zip(whole, spec.inputs, strict=True)
            )
            outputs.append(_reference_outputs(spec, packed))
        return tuple(outputs)

    def expect(self, first: int, count: int, kernel_index: int = -1) -> Bytes:
        """Expected outputs of `count` tiles from `first` on, (count, size_bytes) uint8.

        kernel_index: by default the last kernel of the chain.
        """
        return self.expected[kernel_index][np.arange(first, first + count) % self.period]

    @cached_property
    def of_one_input(self) -> Tiles:
        """As many tiles in as much memory, all with the content of the first."""
        packed = tuple(np.repeat(each[:1], self.period, axis=0) for each in self.packed)
        return replace(self, packed=packed)

    def batches(self, count: int, varying: bool = False) -> Callable[[int], tuple[Any, ...]]:
        """A function that returns the inputs of `count` tiles from a first tile on.

        It returns count * stride_bytes bytes per input buffer. With `varying` it returns
        (count, varying_bytes) uint8 for each buffer with varying parts, as slots with resident
        constants stage them.
        """
        period = self.period
        if varying:
            parts = [
                packed[:, : buffer.varying_bytes]
                for packed, buffer in zip(self.packed, self.first_spec.inputs, strict=True)
                if buffer.varying_bytes
            ]
            return lambda first: tuple(
                # A batch may begin near the end of the period and continue at its beginning.
                part[np.arange(first, first + count) % period]
                for part in parts
            )
        if count > 1:
            return lambda first: self._rows(first % period, count)
        single = self._single
        return lambda first: single[first % period]

    @cached_property
    def _single(self) -> list[tuple[memoryview, ...]]:
        """The bytes of each distinct tile, prepared because a timed pass asks for every tile."""
        return [self._rows(tile, 1) for tile in range(self.period)]

    @cached_property
    def _padded(self) -> tuple[memoryview, ...]:
        """All distinct tiles as in a bo, flat per input buffer; each begins on a cache line."""
        gaps = (buffer.stride_bytes - buffer.size_bytes for buffer in self.first_spec.inputs)
        # Without gaps no copy is made: of large tiles it would be the largest part of the memory.
        padded = (
            np.pad(packed, ((0, 0), (0, gap))) if gap else packed
            for packed, gap in zip(self.packed, gaps, strict=True)
        )
        return tuple(np.ascontiguousarray(each).reshape(-1).data for each in padded)

    def _rows(self, first: int, count: int) -> tuple[memoryview, ...]:
        """The bytes of `count` tiles from `first` on, modulo the period, per input buffer."""
        strides = [buffer.stride_bytes for buffer in self.first_spec.inputs]
        if first + count <= self.period:
            return tuple(
                flat[first * stride : (first + count) * stride]
                for flat, stride in zip(self._padded, strides, strict=True)
            )
        rows = np.arange(first, first + count) % self.period
        flats = (np.frombuffer(flat, np.uint8).reshape(self.period, -1) for flat in self._padded)
        return tuple(flat[rows].reshape(-1).data for flat in flats)


def _reference_outputs(spec: KernelSpec, inputs: tuple[Bytes, ...]) -> Bytes:
    """Outputs of a kernel's reference, (tiles, size_bytes) uint8; RequestError if it fails."""
    tiles = len(inputs[0])
    outputs: Bytes = np.empty((tiles, spec.output.size_bytes), np.uint8)
    step = max(1, min(PIECE_TILES, PIECE_BYTES // spec.size_bytes))
    try:
        for first in range(0, tiles, step):
            piece = slice(first, first + step)
            outputs[piece] = spec.compute(*(each[piece] for each in inputs))
        return outputs
    # A call of sys.exit in it must not end the harness.
    except (Exception, SystemExit) as error:
        raise reference_failure(spec, error) from error


def reference_failure(spec: KernelSpec, error: BaseException) -> RequestError:
    """The error of a user whose reference raises `error`."""
    parts = len(spec.output.parts)
    returned = "one" if parts == 1 else f"a tuple of {parts}"
    return RequestError(
        f"kernel {spec.name}: its reference fails ({one_line(error)}{_place(spec, error)}); "
        "it takes the input parts as read-only arrays (tiles, *shape) and returns "
        f"{returned} (tiles, *shape)"
    )


def _place(spec: KernelSpec, error: BaseException) -> str:
    """The last line in the kernel's folder that an error passed; empty without one."""
    frames = [(Path(frame.filename), frame.lineno) for frame in extract_tb(error.__traceback__)]
    own = [f", {path.name} line {line}" for path, line in frames if path.parent == spec.folder]
    return own[-1] if own else ""
