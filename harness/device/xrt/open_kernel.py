"""Opens the xclbin of a kernel and checks that it is what the spec says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.device.xrt.pyxrt_api import Xclbin
from harness.errors import RequestError
from harness.kernel import FIRST_DATA_ARGUMENT, Bytes, KernelSpec

if TYPE_CHECKING:
    from harness.device.xrt.backend import XrtBackend

USUAL_NAME = "MLIR_AIE"
"""What mlir-aie names a kernel unless told otherwise."""


def kernel_of(xclbin: Xclbin, path: str, spec: KernelSpec) -> str:
    """Name of the one kernel of an open xclbin that is `spec`: named as it, or MLIR_AIE (and what follows).

    RequestError if there is none, more than one, or one that takes fewer bos than the spec.
    """
    kernels = {
        str(kernel.get_name()): kernel.get_num_args() - FIRST_DATA_ARGUMENT
        for kernel in xclbin.get_kernels()
    }
    fitting = (
        [spec.name]
        if spec.name in kernels
        else [name for name in kernels if name.startswith(USUAL_NAME)]
    )
    if len(fitting) != 1:
        raise RequestError(
            f"{path}: holds {', '.join(kernels) or 'no kernel'}; needs one kernel named {spec.name} or {USUAL_NAME}; "
            f"build it so, or give another file with device.xclbin.{spec.name}=<path>"
        )
    (name,) = fitting
    needed = len(spec.inputs) + 1
    if kernels[name] < needed:
        raise RequestError(
            f"{path}: its kernel {name} declares {kernels[name]} buffer arguments; {spec.name} takes {needed}; "
            f"build it for this spec, or give another file with device.xclbin.{spec.name}=<path>"
        )
    return name


@dataclass(frozen=True)
class OpenKernel:
    """An open xclbin, the name of the kernel in it, its instructions, and the columns that it takes."""

    xclbin: Xclbin
    name: str
    instructions: Bytes
    width: int


def open_kernel(backend: XrtBackend, spec: KernelSpec, columns: int) -> OpenKernel:
    """The files of `spec`, opened once per backend, fit to run on so many columns.

    RequestError where they are not the spec's, or the xclbin takes more columns than there are.
    """
    if spec.name not in backend.opened:
        path, instructions = backend.find_files(spec)
        try:
            xclbin = backend.pyxrt.xclbin(path)
        except (RuntimeError, MemoryError) as error:  # MemoryError for a folder
            raise RequestError(
                f"{path}: XRT reads no xclbin from it ({error}); build it, or give another with "
                f"device.xclbin.{spec.name}=<path>"
            ) from error
        name = kernel_of(xclbin, path, spec)
        width = backend.columns_of(path)
        backend.opened[spec.name] = OpenKernel(xclbin, name, instructions, width)
    kernel, available = backend.opened[spec.name], backend.capabilities.columns
    if columns * kernel.width > available:
        raise RequestError(
            f"strategy.columns={columns}: the xclbin of {spec.name} is {kernel.width} columns wide "
            f"and the device has {available}; contexts would share columns: "
            f"use 1 to {available // kernel.width or 'a narrower build'}"
        )
    return kernel
