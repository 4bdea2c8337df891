"""The common behaviour of pyxrt's classes: pybind11's argument conversion and its error texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

from harness.sim.clock import ProcessAborted

UINT32, UINT64 = (0, (1 << 32) - 1), (0, (1 << 64) - 1)
INT32 = -(1 << 31), (1 << 31) - 1
_HINT = (
    "\n\nDid you forget to `#include <pybind11/stl.h>`? Or <pybind11/complex.h>,\n"
    "<pybind11/functional.h>, <pybind11/chrono.h>, etc. Some automatic\n"
    "conversions are optional and require extra headers to be included\n"
    "when compiling your pybind11 module."
)
_CLOSED = " and no __dict__ for setting new attributes"


class PybindType(type):
    """Metaclass of pyxrt's classes: the error for a missing attribute lists the existing ones."""

    def __getattr__(cls, name: str) -> NoReturn:
        raise attribute_error(
            f"type object 'pyxrt.{cls.__name__}'", name, () if name.startswith("_") else public(cls)
        )


class PybindObject(metaclass=PybindType):
    """Base of pyxrt's classes.

    An object that was created without arguments is a null pointer, as in XRT: it lacks the private
    attributes, and the first use of one raises ProcessAborted.
    """

    def __init_subclass__(cls) -> None:
        cls.__module__ = "pyxrt"

    def __getattr__(self, name: str) -> NoReturn:
        cls = type(self)
        # Only an object without content lacks a private attribute.
        if name.startswith("_") and not name.startswith("__"):
            raise ProcessAborted(
                f"a default-constructed pyxrt.{cls.__name__} was used: XRT would crash (SIGSEGV)"
            )
        raise attribute_error(
            f"'pyxrt.{cls.__name__}' object", name, () if name.startswith("_") else public(cls)
        )

    def __setattr__(self, name: str, value: Any) -> None:
        # pybind11's classes have no __dict__; the names of this class's own state begin with _.
        if name[0] != "_":
            raise self._read_only_error(name)
        super().__setattr__(name, value)

    def __delattr__(self, name: str) -> None:
        raise self._read_only_error(name)

    def _read_only_error(self, name: str) -> AttributeError:
        cls = type(self)
        if hasattr(cls, name):
            return AttributeError(f"'pyxrt.{cls.__name__}' object attribute '{name}' is read-only")
        return attribute_error(f"'pyxrt.{cls.__name__}' object", name, ending=_CLOSED)

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        raise TypeError(f"cannot pickle 'pyxrt.{type(self).__name__}' object")


def attribute_error(
    owner: str, name: str, available: Sequence[str] = (), ending: str = ""
) -> AttributeError:
    """Return the error for an attribute that `owner` does not have; it lists those `available`."""
    return AttributeError(
        f"{owner} has no attribute '{name}'{ending}"
        + (f"; pyxrt 2.25 has: {', '.join(available)}" if available else "")
    )


def public(owner: Any) -> list[str]:
    """Return the public names of a class or module."""
    return [name for name in dir(owner) if not name.startswith("_")]


def incompatible(
    name: str,
    forms: tuple[str, ...],
    args: tuple[Any, ...],
    kwargs: dict[str, Any] | None = None,
    hint: bool = False,
) -> TypeError:
    """Return pybind11's error for arguments that fit none of the `forms` of a function.

    hint: add pybind11's advice for a parameter whose type has no conversion from Python.
    """
    what = "constructor" if name == "__init__" else "function"
    form_lines = "\n".join(f"    {number}. {form}" for number, form in enumerate(forms, 1))
    values = ", ".join(map(repr, args))
    if kwargs:
        pairs = ", ".join(f"{key}={value!r}" for key, value in kwargs.items())
        values += f"{'; ' if args else ''}kwargs: {pairs}"
    return TypeError(
        f"{name}(): incompatible {what} arguments. The following argument types are supported:\n"
        f"{form_lines}\n\n"
        f"Invoked with: {values}{_HINT if hint else ''}"
    )


def is_int(value: Any, bounds: tuple[int, int]) -> bool:
    """Return whether pybind11 converts `value` to an integer within `bounds`, both included.

    Floats and texts do not convert; other objects do if int() takes them.
    """
    if type(value) is not int:
        if isinstance(value, float | str | bytes | bytearray):
            return False
        # numpy warns when an array of one element is converted; the warning may be an error.
        try:
            value = int(value)
        except (TypeError, ValueError, DeprecationWarning):
            return False
    return bool(bounds[0] <= value <= bounds[1])


def as_text(value: Any) -> str | None:
    """Convert to a string as pybind11 does, which accepts bytes too; None if it cannot."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "surrogateescape")
    return value if isinstance(value, str) else None


def keywords(
    args: tuple[Any, ...], kwargs: dict[str, Any], names: tuple[str, ...]
) -> tuple[Any, ...] | None:
    """Return all arguments in the order of `names`.

    None if the keyword arguments are not exactly the names that follow the positional ones.
    """
    # The order of the keyword arguments is free, so sets are compared.
    rest = names[len(args) : len(args) + len(kwargs)]
    return (*args, *(kwargs[name] for name in rest)) if set(rest) == set(kwargs) else None


def single(args: tuple[Any, ...], kwargs: dict[str, Any], name: str) -> Any:
    """Return the only argument, positional or as keyword `name`; None unless it is the only one."""
    values = keywords(args, kwargs, (name,)) or ()
    return values[0] if len(values) == 1 else None
