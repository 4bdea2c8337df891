"""Reads the YAML declaration of a kernel, `conf/kernel/<name>.yaml`, into a `KernelSpec`.

docs/kernels.md explains each key. Every value is checked; a message has the file, the key, what
was given, and what is allowed.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from reprlib import Repr
from typing import Any

from harness.errors import RequestError, nearest
from harness.kernel.arguments import Argument, Buffer, Direction, Part, Scalar, Unused
from harness.kernel.cost import cost_of
from harness.kernel.dtypes import DTYPES
from harness.kernel.folders import shown
from harness.kernel.modules import load_function
from harness.kernel.spec import CompiledFiles, KernelSpec
from harness.kernel.tolerance import tolerance_of
from harness.kernel.yaml_file import read_yaml

KEYS = (
    "folder",
    "xclbin",
    "insts",
    "kernel",
    "arguments",
    "reference",
    "tolerance",
    "ops",
    "cost",
)
CONSTANT, SCALAR, UNUSED = "constant", "scalar", "unused"
DIRECTIONS = (*(each.value for each in Direction), CONSTANT, SCALAR, UNUSED)
NAME = re.compile(r"[A-Za-z_][\w-]*", re.ASCII)
"""Names of kernels and folders: as Hydra takes them in a key, and no path."""
IDENTIFIER = re.compile(r"[A-Za-z_]\w*", re.ASCII)
LONGEST_NAME = 200
"""Of files and folders; file systems allow 255 bytes."""
MOST_ARGUMENTS, MOST_PARTS, MOST_DIMENSIONS = 16, 64, 8
MOST_ELEMENTS = 2**30
"""Of one array."""
MOST_OPS = 10**15
LEAST_SCALAR, MOST_SCALAR = -(2**31), 2**31 - 1
ROW_MAJOR = "row_major"
_REPR = Repr()
_REPR.maxlevel, _REPR.maxlist, _REPR.maxdict, _REPR.maxstring, _REPR.maxlong = 2, 8, 4, 60, 40


def read_declaration(path: Path, kernels: Path, own: bool = False) -> KernelSpec:
    """The kernel that a YAML file declares; its name is that of the file.

    kernels: folder of kernel folders. own: whether it is the user's. RequestError if a key is
    wrong, or if the reference cannot be loaded.

        spec = read_declaration(Path("conf/kernel/relu.yaml"), Path("kernels"))
    """
    top = Fields(read_yaml(path), f"{shown(path)}: ", KEYS)
    if not NAME.fullmatch(path.stem):
        raise RequestError(
            f"{shown(path)}: not the name of a kernel; use letters, digits, _ and -, and no digit "
            "first"
        )
    folder = kernels / top.text("folder", path.stem, NAME, "a folder in kernels/, without /")
    reference, tolerance, cost = (top.values.get(key) for key in ("reference", "tolerance", "cost"))
    function = None
    try:
        if reference is not None:
            function = load_function(top.text("reference", ""), folder, top.where("reference"))
        return KernelSpec(
            name=path.stem,
            arguments=_arguments(top),
            reference=function,
            ops=top.number("ops", 0, 0, MOST_OPS, "a whole number of operations per tile"),
            tolerance=tolerance_of(tolerance, top.where("tolerance")),
            cost=None if cost is None else cost_of(cost, top.where("cost")),
            files=_files(top, folder),
            folder=folder,
            own=own,
        )
    except RequestError as error:
        if str(error).startswith(shown(path)):
            raise
        # The rules of KernelSpec itself, which knows no file.
        raise RequestError(f"{shown(path)}: {error}") from None


@dataclass(frozen=True)
class Fields:
    """A mapping of the file, checked key by key. place: what leads the keys in messages."""

    values: Mapping[Any, Any]
    place: str
    allowed: Collection[str]

    def __post_init__(self) -> None:
        for key in self.values:
            if key not in self.allowed:
                name = _REPR.repr(key).strip("'")
                raise RequestError(
                    f"{self.where(name)}: no such key; {nearest(name, self.allowed)}"
                )

    def where(self, key: str) -> str:
        """File and key."""
        return f"{self.place}{key}"

    def refuse(self, key: str, remedy: str) -> RequestError:
        """The error for the value of a key."""
        if key not in self.values:
            return RequestError(f"{self.where(key)}: missing; {remedy}")
        if self.values[key] is None:
            return RequestError(f"{self.where(key)}: no value; {remedy}")
        given = _REPR.repr(self.values[key]).strip("'")
        return RequestError(f"{self.where(key)}={given}: not allowed; {remedy}")

    def text(
        self, key: str, default: str | None, pattern: re.Pattern[str] | None = None, what: str = ""
    ) -> str:
        """A text that is not empty; without a default it is required."""
        value = self.values.get(key, default)
        if key not in self.values and default is not None:
            return default
        if not isinstance(value, str) or not value or (pattern and not pattern.fullmatch(value)):
            raise self.refuse(key, f"give {what or 'a text'}")
        if any(len(each) > LONGEST_NAME for each in value.split("/")):
            raise self.refuse(key, f"give names of at most {LONGEST_NAME} characters")
        return value

    def choice(self, key: str, default: str | None, allowed: Collection[str]) -> str:
        """One of several words."""
        value = self.values.get(key, default)
        if not isinstance(value, str) or value not in allowed:
            raise self.refuse(key, nearest(_REPR.repr(value).strip("'"), allowed))
        return value

    def number(self, key: str, default: int | None, least: int, most: int, what: str) -> int:
        """A whole number; without a default it is required."""
        value = self.values.get(key, default)
        if not _is_whole(value) or not least <= value <= most:
            raise self.refuse(key, f"give {what}, {least} to {most}")
        return int(value)

    def members(self, key: str, most: int) -> list[tuple[str, Any]]:
        """The members of a list with the place of each; required."""
        value = self.values.get(key)
        if not isinstance(value, list) or not 1 <= len(value) <= most:
            count = f" ({len(value)})" if isinstance(value, list) else ""
            raise self.refuse(key, f"give a list of 1 to {most}{count}")
        return [(f"{self.where(key)}[{index}]", each) for index, each in enumerate(value)]


def _arguments(top: Fields) -> tuple[Argument, ...]:
    arguments, names, parts = list[Argument](), set[str](), set[str]()
    for place, value in top.members("arguments", MOST_ARGUMENTS):
        argument = _argument(place, value)
        _add(argument.name, names, place)
        for part in argument.parts if isinstance(argument, Buffer) else ():
            _add(part.name, parts, place)
        arguments.append(argument)
    return tuple(arguments)


def _add(name: str, names: set[str], place: str) -> None:
    if name and name in names:
        raise RequestError(f"{place}.name={name}: given twice; give each its own name")
    names.add(name)


def _argument(place: str, value: object) -> Argument:
    if not isinstance(value, dict):
        raise RequestError(
            f"{place}={_REPR.repr(value)}: not allowed; give keys in braces, "
            "{name: x, direction: in, dtype: int8, shape: [64, 64]}"
        )
    direction = Fields(value, f"{place}.", value.keys()).choice("direction", None, DIRECTIONS)
    if direction == UNUSED:
        unused = Fields(value, f"{place}.", ("name", "direction"))
        return Unused(unused.text("name", "", IDENTIFIER, _NAMED))
    if direction == SCALAR:
        scalar = Fields(value, f"{place}.", ("name", "direction", "dtype", "value"))
        scalar.choice("dtype", "int32", ("int32",))
        number = scalar.number("value", None, LEAST_SCALAR, MOST_SCALAR, "a whole number")
        return Scalar(scalar.text("name", None, IDENTIFIER, _NAMED), number)
    return _buffer(place, value, direction)


_NAMED = "a name of letters, digits and _, and no digit first"


def _buffer(place: str, value: dict[Any, Any], direction: str) -> Buffer:
    array = ("dtype", "shape", "layout")
    # Buffers of several parts: the dtype of the buffer is that of its parts.
    keys = ("dtype", "parts") if "parts" in value else array
    fields = Fields(value, f"{place}.", ("name", "direction", *keys))
    name = fields.text("name", None, IDENTIFIER, _NAMED)
    dtype = fields.choice("dtype", "int8", DTYPES)
    constant = direction == CONSTANT
    parts: tuple[Part, ...]
    if "parts" not in value:
        parts = (_part(fields, name, dtype, constant),)
    else:
        parts = tuple(
            _member(each, member, dtype, direction)
            for each, member in fields.members("parts", MOST_PARTS)
        )
    buffer = Buffer(name, parts, Direction.IN if constant else Direction(direction))
    try:
        # Raises RequestError if a constant part is not behind the varying ones.
        buffer.varying_bytes  # noqa: B018
    except RequestError as error:
        raise RequestError(f"{place}.parts: {error}") from None
    return buffer


def _member(place: str, value: object, dtype: str, direction: str) -> Part:
    if not isinstance(value, dict):
        raise RequestError(
            f"{place}={_REPR.repr(value)}: not allowed; give keys in braces, "
            "{name: q, shape: [64, 64]}"
        )
    fields = Fields(value, f"{place}.", ("name", "dtype", "shape", "layout", "constant"))
    constant = value.get("constant", direction == CONSTANT)
    if not isinstance(constant, bool):
        raise fields.refuse("constant", "give true or false")
    if constant and direction in (Direction.OUT.value, Direction.INOUT.value):
        raise fields.refuse("constant", f"the kernel writes a buffer of direction {direction}")
    name = fields.text("name", None, IDENTIFIER, _NAMED)
    return _part(fields, name, fields.choice("dtype", dtype, DTYPES), constant)


def _part(fields: Fields, name: str, dtype: str, constant: bool) -> Part:
    shape = fields.values.get("shape")
    sizes = shape if isinstance(shape, list) and len(shape) <= MOST_DIMENSIONS else [0]
    elements = 1
    for size in sizes:
        # One by one: the product of checked sizes only.
        elements *= size if _is_whole(size) and 0 < size <= MOST_ELEMENTS else 0
    if not 0 < elements <= MOST_ELEMENTS:
        raise fields.refuse(
            "shape",
            f"give a list of 0 to {MOST_DIMENSIONS} sizes, whole numbers of 1 or more, of at most "
            f"{MOST_ELEMENTS} elements together",
        )
    return Part(name, tuple(sizes), dtype, constant, _block(fields, sizes))


def _block(fields: Fields, sizes: list[int]) -> tuple[int, ...]:
    layout = fields.values.get("layout", ROW_MAJOR)
    if layout == ROW_MAJOR:
        return ()
    remedy = (
        f"give {ROW_MAJOR}, or [rows, columns] of the blocks, which divide the last two sizes, "
        f"{sizes[-2:]}"
    )
    block = layout if isinstance(layout, list) and len(layout) == 2 else []
    if len(sizes) < 2 or not block or not all(_is_whole(each) and each > 0 for each in block):
        raise fields.refuse("layout", remedy)
    if any(size % each for size, each in zip(sizes[-2:], block, strict=True)):
        raise fields.refuse("layout", remedy)
    return tuple(block)


def _files(top: Fields, folder: Path) -> CompiledFiles:
    """The compiled files; relative paths start at the kernel's folder."""
    paths = {
        key: folder / top.text(key, None) if key in top.values else None
        for key in ("xclbin", "insts")
    }
    return CompiledFiles(paths["xclbin"], paths["insts"], top.text("kernel", ""))


def _is_whole(value: object) -> bool:
    # True is an int.
    return isinstance(value, int) and not isinstance(value, bool)
