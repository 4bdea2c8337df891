"""Decides what the simulator executes for each kernel of an xclbin: its time and arithmetic."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fnmatch import fnmatch
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from harness import xclbin as axlf
from harness.config.execution_time import exec_ns_of, moved_bytes, own_columns
from harness.kernel import Buffer, KernelSpec, Scalar, load_kernel
from harness.sim.arithmetic import Arithmetic

if TYPE_CHECKING:
    from harness.sim.machine import Machine

DATA_BANK, INSTRUCTION_BANK, NO_BANK = 0, 1, axlf.NO_BANK
"""HOST memory, SRAM (mlir-aie's memory topology), and the group_id of a scalar."""
MOST_SCALARS = 8
"""Sets of values of scalars whose outputs are stored; a script may change one at each launch."""
ANY_BOS = 5
"""Bos of a kernel whose file does not list its arguments, as mlir-aie's own xclbins declare."""


@dataclass(frozen=True)
class KernelModel:
    """The simulator's model of one kernel of an xclbin.

    spec: its arithmetic, None if unknown. computes: if False, the kernel takes its time and does
    not change memory. banks: memory bank of each argument. columns: number that it occupies.
    any_name: whether `pyxrt.kernel` accepts any name for it, because the file gives none.
    """

    name: str
    exec_ns: int
    banks: tuple[int, ...]
    spec: KernelSpec | None = None
    computes: bool = True
    columns: int = 1
    any_name: bool = False

    @cached_property
    def moved_bytes(self) -> int:
        """Bytes of an execution in the direction in which it moves more; 0 without a spec.

        On all of `columns`; those of a cost for more columns are left out.
        """
        if self.spec is None:
            return 0
        return moved_bytes(self.spec) * min(own_columns(self.spec), self.columns)

    @cached_property
    def buffers(self) -> dict[int, Buffer]:
        """The buffers that the spec declares, by index of the argument."""
        return dict(zip(self.spec.indices, self.spec.buffers, strict=True)) if self.spec else {}

    @cached_property
    def scalars(self) -> dict[int, Scalar]:
        """The scalars that the spec declares, by index of the argument."""
        return self.spec.scalars if self.spec else {}

    def arithmetic(self, scalars: tuple[int, ...]) -> Arithmetic | None:
        """What executions compute with these values of the spec's scalars; None without a spec."""
        if self.spec and scalars not in self._arithmetic:
            if len(self._arithmetic) >= MOST_SCALARS:
                self._arithmetic.clear()
            self._arithmetic[scalars] = Arithmetic(_with_scalars(self.spec, scalars))
        return self._arithmetic.get(scalars)

    @cached_property
    def _arithmetic(self) -> dict[tuple[int, ...], Arithmetic]:
        return {}


def model_of(spec: KernelSpec, exec_ns: int, computes: bool = True) -> KernelModel:
    """Return the model of a kernel with the arguments that its spec declares."""
    return KernelModel(spec.name, exec_ns, _spec_banks(spec), spec, computes)


def argument_banks(bos: int) -> tuple[int, ...]:
    """Return the banks of a kernel's arguments: opcode, instructions, their size, `bos` bos."""
    return NO_BANK, INSTRUCTION_BANK, NO_BANK, *[DATA_BANK] * bos


def _spec_banks(spec: KernelSpec, least_bos: int = 0) -> tuple[int, ...]:
    """Return the banks of the arguments of `spec`, followed by unused bos up to `least_bos`."""
    declared = [NO_BANK if isinstance(each, Scalar) else DATA_BANK for each in spec.arguments]
    return *argument_banks(0), *declared, *[DATA_BANK] * (least_bos - len(declared))


def _with_scalars(spec: KernelSpec, values: tuple[int, ...]) -> KernelSpec:
    """Return `spec` with other values of its scalars, in their order."""
    if values == tuple(each.value for each in spec.scalars.values()):
        return spec
    left = iter(values)
    arguments = [
        replace(each, value=next(left)) if isinstance(each, Scalar) else each
        for each in spec.arguments
    ]
    return replace(spec, arguments=tuple(arguments))


def read_models(
    machine: Machine | None, path: str
) -> tuple[list[KernelModel], axlf.Container | None]:
    """Return the models of the kernels in a file, and its metadata if it is an xclbin.

    The machine may have a model for the path. Else `device.xclbins` selects a kernel by pattern;
    then the file may be missing, or be no xclbin. Without a machine the file must be an xclbin, and
    only its metadata counts. RuntimeError with XRT's texts for a missing or broken xclbin.
    """
    if Path(path).is_dir():
        # What XRT raises for a folder.
        raise MemoryError("std::bad_alloc")
    if machine is None:
        container = _read(path)
        return [KernelModel(each.name, 0, _banks(each)) for each in container.kernels], container
    # The harness's own kernels: they need no file.
    if path in machine.models:
        return [machine.models[path]], None
    profile = machine.profile
    matches = [kernel for pattern, kernel in profile.xclbins.items() if _matches(path, pattern)]
    metadata: axlf.Container | None = None
    if Path(path).is_file():
        metadata = _read(path) if _is_xclbin(path) else None
        if matches:
            what = "" if metadata else "not an xclbin; "
            machine.say_once(f"{path}: {what}simulated as kernel {matches[0]} (device.xclbins)")
    elif not matches:
        raise RuntimeError(f"No such file or directory '{path}'")
    else:
        machine.say_once(f"{path}: no such file; simulated as kernel {matches[0]} (device.xclbins)")
    if matches:
        spec = load_kernel(matches[0])
        exec_ns = exec_ns_of(profile, spec)
    else:
        # A wrong time is better than none: the report of hazards does not depend on it.
        spec, exec_ns = None, profile.scaled(profile.unknown_exec_ns)
        machine.say_once(
            f"{path}: matches no pattern of device.xclbins; each execution of its kernels takes "
            f"{profile.unknown_exec_ns / 1000:g} us (device.unknown_exec_ns) and does not change "
            "memory"
        )
    if metadata is None:
        banks = _spec_banks(spec, ANY_BOS) if spec else argument_banks(ANY_BOS)
        return [KernelModel("MLIR_AIE", exec_ns, banks, spec, any_name=True)], None
    least_arguments = spec.used_arguments if spec else 0
    models = []
    for kernel in metadata.kernels:
        # A kernel with fewer arguments than the spec cannot be the one that the pattern means.
        fitting = spec if len(kernel.arguments) >= least_arguments else None
        columns = metadata.columns or 1
        models.append(KernelModel(kernel.name, exec_ns, _banks(kernel), fitting, columns=columns))
    return models, metadata


def _matches(path: str, pattern: str) -> bool:
    """Return whether a pattern means this file: by its name, or by its path if it has a slash.

    A folder's name says nothing about the kernels in it.
    """
    return fnmatch(path if "/" in pattern else Path(path).name, pattern)


def _banks(kernel: axlf.XclbinKernel) -> tuple[int, ...]:
    return tuple(argument.bank for argument in kernel.arguments)


def _is_xclbin(path: str) -> bool:
    with Path(path).open("rb") as file:
        return file.read(len(axlf.MAGIC)) == axlf.MAGIC


def _read(path: str) -> axlf.Container:
    """Read the xclbin at `path`; RuntimeError with XRT's texts, checked in XRT's order."""
    if not Path(path).is_file():
        raise RuntimeError(f"No such file or directory '{path}'")
    with Path(path).open("rb") as file:
        head, size = file.read(axlf.HEADER.size), Path(path).stat().st_size
    if size < axlf.HEADER.size + axlf.SECTION.size:
        raise RuntimeError("xclbin: buffer too small to contain header")
    if head.startswith(axlf.MAGIC):
        length, _, _, count = axlf.HEADER.unpack(head)
        if length != size:
            raise RuntimeError("xclbin: m_length does not match buffer size")
        # XRT counts one header more than there are: struct axlf itself contains one.
        if axlf.HEADER.size + (count + 1) * axlf.SECTION.size > size:
            raise RuntimeError("xclbin: section header array exceeds buffer")
    try:
        container = axlf.read(Path(path))
    except axlf.SectionOutOfRangeError as error:
        raise RuntimeError("xclbin: section header out of range") from error
    except ValueError as error:
        raise RuntimeError(str(error)) from error
    if container is None:
        raise RuntimeError("Invalid xclbin")
    return container
