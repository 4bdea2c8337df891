"""Kernels: what a device program takes and gives, what it computes, and where it is declared.

In: a name, or the arguments of a program in Python. Out: a `KernelSpec`, which every other package
uses: arguments, arrays to bytes and back, reference, tolerance, work and cost.
"""

from harness.kernel.arguments import LINE_BYTES, Argument, Buffer, Direction, Part, Scalar, Unused
from harness.kernel.cost import Cost, FixedCost, GemmCost, RooflineCost, cost_of
from harness.kernel.dtypes import DTYPES, Array, Bytes, Int8
from harness.kernel.find import (
    Declaration,
    check_kernel,
    declarations,
    hidden_by,
    kernel_hash,
    kernel_names,
    kernel_source,
    load_kernel,
)
from harness.kernel.folders import kernels_root
from harness.kernel.spec import FIRST_DATA_ARGUMENT, CompiledFiles, KernelSpec
from harness.kernel.tolerance import EXACT, Tolerance, tolerance_of

__all__ = [
    "DTYPES",
    "EXACT",
    "FIRST_DATA_ARGUMENT",
    "LINE_BYTES",
    "Argument",
    "Array",
    "Buffer",
    "Bytes",
    "CompiledFiles",
    "Cost",
    "Declaration",
    "Direction",
    "FixedCost",
    "GemmCost",
    "Int8",
    "KernelSpec",
    "Part",
    "RooflineCost",
    "Scalar",
    "Tolerance",
    "Unused",
    "check_kernel",
    "cost_of",
    "declarations",
    "hidden_by",
    "kernel_hash",
    "kernel_names",
    "kernel_source",
    "kernels_root",
    "load_kernel",
    "tolerance_of",
]
