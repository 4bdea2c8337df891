"""Packs the arrays of a caller into the buffers of kernels, and checks what it passes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from harness.errors import RequestError
from harness.kernel import Array, Bytes, KernelSpec, Part, load_kernel
from harness.kernel.dtypes import array_dtype


def specs_of(kernels: Sequence[str | KernelSpec]) -> list[KernelSpec]:
    """The kernels of a list of names and specs.

    RequestError for anything else, and for different kernels of one name.
    """
    if isinstance(kernels, str | KernelSpec) or not isinstance(kernels, Sequence):
        raise RequestError(
            f"kernels: given {_kind(kernels)}, takes a list of names and specs, such as "
            "['attention']"
        )
    specs = list[KernelSpec]()
    for place, each in enumerate(kernels):
        if not isinstance(each, str | KernelSpec):
            raise RequestError(
                f"kernels[{place}]: given {_kind(each)}, takes a name or a KernelSpec"
            )
        specs.append(load_kernel(each) if isinstance(each, str) else each)
    for spec in specs:
        # Devices find kernels by their name.
        if any(each.name == spec.name and each != spec for each in specs):
            raise RequestError(f"kernels: two kernels are named {spec.name}; rename one of them")
    return specs


def pack_tiles(
    spec: KernelSpec, inputs: Sequence[Array], constants: Sequence[Array]
) -> tuple[Bytes, ...]:
    """The input buffers of a kernel, (tiles, size_bytes) uint8 each.

    inputs: (tiles, *shape) for each varying part of all buffers, in order; constants: (*shape) for
    each constant part. RequestError if a number, type, shape, dtype or number of tiles is wrong.
    """
    varying = [part for part in spec.parts if not part.constant]
    if not varying:
        raise RequestError(f"{spec.name}: all its inputs are constant; tiles need one that differs")
    _check_list("inputs", inputs)
    arrays = _by_part(spec, inputs, constants)
    if not arrays[varying[0].name].ndim:
        raise RequestError(
            f"{spec.name}.{varying[0].name}: given one number, takes "
            f"{_form(varying[0], tiles=True)}"
        )
    return _pack(spec, arrays, len(arrays[varying[0].name]))


def pack_constants(spec: KernelSpec, constants: Sequence[Array]) -> tuple[Bytes, ...]:
    """The bytes of a kernel's constants per input buffer; RequestError as `pack_tiles`."""
    blank = [_blank(part) for part in spec.parts if not part.constant]
    packed = _pack(spec, _by_part(spec, blank, constants), 1)
    return tuple(
        row[0, buffer.varying_bytes :] for row, buffer in zip(packed, spec.inputs, strict=True)
    )


def groups_of(constants: Sequence[Sequence[Array]], kernels: int) -> list[Sequence[Array]]:
    """The constants of each kernel, none for all if the list is empty.

    RequestError for another number of groups, or an array in place of a group.
    """
    _check_list("constants", constants)
    for place, group in enumerate(constants):
        if not isinstance(group, list | tuple):
            raise RequestError(
                f"constants[{place}]: given {_kind(group)}, takes a list of arrays for each "
                "kernel: [[gamma, beta]]"
            )
    groups = list(constants) or [()] * kernels
    if len(groups) != kernels:
        raise RequestError(
            f"constants: {len(groups)} groups, but the chain has {kernels} kernels; "
            "pass one group for each kernel"
        )
    return groups


def _by_part(
    spec: KernelSpec, inputs: Sequence[Array], constants: Sequence[Array]
) -> dict[str, Array]:
    """The arrays by name of the part."""
    varying = [part for part in spec.parts if not part.constant]
    constant = [part for part in spec.parts if part.constant]
    if (len(inputs), len(constants)) != (len(varying), len(constant)):
        raise RequestError(
            f"{spec.name}: got {len(inputs)} inputs and {len(constants)} constants; "
            f"takes inputs {_names(varying)} and constants {_names(constant)}"
        )
    arrays = dict[str, Array]()
    for part, each in zip((*varying, *constant), (*inputs, *constants), strict=True):
        if not isinstance(each, np.ndarray | np.generic):
            raise RequestError(
                f"{spec.name}.{part.name}: given {_kind(each)}, takes a numpy array "
                f"{_form(part, tiles=not part.constant)}"
            )
        arrays[part.name] = np.asarray(each)
    return arrays


def _pack(spec: KernelSpec, arrays: dict[str, Array], count: int) -> tuple[Bytes, ...]:
    def of_part(part: Part) -> Array:
        array = arrays[part.name]
        return np.broadcast_to(array, (count, *array.shape)) if part.constant else array

    packed = tuple(buffer.pack(*map(of_part, buffer.parts)) for buffer in spec.inputs)
    for buffer, rows in zip(spec.inputs, packed, strict=True):
        # Within a buffer, `pack` has compared them.
        if len(rows) != count:
            raise RequestError(
                f"{spec.name}.{buffer.name}: given {len(rows)} tiles, takes as many as "
                f"{spec.inputs[0].name}: {count}"
            )
    return packed


def _check_list(name: str, given: Any) -> None:
    if isinstance(given, str) or not isinstance(given, Sequence | np.ndarray):
        raise RequestError(f"{name}: given {_kind(given)}, takes a list")


def _blank(part: Part) -> Array:
    return np.zeros((1, *part.shape), array_dtype(part.dtype))


def _form(part: Part, tiles: bool) -> str:
    """Dtype and shape of an array, as text."""
    shape = map(str, ("tiles", *part.shape) if tiles else part.shape)
    return f"{array_dtype(part.dtype)}[{', '.join(shape)}]"


def _kind(value: Any) -> str:
    """The type of a value, as text for a message."""
    if isinstance(value, KernelSpec):
        return "one kernel"
    return "a text" if isinstance(value, str) else f"{type(value).__name__}"


def _names(parts: Sequence[Part]) -> str:
    return ", ".join(part.name for part in parts) or "none"
