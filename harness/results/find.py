"""Finds stored records in folders, and reports whether a run is still storing its results."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from harness.results.record import FILE_NAME

MLFLOW_COPIES = "artifacts"
"""Name of the folders that hold MLflow's copies of records."""
TRACE_NAME = "trace.json"
"""File of a run with its timed pass; `harness.report.trace` writes it."""
TIMELINE_NAME = "timeline.png"
"""Picture of the trace."""
ARTIFACTS = (FILE_NAME, TRACE_NAME, TIMELINE_NAME, ".hydra/config.yaml")
SWEEP_FILE = "multirun.yaml"
"""What Hydra writes into the folder of a sweep."""
PART = re.compile(rf"\.({re.escape(FILE_NAME)}|{re.escape(TRACE_NAME)})\.\d+")
"""Name of a file of a run while `harness.results.whole_file` writes it."""


def run_folders(folder: Path) -> list[Path]:
    """The folders of all runs below a folder, in the order of the jobs."""
    return sorted((path.parent for path in record_files(folder)), key=by_number)


def record_files(folder: Path) -> Iterator[Path]:
    """Every record below a folder, without the copies that MLflow holds."""
    # Not by the names of folders with dates, which the user can change.
    for place, _, names in os.walk(folder):
        path = Path(place, FILE_NAME)
        if FILE_NAME in names and path.parent.name != MLFLOW_COPIES:
            yield path


def sweep_of(folder: Path) -> Path | None:
    """The folder of the sweep that a run is part of; None for a single run."""
    return next((each for each in folder.parents if (each / SWEEP_FILE).is_file()), None)


def by_sweep(folders: Sequence[Path]) -> dict[Path | None, list[Path]]:
    """Folders of runs, by the folder of their sweep; None: single runs."""
    groups: dict[Path | None, list[Path]] = {}
    for folder in folders:
        groups.setdefault(sweep_of(folder), []).append(folder)
    return groups


def digest_of(folder: Path) -> str:
    """sha256 of the record in a folder, which identifies the run wherever its folder is."""
    return hashlib.sha256((folder / FILE_NAME).read_bytes()).hexdigest()


def artifacts(folder: Path) -> list[Path]:
    """The files of a run that MLflow copies, as far as they exist."""
    # hydra.output_subdir=null leaves the configuration out.
    return [folder / name for name in ARTIFACTS if (folder / name).is_file()]


@contextmanager
def storing(folder: Path, *, wait: bool = True) -> Iterator[bool]:
    """Hold the lock of a run's folder while its results are stored; False if another process does.

    wait: until the other process ends; else return at once. A file system without locks counts as
    unlocked.
    """
    with locked(folder, wait=wait) as lock:
        yield lock is not False


@contextmanager
def locked(folder: Path, *, wait: bool) -> Iterator[bool | None]:
    """Hold the lock of a folder; False if another process does, None without locks."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        lock: bool | None = True
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            lock = False
        except OSError:
            lock = None
        yield lock
    finally:
        with suppress(OSError):
            os.close(descriptor)


def remove_leftovers(folder: Path) -> None:
    """Remove what killed processes left below a folder: traces without a record, parts of files.

    The folder of a run keeps its log and its configuration, which show what was killed. Files stay
    where a process may still store its results, and on a file system without locks.
    """
    for place, _, names in os.walk(folder):
        run = Path(place)
        left = [name for name in names if PART.fullmatch(name)]
        left += [name for name in (TRACE_NAME,) if name in names and FILE_NAME not in names]
        if not left or run.name == MLFLOW_COPIES:
            continue
        with suppress(OSError), locked(run, wait=False) as lock:
            # Again, because the process may just have ended.
            if TRACE_NAME in left and (run / FILE_NAME).exists():
                left.remove(TRACE_NAME)
            for name in left if lock else []:
                (run / name).unlink(missing_ok=True)


def by_number(folder: Path) -> list[tuple[int, str]]:
    """A sort key that puts job 10 after job 9."""
    pieces = re.split(r"(\d+)", str(folder))
    return [(int(piece) if piece.isdigit() else -1, piece) for piece in pieces]


def next_number(folder: Path) -> int:
    """The number of the next job in a sweep's folder, after all that began."""
    if not folder.is_dir():
        return 0
    return 1 + max((int(each.name) for each in folder.iterdir() if each.name.isdigit()), default=-1)
