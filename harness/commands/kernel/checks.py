"""The checks of a kernel: declaration, reference, files, arguments, columns, and its cost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from harness.commands.doctor.check import Check, fail, ok, warn
from harness.commands.kernel.check_reference import check_reference
from harness.commands.kernel.read_files import XclbinFile, read_xclbin
from harness.commands.kernel.tables import ROLES, misfit
from harness.config.compose import load
from harness.config.device import Hardware, Simulator
from harness.config.execution_time import exec_ns_of
from harness.device.xrt.files import kernel_files
from harness.device.xrt.instruction_stream import READS, WRITES, read_stream
from harness.device.xrt.open_kernel import check_columns, kernel_of
from harness.errors import RequestError
from harness.kernel import (
    DTYPES,
    FIRST_DATA_ARGUMENT,
    Buffer,
    Bytes,
    KernelSpec,
    Unused,
    declarations,
    load_kernel,
)
from harness.kernel.declare import DIRECTIONS, UNUSED
from harness.kernel.folders import shown
from harness.kernel.yaml_file import read_yaml
from harness.xclbin import XclbinKernel

ALLOWED = {
    "direction": f"one of {', '.join(DIRECTIONS)}",
    "dtype": f"one of {', '.join(DTYPES)}",
    "shape": "its sizes, such as [64, 64]",
    "value": "a whole number",
    "ops": "the arithmetic operations of one execution",
    "ns": "the nanoseconds of one execution, or remove cost",
}
"""What to give for a key, for those that `harness kernel inspect` leaves empty."""
VERBS = {READS: "read", WRITES: "write"}


def examine(name: str, device: Hardware) -> list[Check]:
    """The result of every check; RequestError if there is no kernel of that name.

    Later checks need the declaration: they are left out if it is wrong.
    """
    declared = declarations().get(name)
    path = declared.path if declared else None
    checks = list(unfilled(path)) if path and path.suffix == ".yaml" else []
    if not checks:
        try:
            spec = load_kernel(name)
        except RequestError as error:
            if declared is None:
                raise
            checks = [_failed("declaration", error)]
        else:
            where = f"{shown(path)}: " if path else ""
            checks = [
                ok("declaration", f"{where}{describe(spec)}"),
                check_reference(spec),
                *_compiled(spec, device),
                check_cost(spec),
            ]
    return [
        replace(each, finding=" ".join(each.finding.split()), remedy=" ".join(each.remedy.split()))
        for each in checks
    ]


def unfilled(path: Path) -> Iterator[Check]:
    """A failed check for each key of a YAML file that has no value."""
    try:
        values = read_yaml(path)
    except RequestError:
        return  # load_kernel reports it
    for key, place in _empty(values, ""):
        yield fail(place, f"has no value in {shown(path)}", f"give {ALLOWED.get(key, 'one')}")


def _empty(value: Any, place: str, key: str = "") -> Iterator[tuple[str, str]]:
    """Last key and whole key of each None."""
    if value is None:
        yield key, place
    elif isinstance(value, dict) and value.get("direction") == UNUSED:
        return  # it takes no other keys, which load_kernel reports
    elif isinstance(value, dict):
        for name, member in value.items():
            yield from _empty(member, f"{place}.{name}" if place else str(name), str(name))
    elif isinstance(value, list):
        for index, member in enumerate(value):
            yield from _empty(member, f"{place}[{index}]", key)


def describe(spec: KernelSpec) -> str:
    """The arguments of a kernel, in one line."""
    texts = []
    for index, each in enumerate(spec.arguments, FIRST_DATA_ARGUMENT):
        if isinstance(each, Buffer):
            texts.append(f"{each.name} ({each.direction.value}, {each.size_bytes} B)")
        elif not isinstance(each, Unused):
            texts.append(f"{each.name}={each.value}")
        else:
            texts.append(f"{index} unused")
    return ", ".join(texts)


def check_cost(spec: KernelSpec) -> Check:
    """Whether a simulated device knows how long an execution takes."""
    simulator = load("device=simulator").device
    assert isinstance(simulator, Simulator)  # device=simulator was composed
    try:
        ns = exec_ns_of(simulator, spec)
    except RequestError as error:
        finding, _, remedy = str(error).rpartition("; ")
        return warn("cost", finding, remedy)
    return ok("cost", f"{ns / 1000:g} us for one execution on device=simulator")


def _failed(name: str, error: RequestError) -> Check:
    # Messages are `finding; remedy` everywhere.
    finding, _, remedy = str(error).partition("; ")
    return fail(name, finding, remedy or "correct it")


def _compiled(spec: KernelSpec, device: Hardware) -> list[Check]:
    """The checks of the compiled files, which the simulator does not need."""
    try:
        path, instructions = kernel_files(device, spec)
    except RequestError as error:
        check = _failed("files", error)
        if spec.files.xclbin or spec.name in {**device.xclbin, **device.insts}:
            return [check]
        return [warn("files", check.finding, f"{check.remedy}; device=simulator needs none")]
    try:
        file = read_xclbin(Path(path))
        kernel = _kernel_in(file, spec)
    except RequestError as error:
        return [_failed("xclbin", error)]
    reason = misfit(kernel)
    return [
        fail("xclbin", f"{path}: {reason}", f"build it with mlir-aie: {ROLES}")
        if reason
        else ok("xclbin", f"{path}: kernel {kernel.name}, {len(kernel.arguments)} arguments"),
        *_arguments(spec, kernel),
        *_instructions(spec, kernel, instructions),
        _columns(file, device),
    ]


def _kernel_in(file: XclbinFile, spec: KernelSpec) -> XclbinKernel:
    """The kernel that a run would use; RequestError if a run refuses the xclbin."""

    def as_pyxrt(kernel: XclbinKernel) -> SimpleNamespace:
        return SimpleNamespace(
            get_name=lambda: kernel.name, get_num_args=lambda: len(kernel.arguments)
        )

    kernels = {each.name: each for each in file.container.kernels}
    metadata: Any = SimpleNamespace(get_kernels=lambda: [*map(as_pyxrt, kernels.values())])
    return kernels[kernel_of(metadata, str(file.path), spec)]


def _arguments(spec: KernelSpec, kernel: XclbinKernel) -> Iterator[Check]:
    """A failed check for each buffer that is a value in the xclbin, and the reverse."""
    declared = kernel.arguments[FIRST_DATA_ARGUMENT:]
    for own, theirs in zip(spec.arguments, declared, strict=False):
        is_buffer = isinstance(own, Buffer)
        if not isinstance(own, Unused) and is_buffer is not theirs.is_bo:
            kinds = ("a value", "a buffer")
            yield fail(
                f"argument {theirs.index}",
                f"{own.name} is declared as {kinds[is_buffer]}; the xclbin takes "
                f"{kinds[theirs.is_bo]} of type {theirs.type}",
                "correct its direction, or the order of the arguments",
            )


def _instructions(spec: KernelSpec, kernel: XclbinKernel, content: Bytes) -> Iterator[Check]:
    """How the instructions fit the declared directions; warnings, because they are inferred."""
    stream = read_stream(content)
    size = f"{content.nbytes} bytes"
    if stream is None:
        yield ok("instructions", f"{size} of an unknown version")
        return
    if content.nbytes != stream.size_bytes:
        yield fail(
            "instructions", f"{size}; the header states {stream.size_bytes}", "build them again"
        )
        return
    uses = stream.arguments
    if uses is None:
        yield ok("instructions", f"{size}, with operations that are not known")
        return
    used = ", ".join(map(str, uses)) or "none"
    yield ok("instructions", f"{size}, {stream.operations} operations; use arguments {used}")
    yield from _directions(spec, uses)
    beyond = [index for index in uses if index >= len(kernel.arguments)]
    if beyond:
        yield fail(
            f"argument {beyond[0]}",
            f"the instructions use it; kernel {kernel.name} declares {len(kernel.arguments)}",
            "give the instructions that were built with this xclbin",
        )


def _directions(spec: KernelSpec, uses: Mapping[int, frozenset[str]]) -> Iterator[Check]:
    for index, each in enumerate(spec.arguments, FIRST_DATA_ARGUMENT):
        does, title = uses.get(index), f"argument {index}"
        if isinstance(each, Unused) and does is not None:
            yield warn(title, "is declared as unused; the instructions use it", "correct it")
        elif isinstance(each, Buffer) and does is None:
            text = f"{each.name}: the instructions do not use it"
            yield warn(title, text, "declare direction: unused, or give its own instructions")
        elif isinstance(each, Buffer) and does:
            declared = {READS: each.is_input, WRITES: each.is_output}
            if any((use in does) is not expected for use, expected in declared.items()):
                verbs = " and ".join(verb for use, verb in VERBS.items() if use in does)
                text = f"{each.name} has direction {each.direction.value}; the instructions {verbs}"
                yield warn(title, f"{text} it", "correct its direction")


def _columns(file: XclbinFile, device: Hardware) -> Check:
    columns = file.container.columns
    if columns is None:
        return warn("columns", f"{file.path} does not declare them", "one is assumed")
    try:
        check_columns(str(file.path), columns, device.columns)
    except RequestError as error:
        return _failed("columns", error)
    return ok("columns", f"{columns} of the {device.columns} of the device")
