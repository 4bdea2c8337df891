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
Int8 = NDArray[np.int8]


FIRST_DATA_ARGUMENT = 3
"""Arguments 0 to 2 of every kernel are an opcode, a bo of instructions and its size."""
LINE_BYTES = 64
"""Tiles of a batch start on cache lines, so that syncing one never touches another."""


@dataclass(frozen=True)
class Part:
    """One array inside a buffer: C order, no padding. constant: the same for every tile of a workload (weights)."""

    name: str
    shape: tuple[int, ...]
    dtype: str = "int8"
    constant: bool = False

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

    @property
    def varying_bytes(self) -> int:
        """Bytes at the beginning that differ between tiles; constants follow. RequestError where they are mixed."""
        constant = [part.constant for part in self.parts]
        if constant != sorted(constant):
            raise RequestError(
                f"{self.name}: a constant stands before what varies; put constants last"
            )
        return sum(part.size_bytes for part in self.parts if not part.constant)

    def pack(self, *arrays: Array) -> Bytes:
        """Arrays (tiles, *part.shape), one per part, as (tiles, size_bytes) uint8; RequestError if they don't fit."""
        if len(arrays) != len(self.parts):
            names = ", ".join(part.name for part in self.parts)
            raise RequestError(
                f"{self.name}: given {len(arrays)} arrays, takes {len(self.parts)}: {names}"
            )
        columns = []
        for part, array in zip(self.parts, arrays, strict=True):
            if not array.ndim or array.shape[1:] != part.shape or array.dtype != part.dtype:
                raise RequestError(
                    f"{self.name}.{part.name}: given {array.dtype}{list(array.shape[1:])}, "
                    f"takes {part.dtype}{list(part.shape)} per tile"
                )
            if len(array) != len(arrays[0]):
                raise RequestError(
                    f"{self.name}.{part.name}: given {len(array)} tiles, "
                    f"takes as many as of {self.parts[0].name}: {len(arrays[0])}"
                )
            columns.append(
                np.ascontiguousarray(array).view(np.uint8).reshape(len(array), part.size_bytes)
            )
        return np.concatenate(columns, axis=1)

    def unpack(self, packed: Bytes) -> tuple[Array, ...]:
        """The inverse of `pack`: (tiles, size_bytes) uint8 as one array (tiles, *part.shape) per part."""
        if packed.ndim != 2 or packed.shape[1] != self.size_bytes or packed.dtype != np.uint8:
            raise RequestError(
                f"{self.name}: given {packed.dtype}{list(packed.shape)}, takes uint8[tiles, {self.size_bytes}]"
            )
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
    def parts(self) -> tuple[Part, ...]:
        """The parts of all inputs, in order."""
        return tuple(part for buffer in self.inputs for part in buffer.parts)

    @property
    def size_bytes(self) -> int:
        """Bytes moved per tile, inputs and output."""
        return self.output.size_bytes + sum(buffer.size_bytes for buffer in self.inputs)

    def compute(self, *inputs: Bytes) -> Bytes:
        """The reference on packed bytes: one (tiles, size_bytes) uint8 per input buffer -> the output's."""
        arrays = [
            array
            for buffer, packed in zip(self.inputs, inputs, strict=True)
            for array in buffer.unpack(packed)
        ]
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


def kernel_names(root: Path | None = None) -> tuple[str, ...]:
    """Kernels of the folders in `root`, variants included; of a folder that cannot be loaded only its own."""
    found: list[str] = []
    for path in sorted((root or kernels_root()).glob("*/spec.py")):
        try:
            found += _load_folder(path, path.parent.name)
        except RequestError:
            found.append(path.parent.name)
    return tuple(found)


@cache
def load_kernel(name: str, root: Path | None = None) -> KernelSpec:
    """The kernel `name` of the folders in `root`: a folder's `SPEC`, or one of its `VARIANTS`, `<folder>_<suffix>`.

    RequestError where there is none that can be loaded.
    """
    root = root or kernels_root()
    known = [path.parent.name for path in root.glob("*/spec.py")]
    owners = [folder for folder in known if f"{name}_".startswith(f"{folder}_")]
    if not owners:
        path = root / name / "spec.py"
        raise RequestError(
            f"kernel {name}: no {path}; {nearest(name, known)}; add a folder with a spec.py"
        )
    folder = max(owners, key=len)
    specs = _load_folder(root / folder / "spec.py", name)
    if name not in specs:
        raise RequestError(f"kernel {name}: no such variant of {folder}; {nearest(name, specs)}")
    return specs[name]


def _load_folder(path: Path, name: str) -> dict[str, KernelSpec]:
    """The kernels that a `spec.py` defines, by name; `name` is the one asked for."""
    try:
        defined = runpy.run_path(str(path))
    except (Exception, SystemExit) as error:
        raise RequestError(
            f"kernel {name}: {path} cannot be loaded ({type(error).__name__}: {error})"
        ) from error
    spec, variants, folder = defined.get("SPEC"), defined.get("VARIANTS", ()), path.parent.name
    if not isinstance(spec, KernelSpec):
        raise RequestError(
            f"kernel {name}: {path} defines no SPEC that is a harness.kernel.KernelSpec"
        )
    if spec.name != folder:
        raise RequestError(
            f"kernel {name}: the SPEC of {path} is named {spec.name}; name it as its folder"
        )
    if not isinstance(variants, tuple) or not all(
        isinstance(each, KernelSpec) for each in variants
    ):
        raise RequestError(
            f"kernel {name}: the VARIANTS of {path} are no tuple of harness.kernel.KernelSpec"
        )
    for each in variants:
        if not each.name.startswith(f"{folder}_"):
            raise RequestError(
                f"kernel {name}: a variant of {path} is named {each.name}; name it {folder}_<suffix>"
            )
    return {each.name: each for each in (spec, *variants)}
