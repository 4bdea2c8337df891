"""The folders in which presets and kernels are found: the user's, then the harness's.

A place is a folder of presets (`conf`) and the folder `kernels` beside it. The user's places are
that of `--config-dir` and that of the current folder. Places are a property of the process and not
of a request, because kernels are loaded by name in layers that know no request. They are in an
environment variable, so that the processes that a launcher starts find the same kernels from any
current folder.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

from harness.errors import RequestError

VARIABLE = "HARNESS_CONF_FOLDERS"
"""Environment variable with the user's folders of presets, a JSON list of absolute paths.

Without it, the only one is `conf` in the current folder.
"""
PRESETS, KERNELS, DECLARATIONS = "conf", "kernels", "kernel"
"""Names of folders: of presets, of kernel folders beside it, and the group of declarations."""


@dataclass(frozen=True)
class Place:
    """A folder of presets, and a folder of kernel folders. own: they are the user's."""

    conf: Path
    kernels: Path
    own: bool = False


def conf_root() -> Path:
    """The harness's folder of presets: beside the package in the source, inside it in a wheel."""
    return _beside_or_inside(PRESETS)


def kernels_root() -> Path:
    """The harness's folder of kernel folders; see `conf_root`."""
    return _beside_or_inside(KERNELS)


@cache
def _beside_or_inside(name: str) -> Path:
    package = Path(__file__).parents[1]
    inside = package / name
    return inside if inside.is_dir() else package.parent / name


def own_folders() -> tuple[Path, ...]:
    """The user's folders of presets, absolute; the first that has a name decides.

    A folder need not exist: the current folder may have `kernels` without `conf`. RequestError if
    the variable has no list.
    """
    listed = os.environ.get(VARIABLE)
    if listed is None:
        return folders_with(None)
    try:
        return tuple(map(Path, json.loads(listed)))
    except (ValueError, TypeError) as error:
        raise RequestError(
            f"{VARIABLE}={listed}: not a JSON list of paths; unset it: commands set it themselves"
        ) from error


def own_preset_folders() -> tuple[Path, ...]:
    """Those of `own_folders` that exist."""
    return tuple(folder for folder in own_folders() if folder.is_dir())


def places() -> tuple[Place, ...]:
    """The user's places, then the harness's."""
    return _places(own_folders())


@lru_cache(maxsize=8)
def _places(own: tuple[Path, ...]) -> tuple[Place, ...]:
    users = (Place(conf, conf.parent / KERNELS, own=True) for conf in own)
    return (*users, Place(conf_root(), kernels_root()))


@contextmanager
def looking_in(config_dir: Path | None) -> Iterator[None]:
    """In this context, the user's folders are `config_dir` and `conf` of the current folder."""
    before = os.environ.get(VARIABLE)
    if config_dir is not None or before is None:
        os.environ[VARIABLE] = json.dumps([str(each) for each in folders_with(config_dir)])
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(VARIABLE, None)
        else:
            os.environ[VARIABLE] = before


def folders_with(config_dir: Path | None) -> tuple[Path, ...]:
    """The user's folders of presets if a command names `config_dir`."""
    try:
        here = os.getcwd()  # noqa: PTH109 - a run asks often, and Path.cwd is slow
    except FileNotFoundError:  # the current folder was removed
        here = ""
    return _folders_from(here, config_dir)


@lru_cache(maxsize=8)
def _folders_from(here: str, config_dir: Path | None) -> tuple[Path, ...]:
    folders = [Path(here, PRESETS)] if here else []
    if config_dir is not None:
        # The parent of `..` as text is not its parent on the disk.
        dots = ".." in config_dir.parts
        folders.insert(0, config_dir.resolve() if dots else config_dir.absolute())
    ours = conf_root().resolve()
    # In the harness's own checkout, the presets of the current folder are the harness's.
    return tuple(dict.fromkeys(each for each in folders if each.resolve() != ours))


def shown(path: Path) -> str:
    """A path relative to the current folder, if it is below it."""
    path, here = path.absolute(), Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)
