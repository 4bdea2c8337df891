"""Reads tiles and constants from .npy, .npz and .safetensors files; nothing is ever unpickled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from zipfile import BadZipFile, is_zipfile

import numpy as np

from harness.errors import RequestError, nearest, with_extra
from harness.kernel import Array, KernelSpec, Part
from harness.kernel.dtypes import array_dtype

SUFFIXES = (".npy", ".npz", ".safetensors")
SOURCE, CONSTANTS = "workload.source", "workload.constants"
"""Keys of a request that name such files."""
Arrays = Mapping[str, Array]
"""Arrays by name; the only array of an .npy has no name."""
UNNAMED = ""


def is_array_file(source: str) -> bool:
    """Whether `source` names a file of arrays, by its suffix."""
    return source.lower().endswith(SUFFIXES)


def read_arrays(key: str, path: str) -> Arrays:
    """The arrays of a file. That of an .npy is mapped into memory: only used tiles are read.

    key: of the request, for messages. RequestError if the file is missing, cut short, not of its
    format, or has Python objects in it.
    """
    suffix = Path(path).suffix.lower()
    try:
        if suffix == ".npy":
            return {UNNAMED: np.lib.format.open_memmap(path, mode="r")}
        if suffix == ".npz":
            # numpy takes a file of another format for a pickle.
            with Path(path).open("rb") as archive:
                if not is_zipfile(archive):
                    raise BadZipFile
                archive.seek(0)
                with np.load(archive, allow_pickle=False) as file:
                    return _of_members({name: file[name] for name in file.files})
        return _read_safetensors(key, path)
    except RequestError:
        raise
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise _error(key, path, f"{reason}; give the path of {_FORMATS[key]} file") from error
    # numpy, zipfile, zlib and safetensors raise many kinds of errors, and document few of them.
    except Exception as error:
        if "object" in str(error).lower() or "pickle" in str(error).lower():
            fault = "has Python objects in it (pickle), which are never loaded; store numbers"
        else:
            fault = f"not a whole {suffix} file ({type(error).__name__}); write it again"
        raise _error(key, path, fault) from error


_FORMATS = {SOURCE: "an .npy, .npz or .safetensors", CONSTANTS: "an .npz or .safetensors"}


def _of_members(members: Mapping[str, object]) -> Arrays:
    """The members of an .npz; ValueError if one is not an .npy file, as numpy returns its bytes."""
    arrays = {}
    for name, member in members.items():
        if not isinstance(member, np.ndarray):
            raise ValueError(f"{name} is not an array")
        arrays[name] = member
    return arrays


def _read_safetensors(key: str, path: str) -> Arrays:
    try:
        # Imported where used: an extra.
        from safetensors import safe_open
    except ImportError as error:
        fault = f"needs the package safetensors; {with_extra('safetensors')}"
        raise _error(key, path, fault) from error
    # Without this package, safetensors does not know bfloat16.
    import ml_dtypes  # noqa: F401

    # safetensors has no errno for a missing file.
    with Path(path).open("rb"), safe_open(path, framework="numpy") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def tiles_from(arrays: Arrays, path: str, spec: KernelSpec) -> dict[str, Array]:
    """The arrays (tiles, *shape) of the varying parts of a kernel, by name.

    RequestError if one is missing, has another shape or dtype, or another number of tiles, and for
    names that the kernel does not have.
    """
    varying = [part for part in spec.parts if not part.constant]
    if UNNAMED in arrays:
        if len(varying) != 1:
            names = ", ".join(part.name for part in varying)
            raise _error(
                SOURCE,
                path,
                f"has one array without a name, and kernel {spec.name} takes {len(varying)}: "
                f"{names}; give an .npz or .safetensors file with arrays of these names",
            )
        arrays = {varying[0].name: arrays[UNNAMED]}
    _check_names(SOURCE, path, arrays, [part.name for part in spec.parts])
    found = {}
    for part in varying:
        if part.name not in arrays:
            raise _error(SOURCE, path, f"array {part.name} is missing; give {_form(part)}")
        found[part.name] = _checked(SOURCE, path, arrays[part.name], part)
    counts = {name: len(array) for name, array in found.items()}
    if len(set(counts.values())) > 1:
        given = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise _error(SOURCE, path, f"numbers of tiles differ: {given}; give equal ones")
    if not min(counts.values()):
        raise _error(SOURCE, path, "has no tiles; give one or more")
    return found


def constants_from(key: str, path: str, arrays: Arrays, spec: KernelSpec) -> dict[str, Array]:
    """The constants (*shape) of a kernel that a file has, by name of the part.

    An array is named as the part, or <kernel>.<part>, which counts more. RequestError for another
    shape or dtype.
    """
    found = {}
    for part in spec.parts:
        for name in (f"{spec.name}.{part.name}", part.name):
            if part.constant and name in arrays:
                found[part.name] = _checked(key, path, arrays[name], part)
                break
    return found


def check_constants(path: str, arrays: Arrays, specs: Sequence[KernelSpec]) -> None:
    """RequestError unless each array of a file of constants is a constant of one of the kernels."""
    if UNNAMED in arrays:
        raise _error(
            CONSTANTS, path, "has one array without a name; give an .npz or .safetensors file"
        )
    names = [
        name
        for spec in specs
        for part in spec.parts
        if part.constant
        for name in (part.name, f"{spec.name}.{part.name}")
    ]
    _check_names(CONSTANTS, path, arrays, names)
    for spec in specs:
        constants_from(CONSTANTS, path, arrays, spec)


def _check_names(key: str, path: str, arrays: Arrays, allowed: Sequence[str]) -> None:
    for name in arrays:
        if name not in allowed:
            raise _error(key, path, f"unknown array {name}; {nearest(name, allowed)}")


def _checked(key: str, path: str, array: Array, part: Part) -> Array:
    """The array of a part in its numpy dtype; RequestError for another shape or dtype."""
    dtype = array_dtype(part.dtype)
    # An .npy has no name for bfloat16, and stores its elements as two bytes each.
    if part.dtype == "bfloat16" and array.dtype == np.dtype("V2"):
        array = array.view(dtype)
    shape = array.shape if part.constant else array.shape[1:]
    if shape == part.shape and array.dtype == dtype and (part.constant or array.ndim):
        return array
    given = f"array {part.name or 'x'} is {array.dtype}{list(array.shape)}"
    remedy = ""
    if array.dtype != dtype:
        module = "ml_dtypes" if part.dtype == "bfloat16" else "numpy"
        remedy = f"; convert it: array.astype({module}.{dtype})"
    elif array.shape == part.shape:
        remedy = "; for a single tile: array[None]"
    raise _error(key, path, f"{given}; give {_form(part)}{remedy}")


def _form(part: Part) -> str:
    """Dtype and shape that an array of a file has, as text."""
    shape = map(str, part.shape if part.constant else ("tiles", *part.shape))
    return f"{array_dtype(part.dtype)}[{', '.join(shape)}]"


def _error(key: str, path: str, fault: str) -> RequestError:
    return RequestError(f"{key}={path}: {fault}")
