"""Records in the folders that a user names: of a run, of a sweep, or below outputs/."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from harness.commands.resume import as_requested, resumed
from harness.errors import HarnessError, RequestError
from harness.results.find import SWEEP_FILE, by_number, record_files, run_folders
from harness.results.record import FILE_NAME, Record

NO_RECORD = "still runs, was killed, ended with an internal error, or could not store it"
BEGUN_FILE = ".hydra/overrides.yaml"
"""What Hydra writes into the folder of a run before it begins."""


def newest(outputs: Path) -> tuple[Path, list[str]]:
    """The folder of the newest run or sweep below `outputs` that has a record.

    Also returns a remark if newer ones have none. RequestError where there is no record.
    """
    records, begun = list(record_files(outputs)), list(outputs.glob(f"**/{BEGUN_FILE}"))
    if not records:
        reason = "; ".join(unended(outputs)) or "no runs here"
        raise RequestError(f"{outputs}: {reason}; give the folder of a run or of a sweep")
    # By the time of writing: hydra.run.dir gives a folder any name.
    shown = _run_or_sweep(max(records, key=_modified).parent, outputs)
    last = _run_or_sweep(max(begun, key=_modified).parents[1], outputs) if begun else shown
    # A sweep that still runs has some records, and is shown as far as it is.
    if last == shown or next(record_files(last), None):
        return last, []
    lines = unended(last)
    return shown, [f"{last}: {line}; {shown} is the newest with records" for line in lines]


def unended(folder: Path) -> list[str]:
    """A remark if runs below a folder have begun and have no record; empty if there are none."""
    begun = {path.parents[1] for path in folder.glob(f"**/{BEGUN_FILE}")}
    lacking = sorted((each for each in begun if not (each / FILE_NAME).exists()), key=by_number)
    if not lacking:
        return []
    if lacking == [folder]:
        return [f"the run has no record: it {NO_RECORD}"]
    names = ", ".join(str(each.relative_to(folder)) for each in lacking)
    what, have = ("sweep", "job") if (folder / SWEEP_FILE).is_file() else ("run", "run")
    have = f"{have}s {names} have" if len(lacking) > 1 else f"{have} {names} has"
    return [f"{have} no record: the {what} {NO_RECORD}"]


def _run_or_sweep(folder: Path, outputs: Path) -> Path:
    """The folder of a run, or of the sweep that the run is part of."""
    for each in (folder, *folder.parents):
        if (each / SWEEP_FILE).is_file():
            return each
        if each == outputs:
            break
    return folder


def _modified(path: Path) -> int:
    return path.stat().st_mtime_ns


def load_runs(paths: Iterable[Path]) -> list[tuple[Record, Path]]:
    """The records of runs and sweeps with their folders, each once, in the order of the jobs.

    A path is the folder of a run, its record.json, or a folder of runs, such as that of a sweep.
    RequestError for a path without records, and for a record that cannot be read.
    """
    loaded = dict[Path, tuple[Record, Path]]()
    for path in paths:
        requests, earlier = resumed(path)
        try:
            runs = [(Record.load(folder), folder) for folder in [*earlier, *folders_of(path)]]
        except HarnessError as error:
            raise RequestError(str(error)) from error
        for run in as_requested(requests, runs) if requests else runs:
            loaded.setdefault(run[1], run)
    return list(loaded.values())


def folders_of(path: Path) -> list[Path]:
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
        reason = "; ".join(unended(path)) or f"no {FILE_NAME} here"
        raise RequestError(f"{path}: {reason}; give the folder of a run or of a sweep")
    return folders
