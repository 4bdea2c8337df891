"""What the classes of pyxrt have in common: how they refuse what they do not have, or cannot take."""

from __future__ import annotations

from typing import Any, NoReturn

from harness.sim.clock import ProcessAborted

UINT32, UINT64 = (0, (1 << 32) - 1), (0, (1 << 64) - 1)
INT32 = -(1 << 31), (1 << 31) - 1
_HINT = (
    "\n\nDid you forget to `#include <pybind11/stl.h>`? Or <pybind11/complex.h>,\n<pybind11/functional.h>, "
    "<pybind11/chrono.h>, etc. Some automatic\nconversions are optional and require extra headers to be included\n"
    "when compiling your pybind11 module."
)


class Bound:
    """A class of pyxrt. An object made without arguments is a null pointer, as in XRT: any use of it is fatal."""

    def __getattr__(self, name: str) -> NoReturn:
        cls = type(self)
        if name.startswith("_") and not name.startswith("__"):
            raise ProcessAborted(f"a default-constructed pyxrt.{cls.__name__} was used: XRT would crash (SIGSEGV)")
        raise AttributeError(
            f"'pyxrt.{cls.__name__}' object has no attribute '{name}'; pyxrt 2.25 has: {', '.join(public(cls))}"
        )


def public(owner: Any) -> list[str]:
    """Public names of a class or module."""
    return [name for name in dir(owner) if not name.startswith("_")]


def incompatible(name: str, forms: tuple[str, ...], given: tuple[Any, ...], hint: bool = False) -> TypeError:
    """The error of pybind11 for arguments that fit none of the `forms` of a function.

    hint: with what pybind11 adds where a type has no Python form at all.
    """
    what = "constructor" if name == "__init__" else "function"
    listed = "\n".join(f"    {number}. {form}" for number, form in enumerate(forms, 1))
    return TypeError(
        f"{name}(): incompatible {what} arguments. The following argument types are supported:\n{listed}\n\n"
        f"Invoked with: {', '.join(map(repr, given))}{_HINT if hint else ''}"
    )


def is_int(value: Any, bounds: tuple[int, int]) -> bool:
    """Whether pybind11 takes `value` as an integer within `bounds`: no float, no text, no None."""
    if isinstance(value, float | str | bytes):
        return False
    try:
        return bounds[0] <= int(value) <= bounds[1]
    except (TypeError, ValueError):
        return False


def keywords(given: tuple[Any, ...], named: dict[str, Any], names: tuple[str, ...]) -> tuple[Any, ...] | None:
    """Arguments in the order of `names`; None where the named ones do not go on where the others end."""
    rest = names[len(given) : len(given) + len(named)]
    return (*given, *(named[name] for name in rest)) if set(rest) == set(named) else None
