"""Which kernels an xclbin file holds, and what they stand for in the simulator."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING

from harness import xclbin as axlf
from harness.kernel import KernelSpec, load_kernel

if TYPE_CHECKING:
    from harness.sim.machine import Machine

DATA_BANK, INSTRUCTION_BANK, NO_BANK = 0, 1, axlf.NO_BANK
"""HOST memory, SRAM, and what a scalar is in (mlir-aie's memory topology; XRT's group_id)."""
ANY_BOS = 5
"""Bos that a kernel declares of which nobody knows more: what mlir-aie's own xclbins declare."""


@dataclass(frozen=True)
class KernelModel:
    """What one kernel of an xclbin stands for.

    spec: its arithmetic, None where nobody described it. computes: False takes its time and leaves memory alone.
    banks: memory bank of each argument. width: columns of the array that it takes. any_name: whether `kernel` may
    ask for it under any name, because the file does not tell one.
    """

    name: str
    exec_ns: int
    banks: tuple[int, ...]
    spec: KernelSpec | None = None
    computes: bool = True
    width: int = 1
    any_name: bool = False


def model_of(spec: KernelSpec, exec_ns: int, computes: bool = True) -> KernelModel:
    """The model of a kernel as its spec declares it."""
    return KernelModel(spec.name, exec_ns, argument_banks(len(spec.inputs) + 1), spec, computes)


def argument_banks(bos: int) -> tuple[int, ...]:
    """Banks of a kernel's arguments: opcode, instructions, their size, then `bos` bos."""
    return NO_BANK, INSTRUCTION_BANK, NO_BANK, *[DATA_BANK] * bos


def read_models(
    machine: Machine | None, path: str
) -> tuple[list[KernelModel], axlf.Container | None]:
    """The kernels of a file: known to the machine by its path, or told by `device.xclbins` and the file itself.

    RuntimeError with XRT's texts for a missing or broken xclbin. Any other file will do in its place, and a missing
    one where a pattern names it. Without a machine, only what the file itself tells, which must be an xclbin.
    """
    if Path(path).is_dir():
        raise MemoryError("std::bad_alloc")
    if machine is None:
        told = _read(path)
        return [
            KernelModel(each.name, 0, tuple(argument.bank for argument in each.arguments))
            for each in told.kernels
        ], told
    if path in machine.models:
        return [machine.models[path]], None
    profile = machine.profile
    named = [kernel for pattern, kernel in profile.xclbins.items() if fnmatch(path, pattern)]
    container: axlf.Container | None = None
    if Path(path).is_file():
        container = _read(path) if _is_xclbin(path) else None
        if named and not container:
            machine.say_once(f"{path}: no xclbin; simulated as kernel {named[0]} (device.xclbins)")
    elif not named:
        raise RuntimeError(f"No such file or directory '{path}'")
    else:
        machine.say_once(f"{path}: no such file; simulated as kernel {named[0]} (device.xclbins)")
    if named:
        spec = load_kernel(named[0])
        spec_ns = profile.exec_of(spec.name)
    else:
        spec, spec_ns = None, profile.scaled(profile.unknown_exec_ns)
        machine.say_once(
            f"{path}: no pattern of device.xclbins fits; its kernels only take {profile.unknown_exec_ns / 1000:g} us "
            "(device.unknown_exec_ns) and leave memory alone"
        )
    if container is None:
        bos = len(spec.inputs) + 1 if spec else ANY_BOS
        return [
            KernelModel("MLIR_AIE", spec_ns, argument_banks(max(bos, ANY_BOS)), spec, any_name=True)
        ], None
    return [
        KernelModel(
            kernel.name,
            spec_ns,
            tuple(argument.bank for argument in kernel.arguments),
            spec
            if spec and len(kernel.arguments) >= len(argument_banks(len(spec.inputs) + 1))
            else None,
            width=container.columns or 1,
        )
        for kernel in container.kernels
    ], container


def _is_xclbin(path: str) -> bool:
    with Path(path).open("rb") as file:
        return file.read(len(axlf.MAGIC)) == axlf.MAGIC


def _read(path: str) -> axlf.Container:
    """The xclbin at `path`; RuntimeError with XRT's texts, in XRT's order."""
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
        if (
            axlf.HEADER.size + (count + 1) * axlf.SECTION.size > size
        ):  # one more than there are: struct axlf holds one
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
