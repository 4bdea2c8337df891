"""The lines that end a run or a sweep: where its results are and how to look at them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from shlex import join
from shutil import which

from harness.config.compose import conf_dir
from harness.config.schema import Tracking, TrackingKind
from harness.results.find import TIMELINE_NAME, TRACE_NAME, sweep_of
from harness.results.record import FILE_NAME as RECORD_NAME
from harness.tracking.store import LOOPBACK

OUTPUTS = Path("outputs")
"""The folder below which runs and sweeps have theirs."""
PORT = 5000
"""Port at which `harness ui` serves a local store unless it is taken."""
UI_DEFAULTS = {"uri": "sqlite:///outputs/mlflow.db", "experiment": "harness"}
"""Keys of tracking that tell stores apart, with the values of the store that commands open."""
AGAIN = "prints the table again"
MOST_FOLDERS = 3
"""Folders that a message names."""
MLFLOW = "mlflow"
"""Name of the tracking backend, and of the package that it imports."""


def relative(path: Path, here: Path) -> Path:
    """A path as seen from `here`: relative below it, else absolute."""
    path = here / path
    return path.relative_to(here) if path.is_relative_to(here) else path


def run_line(folder: Path) -> str:
    """Where the results of a run are; only the files that exist, empty without any."""
    files = []
    if (folder / RECORD_NAME).is_file():
        files.append(RECORD_NAME)
    if (folder / TRACE_NAME).is_file():
        files.append(f"{TRACE_NAME} (open it in ui.perfetto.dev)")
    if (folder / TIMELINE_NAME).is_file():
        files.append(TIMELINE_NAME)
    return f"results: {relative(folder, Path.cwd())}: {', '.join(files)}" if files else ""


def sweep_line(folder: Path, pictures: Sequence[Path] = ()) -> str:
    """Where the results of a sweep are; empty without any. pictures: those that it has drawn.

    `harness show` without a folder finds only those below `outputs`.
    """
    if not any(folder.glob(f"**/{RECORD_NAME}")):
        return ""
    shown = relative(folder, Path.cwd())
    command = join(["harness", "show", *_arguments(shown)])
    return f"results: {shown}: {', '.join(files_of_sweep(folder, pictures))} ({command} {AGAIN})"


def files_of_sweep(folder: Path, pictures: Sequence[Path]) -> list[str]:
    """What is in the folder of a sweep; pictures: those that it has drawn, some of earlier runs."""
    root, paths = folder.absolute(), [each.absolute() for each in pictures]
    own = [str(each.relative_to(root)) for each in paths if each.is_relative_to(root)]
    return ["a folder per run", *own]


def earlier_line(folders: Sequence[Path]) -> str:
    """Where the results are if no job of a sweep had to run; folders: of the earlier runs."""
    places = places_of(folders)
    if len(places) > MOST_FOLDERS:
        return f"results: {some_of(places)}"
    return f"results: {some_of(places)} ({join(['harness', 'show', *places])} {AGAIN})"


def places_of(folders: Sequence[Path]) -> list[str]:
    """The folders of the sweeps of runs, and of single runs, each once."""
    return [*dict.fromkeys(str(sweep_of(each) or each) for each in folders)]


def some_of(places: Sequence[str]) -> str:
    """The first of some folders."""
    return ", ".join(places[:MOST_FOLDERS]) + " ..." * (len(places) > MOST_FOLDERS)


def publish_command(folder: Path, tracking: Tracking) -> str:
    """The command that stores the records in a folder in the store of `tracking`."""
    kind = ["tracking=server"] if tracking.kind is TrackingKind.server else []
    return join(["harness", "publish", *_arguments(folder), *kind, *_of_store(tracking)])


def _of_store(tracking: Tracking) -> list[str]:
    """The overrides that tell a store from the one that commands open without them."""
    return [
        f"tracking.{key}={getattr(tracking, key)}"
        for key, default in UI_DEFAULTS.items()
        if getattr(tracking, key) != default
    ]


def _arguments(folder: Path) -> list[str]:
    """A folder as arguments; none below `outputs`, where commands look by default."""
    return [] if folder.is_relative_to(OUTPUTS) else [str(folder)]


def interrupted_line(tracking: Tracking, tracked: bool) -> str:
    """What a run does after Ctrl-C, printed before it does so.

    tracked: whether the run will be stored by the tracking backend too.
    """
    stored = "the record is stored"
    if tracked and tracking.backend == MLFLOW:
        stored = "the record is stored, then its MLflow run"
        if MLFLOW not in sys.modules:
            stored += f" (importing {MLFLOW} takes seconds)"
    elif tracked:
        stored = f"the record is stored, then its run in {tracking.backend}"
    return f"interrupted; runs in flight end, then {stored}; another Ctrl-C stops waiting"


def link(tracking: Tracking, page: str, port: int = PORT) -> str:
    """The address of a page of the store."""
    if tracking.kind is TrackingKind.server:
        return f"{tracking.uri.rstrip('/')}/{page}"
    return f"http://{LOOPBACK}:{port}/{page}"


def tracking_line(tracking: Tracking, name: str, page: str | None, here: Path) -> str:
    """The link of a run's page, and the command that serves a local store.

    For backends without pages, the run's name; empty for a run that is not stored (None).
    """
    if page is None:
        return ""
    if not page:
        return f'{tracking.backend}: run "{name}"'
    if tracking.kind is TrackingKind.server:
        return f"MLflow: {link(tracking, page)}"
    command = _of_store(tracking)
    # Without an active environment only `make` finds the command. `make ui` opens this one store.
    by_make = here == conf_dir().parent and not command and not which("harness")
    served = "make ui" if by_make else join(["harness", "ui", *command])
    return f"MLflow: {served}, then {link(tracking, page)}"
