"""The NPU design of any kernel of these folders: one core, a tile per run, as MLIR on stdout.

    python design.py matmul_64 > build/matmul_64.mlir

The core's memory holds each buffer once: a run has one tile, so no other comes in meanwhile. The
design calls the function `<kernel>` of `build/<kernel>.o`. The API is IRON of mlir-aie 1.4;
README.md says what was checked.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from aie.iron import Kernel, ObjectFifo, Program, Runtime, Worker
from aie.iron.device import NPU1Col1

from harness.kernel import Buffer, KernelSpec, load_kernel

STACK_BYTES = 2048
"""Of the core; attention has two int32 arrays of 64 on it, and the default is 1024."""


def design(spec: KernelSpec) -> Any:
    """The MLIR module of a kernel that takes one buffer."""
    (operands,) = spec.inputs
    tile, out = _bytes(operands), _bytes(spec.output)
    of_tile, of_out = ObjectFifo(tile, name="tile", depth=1), ObjectFifo(out, name="out", depth=1)
    function = Kernel(spec.name, f"{spec.name}.o", [tile, out])

    def core(tiles: Any, outs: Any, function: Any) -> None:
        tile_in, tile_out = tiles.acquire(1), outs.acquire(1)
        function(tile_in, tile_out)
        tiles.release(1)
        outs.release(1)

    def sequence(tile_bo: Any, out_bo: Any, to_core: Any, from_core: Any) -> None:
        to_core.fill(tile_bo)
        from_core.drain(out_bo, wait=True)

    worker = Worker(core, fn_args=[of_tile.cons(), of_out.prod(), function], stack_size=STACK_BYTES)
    runtime = Runtime(sequence, [tile, out, of_tile.prod(), of_out.cons()])
    return Program(NPU1Col1(), runtime, workers=[worker]).resolve_program()


def _bytes(buffer: Buffer) -> Any:
    return np.ndarray[(buffer.size_bytes,), np.dtype[np.int8]]


if __name__ == "__main__":
    print(design(load_kernel(sys.argv[1])))
