"""The folder of a run: a temporary one if it cannot be created; none for a refused run."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Container, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from harness.config.sources import key_and_value


def temporary_folder() -> str:
    """A new temporary folder, or the current one if that fails."""
    try:
        return tempfile.mkdtemp(prefix="harness-")
    except OSError:
        return "."


def existing_folders(overrides: Sequence[str]) -> set[Path]:
    """The folders of runs and sweeps that overrides name and that exist, with those above them.

    Of a name with `${...}`, the part before it.
    """
    existing = {Path("outputs").absolute()}
    for text in overrides:
        key, value = key_and_value(text)
        if key in ("hydra.run.dir", "hydra.sweep.dir", "hydra.sweep.subdir"):
            named = Path(value.strip("'\"").partition("${")[0]).absolute()
            existing |= {named, *named.parents}
    return {folder for folder in existing if folder.is_dir()}


def discard(folder: Path, kept: Container[Path] = ()) -> None:
    """Remove the files that Hydra wrote for a refused run, and folders that are then empty.

    kept: folders to leave, because they existed before the run.
    """
    for name in ("config.yaml", "hydra.yaml", "overrides.yaml"):
        with suppress(OSError):
            (folder / ".hydra" / name).unlink()
    here = Path.cwd()
    parents = [
        parent for parent in folder.parents if parent.is_relative_to(here) and parent != here
    ]
    for handler in logging.getLogger().handlers[:]:
        if isinstance(
            handler, logging.FileHandler
        ):  # it would open its file in the folder that goes
            logging.getLogger().removeHandler(handler)
    with suppress(OSError):
        for empty in (folder / ".hydra", folder, *parents):
            if empty.absolute() in kept:
                break
            empty.rmdir()


@contextmanager
def discarding(folder: Path, kept: Container[Path] = ()) -> Iterator[None]:
    """In this context, Ctrl-C discards the folder: the run has not begun, so it has no record."""
    try:
        yield
    except KeyboardInterrupt:
        discard(folder, kept)
        raise
