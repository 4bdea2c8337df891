"""`KernelSpec`: the arguments, the arithmetic and the work of one device program."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from harness.errors import RequestError
from harness.kernel.arguments import Argument, Buffer, Direction, Part, Scalar
from harness.kernel.cost import Cost
from harness.kernel.dtypes import Array, Bytes
from harness.kernel.tolerance import EXACT, Tolerance

FIRST_DATA_ARGUMENT = 3
"""Index of the first data argument: 0 to 2 are the opcode, the instruction bo and its size."""


@dataclass(frozen=True)
class CompiledFiles:
    """Where a compiled kernel is; None and empty where the declaration does not say.

    kernel: its name in the xclbin.
    """

    xclbin: Path | None = None
    insts: Path | None = None
    kernel: str = ""


@dataclass(frozen=True)
class KernelSpec:
    """One kernel: its name, its arguments in order, its arithmetic and its work.

    arguments: from argument FIRST_DATA_ARGUMENT on. reference: takes one array (tiles, *shape) per
    input part, in order, and the scalars by name; it returns the array (tiles, *shape) of the only
    output part, or a tuple with one for each. None if nothing can compute the outputs. tolerance:
    how much the device's outputs may differ from it. ops: arithmetic operations per tile; a
    multiply-accumulate counts as two. cost: what an execution costs on a simulated device whose
    profile has no figure for it. files: the compiled kernel. folder: of its source and reference,
    None if it was created in Python. own: whether the user has declared it.

        left, right, total = (Part(name, (64, 64)) for name in ("left", "right", "sum"))
        SPEC = KernelSpec(
            "add", (Buffer("operands", (left, right)), Buffer("sum", (total,), Direction.OUT)),
            reference=lambda left, right: left + right, ops=64 * 64)

    RequestError if it has no output, or its tolerance does not fit the dtype of one.
    """

    name: str
    arguments: tuple[Argument, ...]
    reference: Callable[..., Any] | None = None
    ops: int = 0
    tolerance: Tolerance = EXACT
    cost: Cost | None = None
    files: CompiledFiles = CompiledFiles()
    folder: Path | None = None
    own: bool = False

    def __post_init__(self) -> None:
        if not self.outputs:
            raise RequestError(f"kernel {self.name}: no output; give a buffer a direction of out")
        for part in self.output.parts:
            self.tolerance.check_dtype(part.dtype, f"kernel {self.name}: {part.name}: tolerance")

    @cached_property
    def buffers(self) -> tuple[Buffer, ...]:
        """The buffers among the arguments, in order: one bo each."""
        return tuple(each for each in self.arguments if isinstance(each, Buffer))

    @cached_property
    def indices(self) -> tuple[int, ...]:
        """The argument's index of each of `buffers`, as XRT counts."""
        numbered = enumerate(self.arguments, FIRST_DATA_ARGUMENT)
        return tuple(index for index, each in numbered if isinstance(each, Buffer))

    @cached_property
    def scalars(self) -> dict[int, Scalar]:
        """The scalars, by index of the argument."""
        numbered = enumerate(self.arguments, FIRST_DATA_ARGUMENT)
        return {index: each for index, each in numbered if isinstance(each, Scalar)}

    @cached_property
    def used_arguments(self) -> int:
        """Number of arguments up to the last one that is set, with opcode and instructions."""
        return 1 + max((*self.indices, *self.scalars))

    @cached_property
    def inputs(self) -> tuple[Buffer, ...]:
        """The buffers that the host writes, in order; of direction in and inout."""
        return tuple(each for each in self.buffers if each.is_input)

    @cached_property
    def outputs(self) -> tuple[Buffer, ...]:
        """The buffers that the host reads, in order; of direction out and inout."""
        return tuple(each for each in self.buffers if each.is_output)

    @cached_property
    def output(self) -> Buffer:
        """All outputs as one buffer: the bytes that are compared, stored, and given to a chain.

        For a kernel with one output, that output; else the parts of all, one behind the other.
        """
        if len(self.outputs) == 1:
            return self.outputs[0]
        parts = tuple(part for buffer in self.outputs for part in buffer.parts)
        return Buffer("+".join(each.name for each in self.outputs), parts, Direction.OUT)

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """The parts of all input buffers, in order."""
        return tuple(part for buffer in self.inputs for part in buffer.parts)

    @cached_property
    def size_bytes(self) -> int:
        """Bytes moved per tile: inputs and outputs."""
        return sum(each.size_bytes for each in (*self.inputs, *self.outputs))

    def split_outputs(self, packed: Bytes) -> tuple[Bytes, ...]:
        """Views of (tiles, output.size_bytes) uint8 by output buffer: (tiles, size_bytes)."""
        views, offset = [], 0
        for buffer in self.outputs:
            views.append(packed[:, offset : offset + buffer.size_bytes])
            offset += buffer.size_bytes
        return tuple(views)

    def compute(self, *inputs: Bytes) -> Bytes:
        """Apply the reference to packed bytes.

        Takes (tiles, size_bytes) uint8 per input buffer, and returns the same of `output`.
        ValueError if the reference returns another number of arrays or tiles; RequestError without
        a reference.
        """
        arrays: list[Array] = []
        for buffer, packed in zip(self.inputs, inputs, strict=True):
            arrays += buffer.unpack(packed)
        outputs, tiles = self.apply(*arrays), len(inputs[0])
        for output in outputs:
            if len(output) != tiles:
                raise ValueError(f"{len(output)} outputs of {tiles} tiles")
        return self.output.pack(*outputs)

    def apply(self, *arrays: Array) -> tuple[Array, ...]:
        """Apply the reference to one array per input part; one array per output part.

        RequestError without a reference.
        """
        if self.reference is None:
            raise RequestError(f"kernel {self.name}: has no reference")
        scalars = {each.name: each.value for each in self.scalars.values()}
        returned = self.reference(*arrays, **scalars)
        return returned if isinstance(returned, tuple) else (returned,)
