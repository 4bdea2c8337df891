"""Opens the xclbin of a kernel and checks that it fits the kernel's spec."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.device.xrt.pyxrt_api import Xclbin
from harness.errors import RequestError
from harness.kernel import Bytes, KernelSpec

if TYPE_CHECKING:
    from harness.device.xrt.backend import XrtBackend

USUAL_NAME = "MLIR_AIE"
"""mlir-aie's default name of a kernel."""


def kernel_of(xclbin: Xclbin, path: str, spec: KernelSpec) -> str:
    """Name of the kernel in an open xclbin that implements `spec`.

    That is the kernel that the declaration names, else the one with the spec's name, else the only
    one whose name begins with MLIR_AIE. RequestError if there is none, more than one, or one with
    fewer arguments than the spec sets.
    """
    declared = {}
    for kernel in xclbin.get_kernels():
        # With a bo behind those that the xclbin declares, XRT reads beyond an array and crashes
        # (validate_bo_at_index).
        declared[str(kernel.get_name())] = kernel.get_num_args()
    matches = [name for name in declared if name.startswith(USUAL_NAME)]
    if spec.name in declared:
        matches = [spec.name]
    wanted = f"{spec.name} or {USUAL_NAME}"
    if spec.files.kernel:
        wanted = spec.files.kernel
        matches = [name for name in declared if name == wanted]
    if len(matches) != 1:
        raise RequestError(
            f"{path}: contains {', '.join(declared) or 'no kernel'}; "
            f"needs one kernel named {wanted}; "
            f"rebuild it, or give another file with device.xclbin.{spec.name}=<path>"
        )
    (name,) = matches
    if declared[name] < spec.used_arguments:
        raise RequestError(
            f"{path}: its kernel {name} declares {declared[name]} arguments; "
            f"{spec.name} takes {spec.used_arguments}, with opcode, instructions and their size; "
            "build it for this spec, "
            f"or give another file with device.xclbin.{spec.name}=<path>"
        )
    return name


def check_columns(path: str, columns: int, available: int) -> None:
    """RequestError if an xclbin is wider than the device; XRT reports it as No such device."""
    if columns > available:
        raise RequestError(
            f"{path}: wants {columns} columns, and the device has {available} (device.columns); "
            "build it for fewer columns, or use a device that has them"
        )


@dataclass(frozen=True)
class OpenKernel:
    """An open xclbin: the kernel's name in it, its instructions, and the columns it occupies."""

    xclbin: Xclbin
    name: str
    instructions: Bytes
    columns: int


def open_kernel(backend: XrtBackend, spec: KernelSpec, columns: int) -> OpenKernel:
    """Open the files of `spec`, once per backend, and check that they can run on `columns`.

    RequestError if the files do not fit the spec, or the contexts would need more columns than
    the device has.
    """
    if spec.name not in backend.opened:
        path, instructions = backend.find_files(spec)
        occupied = backend.columns_of(path)
        check_columns(path, occupied, backend.capabilities.columns)
        try:
            xclbin = backend.pyxrt.xclbin(path)
        # For a folder, XRT raises std::bad_alloc, which is MemoryError.
        except (RuntimeError, MemoryError) as error:
            raise RequestError(
                f"{path}: XRT cannot read an xclbin from it ({error}); "
                f"rebuild it, or give another file with device.xclbin.{spec.name}=<path>"
            ) from error
        name = kernel_of(xclbin, path, spec)
        backend.opened[spec.name] = OpenKernel(xclbin, name, instructions, occupied)
    kernel, available = backend.opened[spec.name], backend.capabilities.columns
    # amdxdna would let contexts of equal width share columns in turn; the columns would not add up.
    if columns * kernel.columns > available:
        raise RequestError(
            f"strategy.columns={columns}: the xclbin of {spec.name} is {kernel.columns} columns "
            f"wide and the device has {available}; contexts would share columns: "
            f"use 1 to {available // kernel.columns}"
        )
    return kernel
