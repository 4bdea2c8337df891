"""The first failure of MLflow in a sweep, for all processes that run its jobs, until it ends."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

FAILURE_FILE = ".tracking-failure"
"""File of a sweep with the reason."""


def note_failure(sweep: Path, reason: str) -> bool:
    """Store the reason in the folder of a sweep; returns whether that was possible."""
    try:
        (sweep / FAILURE_FILE).write_text(reason)
    except OSError:
        return False
    return True


def noted_failure(sweep: Path) -> str | None:
    """The reason that a process of the sweep has stored."""
    try:
        return (sweep / FAILURE_FILE).read_text()
    except OSError:
        return None


def forget_failure(sweep: Path) -> None:
    """Remove the reason from the folder of a sweep."""
    with suppress(OSError):
        (sweep / FAILURE_FILE).unlink()
