"""Records of MLflow runs that a user names by id, for the commands that read stored runs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from harness.commands.open_store import tracking_of
from harness.commands.resume import Run
from harness.commands.stored import load_runs
from harness.config.schema import Tracking
from harness.errors import RequestError
from harness.results.find import sweep_of
from harness.tracking.locate import RUN_ID, Located
from harness.tracking.store import TrackingError, backend_of

KEY = "tracking"
"""The only group that commands on stored runs take overrides of."""


def is_override(text: str) -> bool:
    """Whether an argument sets a key, and is no existing file."""
    return "=" in text and not text.startswith("-") and not Path(text).exists()


def is_run_id(text: str) -> bool:
    """Whether an argument can only be an id of MLflow: at least 8 of its characters, no file."""
    return bool(RUN_ID.fullmatch(text)) and not Path(text).exists()


def take_tracking(arguments: Iterable[str], what: str) -> tuple[list[str], list[str]]:
    """The arguments without overrides of the store, and these overrides.

    RequestError for any other override, and for those of the store without an id of a run. what:
    the command, for the message.
    """
    rest, overrides = list[str](), list[str]()
    for each in arguments:
        names_store = is_override(each) and each.partition("=")[0].split(".")[0] == KEY
        (overrides if names_store else rest).append(each)
    if other := next(filter(is_override, rest), None):
        raise RequestError(
            f"{other}: {what} reads stored runs; only {KEY} can be overridden, to find ids in"
        )
    if overrides and not any(map(is_run_id, rest)):
        raise RequestError(
            f"{overrides[0]}: without effect, because {what} gets no id of an MLflow run; leave it "
            "out"
        )
    return rest, overrides


def named_runs(paths: Iterable[Path], overrides: Sequence[str] = ()) -> list[Run]:
    """As `load_runs`; a path may also be the id of an MLflow run.

    The id is also the folder of a record that only MLflow has. overrides: name the store.
    """
    loaded = dict[Path, Run]()
    for path in paths:
        for run in _of_id(path, overrides) if is_run_id(str(path)) else load_runs([path]):
            loaded.setdefault(run[1], run)
    return list(loaded.values())


def folder_of(path: Path, runs: Sequence[Run]) -> Path:
    """The folder of the run or of the sweep that a path or an id names. runs: as `named_runs`.

    It does not exist where only MLflow has the record.
    """
    if path.exists():
        return path.parent if path.is_file() else path
    first = runs[0][1]
    return (sweep_of(first) or first) if len(runs) > 1 else first


def _of_id(run_id: Path, overrides: Sequence[str]) -> list[Run]:
    found = located(str(run_id), overrides)
    return [*load_runs(found.folders), *((record, Path(each)) for record, each in found.downloaded)]


def located(run_id: str, overrides: Sequence[str]) -> Located:
    """The records of a run in the store that overrides name; RequestError if that fails."""
    tracking = tracking_of(overrides, "the command reads")
    backend = backend_of(tracking)
    find = getattr(backend, "locate", None)
    if backend is None or find is None:
        raise RequestError(
            f"{run_id}: no such folder, and {_without_store(tracking)} to find an id in; give the "
            "folder of a run"
        )
    try:
        result: Located = find(tracking, Path.cwd(), run_id)
    except TrackingError as error:
        raise RequestError(
            f"{run_id}: no such folder, and {error}; give the folder of a run, or another store"
        ) from error
    return result


def _without_store(tracking: Tracking) -> str:
    if backend_of(tracking) is None:
        return "tracking=off has no store"
    return f"tracking.backend={tracking.backend} has no ids"
