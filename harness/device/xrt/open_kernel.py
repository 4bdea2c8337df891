"""The image of a kernel: its xclbin, opened and found to be what the spec says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from harness.device.open import World
from harness.errors import RequestError
from harness.kernel import FIRST_DATA_ARGUMENT as FIRST_DATA_ARGUMENT
from harness.kernel import Bytes, KernelSpec

USUAL_NAME = "MLIR_AIE"
"""What mlir-aie names a kernel unless told otherwise."""


def kernel_of(xclbin: Any, path: str, spec: KernelSpec) -> str:
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
    """An open xclbin, the name of the kernel in it, and its instructions."""

    xclbin: Any
    name: str
    instructions: Bytes


def open_kernel(world: World, spec: KernelSpec, columns: int) -> OpenKernel:
    """The files of `spec`, opened once a world, fit to run on so many columns.

    RequestError where they are not the spec's, or the xclbin takes more columns than there are.
    """
    if spec.name not in world.opened:
        path, instructions = world.image(spec)
        try:
            xclbin = world.pyxrt.xclbin(path)
        except (RuntimeError, MemoryError) as error:  # MemoryError for a folder
            raise RequestError(
                f"{path}: XRT reads no xclbin from it ({error}); build it, or give another with "
                f"device.xclbin.{spec.name}=<path>"
            ) from error
        world.opened[spec.name] = OpenKernel(xclbin, kernel_of(xclbin, path, spec), instructions)
        world.widths[spec.name] = world.width(path)
    width = world.widths[spec.name]
    if columns * width > world.columns:
        raise RequestError(
            f"strategy.columns={columns}: the xclbin of {spec.name} is {width} columns wide and the device has "
            f"{world.columns}; contexts would share columns: use 1 to {world.columns // width or 'a narrower build'}"
        )
    return cast(OpenKernel, world.opened[spec.name])
