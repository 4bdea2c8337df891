"""The interface of tracking backends, and the function that finds the requested one.

A backend is a module of this package with `open_store(tracking, here) -> Store` and
`server(tracking, here, port) -> ServerCommand`. The key `tracking.backend` names it.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

from harness import tracking as package
from harness.config.schema import Tracking, TrackingKind
from harness.errors import HarnessError, RequestError, nearest
from harness.execution.outcome import Verdict
from harness.measure.stats import Ratio
from harness.results.record import Record

LOOPBACK = "127.0.0.1"
"""The address at which `harness ui` serves a local store: on this machine only."""
PARENT_VARIABLE = "HARNESS_PARENT_RUN"
"""Environment variable with the run id of the sweep, for the processes that launchers start."""
SWEPT_VARIABLE = "HARNESS_SWEPT"
"""Environment variable with the keys that the sweep varies, for the same processes."""


class TrackingError(HarnessError):
    """The store could not be reached or written; the record is not affected."""


@dataclass(frozen=True)
class Entry:
    """A stored record as a store takes it.

    digest: sha256 of the record's file. artifacts: files to copy. speedup: over the baseline of
    its sweep, if known.
    """

    record: Record
    folder: Path
    digest: str
    artifacts: Sequence[Path]
    speedup: Ratio | None = None


@dataclass(frozen=True)
class SweepRun:
    """The run that is the parent of a sweep's runs.

    alive: the process of the sweep exists. ended: as finished or failed, not as killed. rows: runs
    in its report; None without one.
    """

    run_id: str
    alive: bool
    ended: bool = True
    rows: int | None = None


@dataclass(frozen=True)
class SweepReport:
    """What a sweep shows of its runs.

    description: Markdown. texts: files as name -> content. pictures: files.
    """

    description: str
    texts: Mapping[str, str] = field(default_factory=dict)
    pictures: Sequence[Path] = ()


@dataclass(frozen=True)
class ServerCommand:
    """A server's command, its environment, and an address that answers once it is ready."""

    command: Sequence[str]
    environment: Mapping[str, str]
    ready: str


class Store(Protocol):
    """One experiment of a store. Every method raises TrackingError if the store fails.

    store = backend.open_store(config.tracking, Path.cwd())
    parent = store.begin_sweep("depth", folder)
    store.log(record, folder, [folder / "record.json"], parent)
    store.end_sweep(parent, [record.verdict], {})

    remarks: for the user, about what happened when the store was opened. failure: why the store
    can be read only, as far as opening it has shown; else empty.
    """

    remarks: Sequence[str]
    failure: str

    def log(
        self, record: Record, folder: Path, artifacts: Sequence[Path], parent: str | None
    ) -> str:
        """Store a record with its files, below the run `parent` of a sweep; returns the run id."""

    def stored(self, folders: Mapping[str, str], parent: str | None = None) -> set[str]:
        """Of records, as digest -> absolute folder, the digests of those that have a whole run.

        parent: the run of their sweep, if it is known; finding many runs below it is fast.
        """

    def publish(self, entries: Sequence[Entry], parent: str | None) -> None:
        """Store records, of which an earlier attempt may have stored a part.

        Unlike `log`, it may be called again with the same records: they are stored once.
        """

    def sweep_run(self, folder: Path) -> SweepRun | None:
        """The run of a sweep, by its absolute folder."""

    def attach(self, files: Mapping[str, Sequence[Path]]) -> None:
        """Add files to the runs of records, by the digest of the record.

        Without effect for a record that is not stored.
        """

    def mark_killed(self, run_id: str) -> None:
        """Mark the run of a sweep that did not run all its jobs."""

    def file(
        self,
        name: str,
        artifacts: Sequence[Path],
        metrics: Mapping[str, float],
        tags: Mapping[str, str],
    ) -> str:
        """Store a result of several records as a separate run; returns the run id."""

    def begin_sweep(self, name: str, folder: Path, overrides: Sequence[str] = ()) -> str:
        """Start the parent run of a sweep, with the overrides as typed; returns its id."""

    def continue_sweep(self, parent: str) -> None:
        """The parent run of a sweep belongs to this process from now on, and is open again."""

    def end_sweep(
        self,
        parent: str,
        verdicts: Sequence[Verdict],
        speedups: Mapping[str, Ratio],
        report: SweepReport | None = None,
    ) -> None:
        """End the parent run of a sweep with its report, and log the speed-ups of its children.

        speedups: by folder of the child's record. It may be called again.
        """

    def run_page(self, run: str) -> str:
        """The page of a run: its address, without the server's; empty if there are no pages."""

    def sweep_page(self, parent: str) -> str:
        """The page of a sweep's runs, as `run_page`."""

    def home_page(self) -> str:
        """The page of all runs, as `run_page`."""


class TrackingBackend(Protocol):
    """A module that opens a store, and serves its pages."""

    def open_store(self, tracking: Tracking, here: Path) -> Store:
        """Open the store, once per command; relative paths start at the folder `here`."""

    def server(self, tracking: Tracking, here: Path, port: int) -> ServerCommand:
        """The server of a local store's pages."""


def backend_of(tracking: Tracking) -> TrackingBackend | None:
    """The backend that a request names; None with tracking=off, RequestError for an unknown one."""
    if tracking.kind is TrackingKind.off:
        return None
    modules = {each.name for each in pkgutil.iter_modules(package.__path__)}
    if tracking.backend in modules and (backend := _backend(tracking.backend)):
        return backend
    names = sorted(name for name in modules if _backend(name))
    raise RequestError(
        f"tracking.backend={tracking.backend}: no such backend; {nearest(tracking.backend, names)}"
    )


def _backend(name: str) -> TrackingBackend | None:
    """A module of the package, if it is a backend."""
    # On use, because MLflow takes more than a second to import.
    module = import_module(f"{package.__name__}.{name}")
    return cast(TrackingBackend, module) if hasattr(module, "open_store") else None
