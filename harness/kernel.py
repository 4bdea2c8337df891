"""What a device program takes and gives: `KernelSpec`, and the folders that specs are loaded from."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import RequestError, nearest

Bytes = NDArray[np.uint8]
Array = NDArray[Any]


LINE_BYTES = 64
"""Tiles of a batch start on cache lines, so that syncing one never touches another."""


@dataclass(frozen=True)
class Part:
    """One array inside a buffer: C order, no padding."""

    name: str
    shape: tuple[int, ...]
    dtype: str = "int8"

    @property
    def size_bytes(self) -> int:
        """Bytes of the array."""
        return prod(self.shape) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True)
class Buffer:
    """One bo argument of a kernel: its parts, one after the other."""

    name: str
    parts: tuple[Part, ...]

    @property
    def size_bytes(self) -> int:
        """Bytes of one tile's data in this buffer."""
        return sum(part.size_bytes for part in self.parts)

    @property
    def stride_bytes(self) -> int:
        """Bytes from one tile of a batch to the next: whole cache lines."""
        return -(-self.size_bytes // LINE_BYTES) * LINE_BYTES

    def pack(self, *arrays: Array) -> Bytes:
        """Arrays (tiles, *part.shape), one per part, as (tiles, size_bytes) uint8; ValueError if they don't fit."""
        columns = []
        for part, array in zip(self.parts, arrays, strict=True):
            if array.shape[1:] != part.shape or array.dtype != part.dtype:
                raise ValueError(
                    f"{self.name}.{part.name}: given {array.dtype}{list(array.shape[1:])}, "
                    f"takes {part.dtype}{list(part.shape)} per tile"
                )
            columns.append(np.ascontiguousarray(array).view(np.uint8).reshape(len(array), part.size_bytes))
        return np.concatenate(columns, axis=1)

    def unpack(self, packed: Bytes) -> tuple[Array, ...]:
        """The inverse of `pack`: (tiles, size_bytes) uint8 as one array (tiles, *part.shape) per part."""
        arrays, offset = [], 0
        for part in self.parts:
            raw = np.ascontiguousarray(packed[:, offset : offset + part.size_bytes])
            arrays.append(raw.view(part.dtype).reshape(len(packed), *part.shape))
            offset += part.size_bytes
        return tuple(arrays)


@dataclass(frozen=True)
class KernelSpec:
    """One kernel: its buffers in argument order, its arithmetic, its cost.

    reference: arrays (tiles, *shape) of every input part in order -> array (tiles, *shape) of the one output
    part; the exact arithmetic, bit for bit. `ops` counts arithmetic operations per tile (a multiply-accumulate
    is two). `accuracy` is the measured error against float arithmetic, in words.
    """

    name: str
    inputs: tuple[Buffer, ...]
    output: Buffer
    reference: Callable[..., Array]
    ops: int
    accuracy: str

    @property
    def size_bytes(self) -> int:
        """Bytes moved per tile, inputs and output."""
        return self.output.size_bytes + sum(buffer.size_bytes for buffer in self.inputs)

    def compute(self, *inputs: Bytes) -> Bytes:
        """The reference on packed bytes: one (tiles, size_bytes) uint8 per input buffer -> the output's."""
        arrays = [array for buffer, packed in zip(self.inputs, inputs, strict=True) for array in buffer.unpack(packed)]
        (packed,) = inputs[:1]
        output = self.reference(*arrays)
        if len(output) != len(packed):
            raise ValueError(f"{len(output)} outputs of {len(packed)} tiles")
        return self.output.pack(output)


def kernels_root() -> Path:
    """The folder of kernel folders: beside the package in a source tree, inside it in a wheel."""
    package = Path(__file__).parent
    inside = package / "kernels"
    return inside if inside.is_dir() else package.parent / "kernels"


@cache
def load_kernel(name: str, root: Path | None = None) -> KernelSpec:
    """The `SPEC` of `<root>/<name>/spec.py`; RequestError where there is none that can be loaded."""
    root = root or kernels_root()
    path = root / name / "spec.py"
    if not path.is_file():
        known = [spec.parent.name for spec in root.glob("*/spec.py")]
        raise RequestError(f"kernel {name}: no {path}; {nearest(name, known)}; add a folder with a spec.py")
    try:
        spec = runpy.run_path(str(path)).get("SPEC")
    except (Exception, SystemExit) as error:
        raise RequestError(f"kernel {name}: {path} cannot be loaded ({type(error).__name__}: {error})") from error
    if not isinstance(spec, KernelSpec):
        raise RequestError(f"kernel {name}: {path} defines no SPEC that is a harness.kernel.KernelSpec")
    if spec.name != name:
        raise RequestError(f"kernel {name}: the SPEC of {path} is named {spec.name}; name it as its folder")
    return spec
