"""Finds kernels by name, in the user's folders first: `harness.kernel.folders`.

A kernel is a file `conf/kernel/<name>.yaml`, or a folder `kernels/<name>/` with a `spec.py`, whose
`SPEC` is the kernel, and whose `VARIANTS` are kernels that differ from it only in their sizes.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path

from harness.errors import RequestError, nearest, nearest_key
from harness.kernel.declare import NAME
from harness.kernel.folders import DECLARATIONS, PRESETS, Place, kernels_root, places, shown
from harness.kernel.load import SPEC_FILE, files_behind, kernels_in
from harness.kernel.spec import KernelSpec

CODE = {".py", ".cc", ".cpp", ".c", ".h", ".hpp", ".yaml"}
"""Files of a kernel's folder that decide what it computes."""
NOT_CODE = {"__pycache__", "build"}


@dataclass(frozen=True)
class Declaration:
    """Where a kernel is declared: a YAML file, or a `spec.py`. own: by the user.

    hides: the harness has a kernel of the same name, which is not used.
    """

    name: str
    path: Path
    own: bool = False
    hides: bool = False


def declarations(root: Path | None = None) -> dict[str, Declaration]:
    """All kernels by name, variants included; of two with one name, the user's.

    A `spec.py` that cannot be loaded contributes the name of its folder only.
    """
    known = dict[str, Declaration]()
    for place in _places(root):
        for name, path in _declared_in(place):
            if name not in known:
                known[name] = Declaration(name, path, place.own)
            elif known[name].own and not place.own:
                known[name] = replace(known[name], hides=True)
    return dict(sorted(known.items()))


def kernel_names(root: Path | None = None) -> tuple[str, ...]:
    """Names of all kernels; root: as in `load_kernel`."""
    return tuple(declarations(root))


def check_kernel(name: str, override: str) -> None:
    """Raise RequestError about `override` unless a kernel or a variant is named `name`."""
    if not any(_may_have(name, place) for place in places()):
        raise RequestError(f"{override}: no such kernel; {nearest_key(override, kernel_names())}")


def load_kernel(name: str, root: Path | None = None) -> KernelSpec:
    """Load kernel `name`; the same object until one of its files changes.

    root: only the kernels of this folder of kernel folders, and of `conf/kernel` beside it; by
    default the user's, then the harness's. RequestError if nothing declares the name, or if the
    declaration is wrong.

        spec = load_kernel("matmul_64")
        outputs = spec.reference(a, b)  # (tiles, 64, 64) int8 each
    """
    return _located(name, root)[0]


def kernel_source(spec: KernelSpec) -> Path | None:
    """The C++ of a kernel: `<folder>/<folder>.cc`, which defines the function `spec.name`.

    None if the kernel has none, or if its arguments are not those of the declaration with its
    name: C++ takes pointers, and would use memory beyond smaller buffers.
    """
    try:
        declared = load_kernel(spec.name)
    except RequestError:
        return None
    folder = spec.folder
    if folder is None or (folder, spec.arguments) != (declared.folder, declared.arguments):
        return None
    path = folder / f"{folder.name}.cc"
    return path if path.is_file() else None


def hidden_by(name: str) -> str:
    """A remark if a kernel of the user hides one of the harness; else empty."""
    declared = declarations().get(name)
    if not declared or not declared.hides:
        return ""
    return f"kernel {name}: {shown(declared.path)} is used, not the kernel of the harness"


def kernel_hash(name: str) -> str:
    """sha256 of a kernel's declaration and of the code that it uses, without their paths.

    RequestError for a kernel that cannot be loaded.
    """
    spec, path = _located(name, None)
    files = [*files_behind(path), *(_code_in(spec.folder) if spec.folder else ())]
    digest = sha256()
    for file in dict.fromkeys(files):
        content = file.read_bytes() if file.is_file() else b""
        digest.update(f"{file.name} {len(content)} ".encode())
        digest.update(content)
    return digest.hexdigest()


def _located(name: str, root: Path | None) -> tuple[KernelSpec, Path]:
    """A kernel and the file that declares it."""
    problem: RequestError | None = None
    for place in _places(root):
        if not (path := _find(name, place)):
            continue
        try:
            specs = kernels_in(path, place, name)
        except RequestError as error:
            if _is_exact(name, path):
                raise
            # A file that may have had it as a variant: another place may declare it.
            problem = problem or error
            continue
        if name in specs:
            return specs[name], path
        variants = nearest(name, specs)
        problem = problem or RequestError(
            f"kernel {name}: no such variant of {path.parent.name}; {variants}"
        )
    if unread := _unread(name, root):
        raise RequestError(
            f"kernel {name}: {unread} is not read; name it <name>.yaml, with letters, digits, - "
            "and _, and no digit first"
        )
    raise problem or RequestError(
        f"kernel {name}: no such kernel; {nearest(name, kernel_names(root))}; a new one is a file "
        f"{PRESETS}/{DECLARATIONS}/<name>.yaml, or a folder of that name with a {SPEC_FILE}"
    )


def _unread(name: str, root: Path | None) -> Path | None:
    """A file that seems to declare this kernel, and is not read because of its name."""
    for place in _places(root):
        for path in sorted((place.conf / DECLARATIONS).glob("*.y*ml")):
            if path.name == f"{name}.yml" or (path.stem == name and not NAME.fullmatch(name)):
                return path
    return None


def _places(root: Path | None) -> tuple[Place, ...]:
    return (Place(root.parent / PRESETS, root),) if root else places()


def _declared_in(place: Place) -> Iterator[tuple[str, Path]]:
    """Names and files of the kernels of one place; YAML first, which decides there."""
    for path in sorted((place.conf / DECLARATIONS).glob("*.yaml")):
        if NAME.fullmatch(path.stem):
            yield path.stem, path
    for folder in _spec_folders(place):
        path = place.kernels / folder / SPEC_FILE
        try:
            names: Iterable[str] = kernels_in(path, place, folder)
        except RequestError:
            names = [folder]
        yield from ((name, path) for name in names)


def _spec_folders(place: Place) -> list[str]:
    # `--config-dir mine` in the harness's own checkout: the kernels beside it are the harness's.
    if place.own and place.kernels.resolve() == kernels_root().resolve():
        return []
    return sorted(path.parent.name for path in place.kernels.glob(f"*/{SPEC_FILE}"))


def _find(name: str, place: Place) -> Path | None:
    """The file of a place that declares a kernel of this name, or may have it as a variant."""
    path = place.conf / DECLARATIONS / f"{name}.yaml"
    if NAME.fullmatch(name) and path.is_file():
        return path
    owners = [each for each in _spec_folders(place) if f"{name}_".startswith(f"{each}_")]
    # The longest name decides: `matmul_gelu` is a folder of its own, and no variant of `matmul`.
    folder = max(owners, key=len, default="")
    return place.kernels / folder / SPEC_FILE if folder else None


def _is_exact(name: str, path: Path) -> bool:
    return path.name != SPEC_FILE or path.parent.name == name


def _may_have(name: str, place: Place) -> bool:
    path = _find(name, place)
    if path is None or _is_exact(name, path):
        return path is not None
    try:
        return name in kernels_in(path, place, name)
    except RequestError:
        # A run of the kernel reports a wrong file; other runs do not need it.
        return True


def _code_in(folder: Path) -> Iterator[Path]:
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(set(folders) - NOT_CODE)
        yield from (Path(place, name) for name in sorted(names) if Path(name).suffix in CODE)
