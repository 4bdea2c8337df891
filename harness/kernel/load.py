"""Loads the kernels of one declaration, and again after a change of a file behind it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from threading import RLock

from harness.errors import RequestError
from harness.kernel.declare import read_declaration
from harness.kernel.folders import Place
from harness.kernel.modules import load_module, one_line
from harness.kernel.spec import KernelSpec

SPEC_FILE = "spec.py"
Stamp = tuple[Path, int, int]
"""A file, its time of change in ns, and its size; 0 and -1 for a file that does not exist."""


@dataclass(frozen=True)
class _Loaded:
    """The kernels of a declaration by name, and the files that they were loaded from."""

    specs: dict[str, KernelSpec]
    stamps: tuple[Stamp, ...]


_known: dict[tuple[Path, bool], _Loaded] = {}
_open: list[set[Path]] = []
"""Files of the declarations that are being loaded: a reference may load other kernels."""
_lock = RLock()


def kernels_in(path: Path, place: Place, name: str) -> dict[str, KernelSpec]:
    """The kernels of a YAML file or of a `spec.py`, by name.

    They are loaded again if one of their files has changed. name: leads messages about a `spec.py`.
    RequestError if the declaration is wrong.
    """
    with _lock:
        key = path, place.own
        known = _known.get(key)
        if not known or any(_stamp(file) != (file, *rest) for file, *rest in known.stamps):
            known = _known[key] = _load(path, place, name)
        if _open:
            _open[-1].update(file for file, _, _ in known.stamps)
        return known.specs


def files_behind(path: Path) -> list[Path]:
    """The files that the kernels of a declaration were loaded from; the declaration is the first.

    Those of the kernels that they use too.
    """
    with _lock:
        loaded = [each for (file, _), each in _known.items() if file == path]
        return [file for each in loaded[-1:] for file, _, _ in each.stamps]


def _load(path: Path, place: Place, name: str) -> _Loaded:
    _open.append(set())
    try:
        # Before the files are read: a change while they are read is then seen.
        before = {path: _stamp(path)}
        if path.name == SPEC_FILE:
            folder = path.parent
            before |= _stamps_of_modules(folder)
            specs = _specs_of(path, name, place.own)
        else:
            spec = read_declaration(path, place.kernels, place.own)
            specs, folder = {spec.name: spec}, spec.folder or place.kernels
            before |= _stamps_of_modules(folder)
    finally:
        used = _open.pop()
    others = {file: _stamp(file) for file in sorted(used)}
    return _Loaded(specs, tuple({**others, **before}[file] for file in [*before, *others]))


def _stamps_of_modules(folder: Path) -> dict[Path, Stamp]:
    return {file: _stamp(file) for file in sorted(folder.rglob("*.py"))}


def _stamp(path: Path) -> Stamp:
    try:
        state = path.stat()
    except OSError:
        return path, 0, -1
    return path, state.st_mtime_ns, state.st_size


def _specs_of(path: Path, name: str, own: bool) -> dict[str, KernelSpec]:
    """Run a `spec.py` and return its kernels by name; error messages start with `name`."""
    try:
        # Run as a file, so that a folder of kernels need not be a Python package.
        namespace = vars(load_module(path))
    # A spec.py may raise anything, and a call of sys.exit in it must not end the harness.
    except (Exception, SystemExit) as error:
        raise RequestError(f"kernel {name}: {path} cannot be loaded ({one_line(error)})") from error
    spec, variants, folder = namespace.get("SPEC"), namespace.get("VARIANTS", ()), path.parent.name
    if not isinstance(spec, KernelSpec):
        raise RequestError(
            f"kernel {name}: {path} defines no SPEC that is a harness.kernel.KernelSpec"
        )
    if spec.name != folder:
        raise RequestError(
            f"kernel {name}: the SPEC of {path} is named {spec.name}; name it {folder}, "
            "as its folder"
        )
    if not isinstance(variants, tuple) or not all(
        isinstance(each, KernelSpec) for each in variants
    ):
        raise RequestError(
            f"kernel {name}: VARIANTS of {path} is not a tuple of harness.kernel.KernelSpec"
        )
    for each in variants:
        if not each.name.startswith(f"{folder}_"):
            raise RequestError(
                f"kernel {name}: a variant of {path} is named {each.name}; "
                f"name it {folder}_<suffix>"
            )
    return {each.name: replace(each, folder=path.parent, own=own) for each in (spec, *variants)}
