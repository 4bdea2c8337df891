"""The interface of tracking backends, and the function that finds the requested one.

A backend is a module of this package with `open_store(tracking, here) -> Store`. The key
`tracking.backend` names it.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

from harness import tracking as package
from harness.config.schema import Tracking, TrackingKind
from harness.errors import HarnessError, RequestError, nearest
from harness.measure.stats import Ratio
from harness.results.record import Record
from harness.run.outcome import Verdict

PARENT_VARIABLE = "HARNESS_PARENT_RUN"
"""Environment variable with the run id of the sweep, for the processes that launchers start."""


class TrackingError(HarnessError):
    """The store could not be reached or written; the record is not affected."""


class Store(Protocol):
    """One experiment of a store. Every method raises TrackingError if the store fails.

    store = backend.open_store(config.tracking, Path.cwd())
    parent = store.begin_sweep("depth", folder)
    store.log(record, folder, [folder / "record.json"], parent)
    store.end_sweep(parent, [record.verdict], {})
    """

    def log(
        self, record: Record, folder: Path, artifacts: Sequence[Path], parent: str | None
    ) -> str:
        """Store a record with its files, below the run `parent` of a sweep; returns the run id."""

    def file(
        self,
        name: str,
        artifacts: Sequence[Path],
        metrics: Mapping[str, float],
        tags: Mapping[str, str],
    ) -> str:
        """Store a result of several records as a separate run; returns the run id."""

    def begin_sweep(self, name: str, folder: Path) -> str:
        """Start the parent run of a sweep; returns its id."""

    def end_sweep(
        self, parent: str, verdicts: Sequence[Verdict], speedups: Mapping[str, Ratio]
    ) -> None:
        """End the parent run of a sweep, and log the speed-ups of its children.

        speedups: by folder of the child's record.
        """


class TrackingBackend(Protocol):
    """A module that opens a store."""

    def open_store(self, tracking: Tracking, here: Path) -> Store:
        """Open the store, once per command; relative paths start at the folder `here`."""


def backend_of(tracking: Tracking) -> TrackingBackend | None:
    """The backend that a request names; None with tracking=off, RequestError for an unknown one."""
    if tracking.kind is TrackingKind.off:
        return None
    own = __name__.rpartition(".")[2]
    names = [each.name for each in pkgutil.iter_modules(package.__path__) if each.name != own]
    if tracking.backend not in names:
        raise RequestError(
            f"tracking.backend={tracking.backend}: no such backend; "
            f"{nearest(tracking.backend, names)}"
        )
    # On use, because MLflow takes more than a second to import.
    return cast(TrackingBackend, import_module(f"{package.__name__}.{tracking.backend}"))
