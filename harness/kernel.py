"""`KernelSpec` declares the buffers and arithmetic of a device program; `load_kernel` finds one.

Every kernel has a folder with a `spec.py`. Its `SPEC` is the kernel, and `VARIANTS` are kernels
that differ from it only in their sizes.
"""

from __future__ import annotations

import runpy
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import RequestError, nearest, nearest_key

Bytes = NDArray[np.uint8]
Array = NDArray[Any]
Int8 = NDArray[np.int8]


FIRST_DATA_ARGUMENT = 3
"""Index of the first data bo: arguments 0 to 2 are the opcode, the instruction bo and its size."""
LINE_BYTES = 64
"""Bytes of a cache line. Each tile of a batch starts on one, so no sync touches a neighbour."""


@dataclass(frozen=True)
class Part:
    """One array inside a buffer, in C order and without padding.

    constant: the array is the same for every tile of a workload, as weights are.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str = "int8"
    constant: bool = False

    @cached_property
    def size_bytes(self) -> int:
        """Size of the array in bytes."""
        return prod(self.shape) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True)
class Buffer:
    """One bo argument of a kernel. Its parts follow each other without gaps."""

    name: str
    parts: tuple[Part, ...]

    @cached_property
    def size_bytes(self) -> int:
        """Size of one tile's data in bytes."""
        return sum(part.size_bytes for part in self.parts)

    @cached_property
    def stride_bytes(self) -> int:
        """Distance between two tiles of a batch: `size_bytes` rounded up to cache lines."""
        return -(-self.size_bytes // LINE_BYTES) * LINE_BYTES

    @cached_property
    def varying_bytes(self) -> int:
        """Bytes at the start that differ between tiles; the constant parts follow them.

        RequestError if a constant part comes before a varying one.
        """
        constant = [part.constant for part in self.parts]
        if constant != sorted(constant):
            raise RequestError(
                f"{self.name}: a constant part comes before a varying one; put constants last"
            )
        return sum(part.size_bytes for part in self.parts if not part.constant)

    def pack(self, *arrays: Array) -> Bytes:
        """Join one array per part, (tiles, *part.shape), into bytes: (tiles, size_bytes) uint8.

        RequestError if the number of arrays, a shape, a dtype or a number of tiles is wrong.
        """
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
                    f"takes as many as {self.parts[0].name}: {len(arrays[0])}"
                )
            columns.append(
                # A view as bytes needs contiguous rows; slices and transposed arrays have none.
                np.ascontiguousarray(array).view(np.uint8).reshape(len(array), part.size_bytes)
            )
        return np.concatenate(columns, axis=1)

    def unpack(self, packed: Bytes) -> tuple[Array, ...]:
        """Split (tiles, size_bytes) uint8 into one array (tiles, *part.shape) per part.

        The inverse of `pack`. RequestError for another shape or dtype.
        """
        if packed.ndim != 2 or packed.shape[1] != self.size_bytes or packed.dtype != np.uint8:
            raise RequestError(
                f"{self.name}: given {packed.dtype}{list(packed.shape)}, "
                f"takes uint8[tiles, {self.size_bytes}]"
            )
        arrays, offset = [], 0
        for part in self.parts:
            raw = np.ascontiguousarray(packed[:, offset : offset + part.size_bytes])
            arrays.append(raw.view(part.dtype).reshape(len(packed), *part.shape))
            offset += part.size_bytes
        return tuple(arrays)


@dataclass(frozen=True)
class KernelSpec:
    """One kernel: its name, its buffers in argument order, its exact arithmetic and its work.

    reference: takes one array (tiles, *shape) per input part, in order, and returns the array
    (tiles, *shape) of the output part. The device must give the same bits.
    ops: arithmetic operations per tile; a multiply-accumulate counts as two.

        left, right, total = (Part(name, (64, 64)) for name in ("left", "right", "sum"))
        SPEC = KernelSpec(
            "add", inputs=(Buffer("operands", (left, right)),), output=Buffer("sum", (total,)),
            reference=lambda left, right: left + right, ops=64 * 64)
    """

    name: str
    inputs: tuple[Buffer, ...]
    output: Buffer
    reference: Callable[..., Array]
    ops: int

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """The parts of all input buffers, in order."""
        return tuple(part for buffer in self.inputs for part in buffer.parts)

    @cached_property
    def size_bytes(self) -> int:
        """Bytes moved per tile: inputs and output."""
        return self.output.size_bytes + sum(buffer.size_bytes for buffer in self.inputs)

    def compute(self, *inputs: Bytes) -> Bytes:
        """Apply the reference to packed bytes.

        Takes (tiles, size_bytes) uint8 per input buffer, and returns the same of the output buffer.
        ValueError if the reference returns another number of tiles.
        """
        arrays: list[Array] = []
        for buffer, packed in zip(self.inputs, inputs, strict=True):
            arrays += buffer.unpack(packed)
        tiles = len(inputs[0])
        output = self.reference(*arrays)
        if len(output) != tiles:
            raise ValueError(f"{len(output)} outputs of {tiles} tiles")
        return self.output.pack(output)


def kernels_root() -> Path:
    """The folder of kernel folders: beside the package in a source tree, inside it in a wheel."""
    package = Path(__file__).parent
    inside = package / "kernels"
    return inside if inside.is_dir() else package.parent / "kernels"


def kernel_names(root: Path | None = None) -> tuple[str, ...]:
    """Names of all kernels in the folders of `root`, variants included.

    A folder whose `spec.py` cannot be loaded contributes its own name only.
    """
    names: list[str] = []
    for path in sorted((root or kernels_root()).glob("*/spec.py")):
        try:
            names += _load_folder(path, path.parent.name)
        except RequestError:
            names.append(path.parent.name)
    return tuple(names)


def check_kernel(name: str, override: str) -> None:
    """Raise RequestError about `override` unless a kernel or a variant is named `name`."""
    root = kernels_root()
    folder = _folder_of(name, root)
    known = folder == name
    if folder and not known:
        try:
            known = name in _load_folder(root / folder / "spec.py", name)
        except RequestError:
            # A run of the kernel reports a wrong file; other runs do not need it.
            known = True
    if not known:
        raise RequestError(f"{override}: no such kernel; {nearest_key(override, kernel_names())}")


@cache
def load_kernel(name: str, root: Path | None = None) -> KernelSpec:
    """Load kernel `name` from a folder of `root`: its `SPEC`, or the variant `<folder>_<suffix>`.

    RequestError if no folder defines the name, or its `spec.py` cannot be loaded.

        spec = load_kernel("matmul_64")  # a variant in kernels/matmul/spec.py
        outputs = spec.reference(a, b)  # (tiles, 64, 64) int8 each
    """
    root = root or kernels_root()
    folder = _folder_of(name, root)
    if not folder:
        raise RequestError(
            f"kernel {name}: no such kernel; {nearest(name, kernel_names(root))}; a new one is a "
            "folder of that name with a spec.py"
        )
    specs = _load_folder(root / folder / "spec.py", name)
    if name not in specs:
        raise RequestError(f"kernel {name}: no such variant of {folder}; {nearest(name, specs)}")
    return specs[name]


def kernel_source(name: str, root: Path | None = None) -> Path | None:
    """The C++ of kernel `name`: `<folder>/<folder>.cc`, which defines the function `name`.

    None if the kernel has none.
    """
    root = root or kernels_root()
    folder = _folder_of(name, root)
    path = root / folder / f"{folder}.cc"
    return path if folder and path.is_file() else None


def _folders(root: Path) -> list[str]:
    return [path.parent.name for path in root.glob("*/spec.py")]


def _folder_of(name: str, root: Path) -> str:
    """The folder that defines a kernel or variant of this name; empty if there is none."""
    owners = [folder for folder in _folders(root) if f"{name}_".startswith(f"{folder}_")]
    # The longest name decides: `matmul_gelu` is a folder of its own, and no variant of `matmul`.
    return max(owners, key=len, default="")


def _load_folder(path: Path, name: str) -> dict[str, KernelSpec]:
    """Run a `spec.py` and return its kernels by name; error messages start with `name`."""
    try:
        # Run as a file, so that a folder of kernels need not be a Python package.
        namespace = runpy.run_path(str(path))
    # A spec.py may raise anything, and a call of sys.exit in it must not end the harness.
    except (Exception, SystemExit) as error:
        raise RequestError(
            f"kernel {name}: {path} cannot be loaded ({type(error).__name__}: {error})"
        ) from error
    spec, variants, folder = namespace.get("SPEC"), namespace.get("VARIANTS", ()), path.parent.name
    if not isinstance(spec, KernelSpec):
        raise RequestError(
            f"kernel {name}: {path} defines no SPEC that is a harness.kernel.KernelSpec"
        )
    if spec.name != folder:
        raise RequestError(
            f"kernel {name}: the SPEC of {path} is named {spec.name}; name it {folder}, "
            "as its folder"
        )
    if not isinstance(variants, tuple) or not all(
        isinstance(each, KernelSpec) for each in variants
    ):
        raise RequestError(
            f"kernel {name}: VARIANTS of {path} is not a tuple of harness.kernel.KernelSpec"
        )
    for each in variants:
        if not each.name.startswith(f"{folder}_"):
            raise RequestError(
                f"kernel {name}: a variant of {path} is named {each.name}; "
                f"name it {folder}_<suffix>"
            )
    return {each.name: each for each in (spec, *variants)}
