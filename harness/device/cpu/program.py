"""What a column executes: the compiled C++ of a kernel, or its numpy reference."""

from __future__ import annotations

import ctypes
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from harness.device.clock import host_now_ns
from harness.device.cpu.compiler import RUN
from harness.errors import RequestError
from harness.kernel import Bytes, KernelSpec

Stamps = NDArray[np.int64]
"""Begin and end of the execution of each tile, (tiles, 2), on the host's clock."""
Execute = Callable[[int], None]
"""execute(bell): computes the output, and writes the stamps. bell: an eventfd, or NO_BELL.

It writes to the bell first of all, after it has released the GIL if it does: the host, which waits
for the bell, then works while the kernel computes.
"""
NO_BELL = -1


class Program(Protocol):
    """A kernel for one column.

    execute = program.bind([operands, out], stamps)  # (tiles, stride_bytes) uint8 each
    execute(NO_BELL)
    """

    def bind(self, buffers: Sequence[Bytes], stamps: Stamps) -> Execute:
        """A function that computes the outputs among `buffers` and writes `stamps`.

        buffers: one for each of `spec.buffers`.
        """

    def close(self) -> None:
        """End the use by this column."""


@dataclass(frozen=True)
class ReferenceProgram:
    """A kernel without C++: its numpy reference, a tile at a time. It holds the GIL."""

    spec: KernelSpec

    def bind(self, buffers: Sequence[Bytes], stamps: Stamps) -> Execute:
        """A function that computes all tiles; it raises what the reference raises."""
        spec, inputs, outputs = self.spec, list[Bytes](), list[Bytes]()
        for device, buffer in zip(buffers, spec.buffers, strict=True):
            data = device[:, : buffer.size_bytes]
            if buffer.is_input:
                # A reference that changes its inputs would change constants that stay here.
                inputs.append(data.view())
                inputs[-1].flags.writeable = False
            if buffer.is_output:
                outputs.append(data)

        def execute(bell: int) -> None:
            if bell != NO_BELL:
                os.eventfd_write(bell, 1)
            for tile in range(len(stamps)):
                stamps[tile, 0] = host_now_ns()
                packed = spec.compute(*(each[tile : tile + 1] for each in inputs))
                for output, part in zip(outputs, spec.split_outputs(packed), strict=True):
                    output[tile : tile + 1] = part
                stamps[tile, 1] = host_now_ns()

        return execute

    def close(self) -> None:
        """Nothing to end."""


class NativeProgram:
    """The compiled C++ of a kernel, in memory of its own. It releases the GIL.

    Each column loads a copy of the library: a kernel may have static variables, which on an NPU
    are in the memory of its core.
    """

    _unused: dict[Path, list[Any]] = {}  # noqa: RUF012 - of the process, which never unloads them

    def __init__(self, library: Path, spec: KernelSpec) -> None:
        self._library = library
        self._spec = spec
        unused = self._unused.setdefault(library, [])
        self._run = unused.pop() if unused else _load(library)

    def bind(self, buffers: Sequence[Bytes], stamps: Stamps) -> Execute:
        """A function that computes all tiles with one call of the library."""
        run, tiles = self._run, len(stamps)
        bound = dict(zip(self._spec.indices, buffers, strict=True))
        numbers = {index: each.value for index, each in self._spec.scalars.items()}
        used = sorted([*bound, *numbers])
        # A scalar's stride is 0: every tile gets the same value.
        values = [bound[i].ctypes.data if i in bound else numbers[i] for i in used]
        steps = [bound[i].strides[0] if i in bound else 0 for i in used]
        arguments, strides = np.array(values, np.int64), np.array(steps, np.int64)
        pointers = [ctypes.c_void_p(each.ctypes.data) for each in (arguments, strides, stamps)]
        # The library sees addresses only: the arrays must live as long as the function.
        owners = (arguments, strides, stamps, *buffers)

        def execute(bell: int, _: object = owners) -> None:
            run(pointers[0], pointers[1], tiles, pointers[2], bell)

        return execute

    def close(self) -> None:
        """Let another column use this copy. The column must not execute any more."""
        self._unused[self._library].append(self._run)


def _load(library: Path) -> Any:
    """The function of a new copy of a library: of one file, a process has one copy only."""
    try:
        with tempfile.NamedTemporaryFile(dir=library.parent, suffix=".so") as copy:
            shutil.copyfile(library, copy.name)
            run = getattr(ctypes.CDLL(copy.name), RUN)
    except OSError as error:
        raise RequestError(
            f"{library}: cannot be loaded ({error}); delete it to compile it again, or name a "
            "folder of your own with XDG_CACHE_HOME=<folder>"
        ) from error
    pointer = ctypes.c_void_p
    run.argtypes = (pointer, pointer, ctypes.c_int64, pointer, ctypes.c_int)
    run.restype = None
    return run
