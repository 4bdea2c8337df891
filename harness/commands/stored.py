"""Records in the folders that a user names: of a run, of a sweep, or below outputs/."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from harness.errors import HarnessError, RequestError
from harness.results.record import FILE_NAME, Record
from harness.study.roadmap import MLFLOW_COPIES

SWEEP_FILE = "multirun.yaml"
"""What Hydra writes into the folder of a sweep."""


def newest(outputs: Path) -> Path:
    """The folder of the newest run or sweep below `outputs`; RequestError where there is none."""
    latest = max(_records_below(outputs), key=lambda path: path.stat().st_mtime_ns, default=None)
    if latest is None:
        raise RequestError(f"{outputs}: no runs here; give the folder of a run or of a sweep")
    for folder in latest.parents:
        if (folder / SWEEP_FILE).is_file():
            return folder
        if folder == outputs:
            break
    return latest.parent


def load_runs(paths: Iterable[Path]) -> list[tuple[Record, Path]]:
    """The records of runs and sweeps with their folders, each once, in the order of the jobs.

    A path is the folder of a run, its record.json, or a folder of runs, such as that of a sweep.
    RequestError for a path without records, and for a record that cannot be read.
    """
    folders: dict[Path, None] = {}
    for path in paths:
        folders.update(dict.fromkeys(_folders(path)))
    try:
        return [(Record.load(folder), folder) for folder in folders]
    except HarnessError as error:
        raise RequestError(str(error)) from error


def run_folders(folder: Path) -> list[Path]:
    """The folders of all runs below a folder, in the order of the jobs."""
    return sorted((path.parent for path in _records_below(folder)), key=_by_number)


def _folders(path: Path) -> list[Path]:
    """The folders of all runs that a path names."""
    if path.is_file():
        if path.name != FILE_NAME:
            raise RequestError(f"{path}: not a record; give a {FILE_NAME}, or its folder")
        return [path.parent]
    if not path.exists():
        raise RequestError(f"{path}: no such folder; give the folder of a run or of a sweep")
    if (path / FILE_NAME).is_file():
        return [path]
    folders = run_folders(path)
    if not folders:
        raise RequestError(f"{path}: no {FILE_NAME} here; give the folder of a run or of a sweep")
    return folders


def _records_below(folder: Path) -> Iterator[Path]:
    """Every record, without the copies that MLflow holds."""
    for path in folder.glob(f"**/{FILE_NAME}"):
        if path.parent.name != MLFLOW_COPIES:
            yield path


def _by_number(folder: Path) -> list[tuple[int, str]]:
    """A sort key that puts job 10 after job 9."""
    pieces = re.split(r"(\d+)", str(folder))
    return [(int(piece) if piece.isdigit() else -1, piece) for piece in pieces]
