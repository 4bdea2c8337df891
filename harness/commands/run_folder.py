"""The folder of a run: a temporary one if it cannot be created; none for a refused run."""

from __future__ import annotations

import logging
import tempfile
from contextlib import suppress
from pathlib import Path


def temporary_folder() -> str:
    """A new temporary folder, or the current one if that fails."""
    try:
        return tempfile.mkdtemp(prefix="harness-")
    except OSError:
        return "."


def discard(folder: Path) -> None:
    """Remove the files that Hydra wrote for a refused run, and folders that are then empty."""
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
            empty.rmdir()
