"""What the classes of pyxrt have in common: how they refuse what they do not have, or cannot take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

from harness.sim.clock import ProcessAborted

UINT32, UINT64 = (0, (1 << 32) - 1), (0, (1 << 64) - 1)
INT32 = -(1 << 31), (1 << 31) - 1
_HINT = (
    "\n\nDid you forget to `#include <pybind11/stl.h>`? Or <pybind11/complex.h>,\n<pybind11/functional.h>, "
    "<pybind11/chrono.h>, etc. Some automatic\nconversions are optional and require extra headers to be included\n"
    "when compiling your pybind11 module."
)
_CLOSED = " and no __dict__ for setting new attributes"


class PybindType(type):
    """The type of pyxrt's classes: one that names what a class has."""

    def __getattr__(cls, name: str) -> NoReturn:
        raise missing(
            f"type object 'pyxrt.{cls.__name__}'", name, () if name.startswith("_") else public(cls)
        )


class PybindObject(metaclass=PybindType):
    """A class of pyxrt. An object made without arguments is a null pointer, as in XRT: any use of it is fatal."""

    def __init_subclass__(cls) -> None:
        cls.__module__ = "pyxrt"

    def __getattr__(self, name: str) -> NoReturn:
        cls = type(self)
        if name.startswith("_") and not name.startswith("__"):
            raise ProcessAborted(
                f"a default-constructed pyxrt.{cls.__name__} was used: XRT would crash (SIGSEGV)"
            )
        raise missing(
            f"'pyxrt.{cls.__name__}' object", name, () if name.startswith("_") else public(cls)
        )

    def __setattr__(self, name: str, value: Any) -> None:
        if name[0] != "_":
            raise self._closed(name)
        super().__setattr__(name, value)

    def __delattr__(self, name: str) -> None:
        raise self._closed(name)

    def _closed(self, name: str) -> AttributeError:
        cls = type(self)
        if hasattr(cls, name):
            return AttributeError(f"'pyxrt.{cls.__name__}' object attribute '{name}' is read-only")
        return missing(f"'pyxrt.{cls.__name__}' object", name, ending=_CLOSED)

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        raise TypeError(f"cannot pickle 'pyxrt.{type(self).__name__}' object")


def missing(owner: str, name: str, known: Sequence[str] = (), ending: str = "") -> AttributeError:
    """The error for an attribute that `owner` does not have; names what it has."""
    return AttributeError(
        f"{owner} has no attribute '{name}'{ending}"
        + (f"; pyxrt 2.25 has: {', '.join(known)}" if known else "")
    )


def public(owner: Any) -> list[str]:
    """Public names of a class or module."""
    return [name for name in dir(owner) if not name.startswith("_")]


def incompatible(
    name: str,
    forms: tuple[str, ...],
    given: tuple[Any, ...],
    named: dict[str, Any] | None = None,
    hint: bool = False,
) -> TypeError:
    """The error of pybind11 for arguments that fit none of the `forms` of a function.

    hint: with what pybind11 adds where a type has no Python form at all.
    """
    what = "constructor" if name == "__init__" else "function"
    listed = "\n".join(f"    {number}. {form}" for number, form in enumerate(forms, 1))
    shown = ", ".join(map(repr, given))
    if named:
        shown += (
            "; " * bool(given)
            + "kwargs: "
            + ", ".join(f"{key}={value!r}" for key, value in named.items())
        )
    return TypeError(
        f"{name}(): incompatible {what} arguments. The following argument types are supported:\n{listed}\n\n"
        f"Invoked with: {shown}{_HINT if hint else ''}"
    )


def is_int(value: Any, bounds: tuple[int, int]) -> bool:
    """Whether pybind11 takes `value` as an integer within `bounds`: no float, no text, no None."""
    if type(value) is not int:
        if isinstance(value, float | str | bytes | bytearray):
            return False
        try:
            value = int(value)
        except (TypeError, ValueError, DeprecationWarning):
            return False
    return bool(bounds[0] <= value <= bounds[1])


def as_text(value: Any) -> str | None:
    """What pybind11 takes for a string; None where it takes `value` for none."""
    return (
        value.decode("utf-8", "surrogateescape")
        if isinstance(value, bytes)
        else value
        if isinstance(value, str)
        else None
    )


def keywords(
    given: tuple[Any, ...], named: dict[str, Any], names: tuple[str, ...]
) -> tuple[Any, ...] | None:
    """Arguments in the order of `names`; None where the named ones do not go on where the others end."""
    rest = names[len(given) : len(given) + len(named)]
    return (*given, *(named[name] for name in rest)) if set(rest) == set(named) else None


def single(given: tuple[Any, ...], named: dict[str, Any], name: str) -> Any:
    """The one argument, which may be given as `name`; None if there are others or more."""
    values = keywords(given, named, (name,)) or ()
    return values[0] if len(values) == 1 else None
