"""Records in the folders that a user names: of a run, of a sweep, or below outputs/."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from harness.commands.resume import as_requested, resumed
from harness.errors import HarnessError, RequestError
from harness.results.find import SWEEP_FILE, by_number, record_files, run_folders, sweep_of
from harness.results.record import FILE_NAME, Record
from harness.results.shared_parts import SharedParts
from harness.results.whole_file import write_json

JOBS_FILE = "jobs.json"
"""File of a sweep that lists the overrides of each job; `save_jobs` writes it."""
NO_RECORD = "still runs, was killed, or could not store it"
LOG_FILE = "harness.log"
"""Log of a run in its folder (conf/hydra/job_logging)."""
INTERNAL_ERROR = "internal error"
"""Message of the log above the traceback of an internal error."""
BEGUN_FILE = ".hydra/overrides.yaml"
"""What Hydra writes into the folder of a run before it begins."""


def newest(outputs: Path) -> tuple[Path, list[str]]:
    """The folder of the newest run or sweep below `outputs` that has a record.

    Also returns a remark if newer ones have none. RequestError where there is no record.
    """
    records, begun = list(record_files(outputs)), list(outputs.glob(f"**/{BEGUN_FILE}"))
    if not records:
        raise _without_records(outputs, "no runs here")
    # By the time of writing: hydra.run.dir gives a folder any name.
    shown = _run_or_sweep(max(records, key=_modified).parent, outputs)
    last = _run_or_sweep(max(begun, key=_modified).parents[1], outputs) if begun else shown
    # A sweep that still runs has some records, and is shown as far as it is.
    if last == shown or next(record_files(last), None):
        return last, []
    lines = unended(last)
    return shown, [f"{last}: {line}; {shown} is the newest with records" for line in lines]


def unended(folder: Path) -> list[str]:
    """Remarks about runs below a folder that have no record, and about jobs that never began."""
    begun = {path.parents[1] for path in folder.glob(f"**/{BEGUN_FILE}")}
    lacking = sorted((each for each in begun if not (each / FILE_NAME).exists()), key=by_number)
    # The same sweep again runs a job that was killed in a new folder.
    sweeps = {each.parent for each in lacking}
    done = {(each.parent, _overrides(each)) for each in begun - {*lacking} if each.parent in sweeps}
    lacking = [each for each in lacking if (each.parent, _overrides(each)) not in done]
    lines, others = list[str](), list[Path]()
    for each in lacking:
        if _failed_inside(each):
            log = each / LOG_FILE
            lines.append(f"{log}: the traceback of an internal error, which ended this run")
        else:
            others.append(each)
    what, one = ("sweep", "job") if (folder / SWEEP_FILE).is_file() else ("run", "run")
    if others == [folder]:
        lines.append(f"the run has no record: it {NO_RECORD}")
    elif others:
        names = ", ".join(str(each.relative_to(folder)) for each in others)
        have = f"{one}s {names} have" if len(others) > 1 else f"{one} {names} has"
        lines.append(f"{have} no record: the {what} {NO_RECORD}")
    # Without hydra.output_subdir, a run leaves its record and its log only.
    begun |= {path.parent for name in (FILE_NAME, LOG_FILE) for path in folder.glob(f"**/{name}")}
    for path in sorted(folder.glob(f"**/{JOBS_FILE}")):
        total, first = _numbers_of_jobs(path)
        left = total - sum(
            path.parent in each.parents and _number(each, path.parent, first) >= first
            for each in begun
        )
        sweep = "the sweep" if path.parent == folder else f"sweep {path.parent.relative_to(folder)}"
        if left > 0:
            lines.append(
                f"{left} of {total} jobs never began: {sweep} still runs, was interrupted, or was "
                "killed"
            )
    return lines


def save_jobs(folder: Path, jobs: Sequence[Sequence[str]], first_number: int) -> None:
    """Store the overrides of each job of a sweep in its folder.

    Without effect if that fails: the file only serves `unended`, and the sweep needs no such file.
    first_number: number of the first job; greater than 0 if the folder has jobs of a sweep before.
    """
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / JOBS_FILE, {"first_number": first_number, "overrides": jobs})


def _numbers_of_jobs(path: Path) -> tuple[int, int]:
    """How many jobs are in a JOBS_FILE, and how many were before; 0 if it cannot be read."""
    try:
        stored = json.loads(path.read_text())
        return len(stored["overrides"]), stored["first_number"]
    except (OSError, ValueError, TypeError, KeyError):
        return 0, 0


def _number(run: Path, sweep: Path, default: int) -> int:
    """The number of a job by its folder; `default` where folders have other names."""
    name = run.relative_to(sweep).parts[0]
    return int(name) if name.isdigit() else default


def _overrides(run: Path) -> str:
    """The overrides of a run as Hydra stores them; its folder's name if it has none."""
    try:
        return (run / BEGUN_FILE).read_text()
    except (OSError, ValueError):
        return run.name


def _failed_inside(folder: Path) -> bool:
    """Whether the log of a run has the traceback of an internal error."""
    try:
        return INTERNAL_ERROR in (folder / LOG_FILE).read_text()
    except (OSError, ValueError):
        return False


def _without_records(path: Path, default: str) -> RequestError:
    """The error for a folder without records; default: the reason if nothing began here."""
    lines = unended(path)
    above = sweep_of(path)
    if above and next(record_files(above), None):
        lines.append(f"`harness show {above}` shows the other jobs of its sweep")
    remedy = "give the folder of a run or of a sweep"
    return RequestError(f"{path}: {'; '.join(lines) or f'{default}; {remedy}'}")


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
    loaded, shared = dict[Path, tuple[Record, Path]](), SharedParts()
    for path in paths:
        requests, earlier = resumed(path)
        try:
            folders = [*earlier, *folders_of(path)]
            runs = [(shared(Record.load(folder)), folder) for folder in folders]
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
        raise _without_records(path, f"no {FILE_NAME} here")
    return folders
