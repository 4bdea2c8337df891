"""Finds kernels: every kernel has a folder with a `spec.py`.

Its `SPEC` is the kernel, and `VARIANTS` are kernels that differ from it only in their sizes.
"""

from __future__ import annotations

import runpy
from functools import cache
from pathlib import Path

from harness.errors import RequestError, nearest, nearest_key
from harness.kernel.spec import KernelSpec


def kernels_root() -> Path:
    """The folder of kernel folders: beside the package in a source tree, inside it in a wheel."""
    package = Path(__file__).parents[1]
    inside = package / "kernels"
    return inside if inside.is_dir() else package.parent / "kernels"


def kernel_names(root: Path | None = None) -> tuple[str, ...]:
    """Names of all kernels in the folders of `root`, variants included.

    A folder whose `spec.py` cannot be loaded contributes its own name only.
    """
    names: list[str] = []
    for path in sorted((root or kernels_root()).glob("*/spec.py")):
        try:
            names += _load_folder(path, path.parent.name)
        except RequestError:
            names.append(path.parent.name)
    return tuple(names)


def check_kernel(name: str, override: str) -> None:
    """Raise RequestError about `override` unless a kernel or a variant is named `name`."""
    root = kernels_root()
    folder = _folder_of(name, root)
    known = folder == name
    if folder and not known:
        try:
            known = name in _load_folder(root / folder / "spec.py", name)
        except RequestError:
            # A run of the kernel reports a wrong file; other runs do not need it.
            known = True
    if not known:
        raise RequestError(f"{override}: no such kernel; {nearest_key(override, kernel_names())}")


@cache
def load_kernel(name: str, root: Path | None = None) -> KernelSpec:
    """Load kernel `name` from a folder of `root`: its `SPEC`, or the variant `<folder>_<suffix>`.

    RequestError if no folder defines the name, or its `spec.py` cannot be loaded.

        spec = load_kernel("matmul_64")  # a variant in kernels/matmul/spec.py
        outputs = spec.reference(a, b)  # (tiles, 64, 64) int8 each
    """
    root = root or kernels_root()
    folder = _folder_of(name, root)
    if not folder:
        raise RequestError(
            f"kernel {name}: no such kernel; {nearest(name, kernel_names(root))}; a new one is a "
            "folder of that name with a spec.py"
        )
    specs = _load_folder(root / folder / "spec.py", name)
    if name not in specs:
        raise RequestError(f"kernel {name}: no such variant of {folder}; {nearest(name, specs)}")
    return specs[name]


def kernel_source(name: str, root: Path | None = None) -> Path | None:
    """The C++ of kernel `name`: `<folder>/<folder>.cc`, which defines the function `name`.

    None if the kernel has none.
    """
    root = root or kernels_root()
    folder = _folder_of(name, root)
    path = root / folder / f"{folder}.cc"
    return path if folder and path.is_file() else None


def _folders(root: Path) -> list[str]:
    return [path.parent.name for path in root.glob("*/spec.py")]


def _folder_of(name: str, root: Path) -> str:
    """The folder that defines a kernel or variant of this name; empty if there is none."""
    owners = [folder for folder in _folders(root) if f"{name}_".startswith(f"{folder}_")]
    # The longest name decides: `matmul_gelu` is a folder of its own, and no variant of `matmul`.
    return max(owners, key=len, default="")


def _load_folder(path: Path, name: str) -> dict[str, KernelSpec]:
    """Run a `spec.py` and return its kernels by name; error messages start with `name`."""
    try:
        # Run as a file, so that a folder of kernels need not be a Python package.
        namespace = runpy.run_path(str(path))
    # A spec.py may raise anything, and a call of sys.exit in it must not end the harness.
    except (Exception, SystemExit) as error:
        raise RequestError(
            f"kernel {name}: {path} cannot be loaded ({type(error).__name__}: {error})"
        ) from error
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
    return {each.name: each for each in (spec, *variants)}
