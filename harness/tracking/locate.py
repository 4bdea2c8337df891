"""Finds the records of an MLflow run by its id, in its folder or in the store's artifacts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from harness.config.schema import Tracking
from harness.errors import RequestError
from harness.results.find import SWEEP_FILE, digest_of
from harness.results.record import FILE_NAME, Record
from harness.tracking import local_store
from harness.tracking.mlflow_client import open_client
from harness.tracking.mlflow_errors import translated_errors
from harness.tracking.run_data import RECORD_TAG
from harness.tracking.server_runs import below, search
from harness.tracking.store import TrackingError

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

SQLITE = "sqlite:///"
RUN_ID = re.compile("[0-9a-f]{8,32}")
"""An id of MLflow, or its first characters."""


@dataclass(frozen=True)
class Located:
    """The records of a run, or of the runs of a sweep.

    folders: those that exist here, of runs or of a sweep. downloaded: records whose folder is gone,
    with the ids of their runs.
    """

    folders: Sequence[Path] = ()
    downloaded: Sequence[tuple[Record, str]] = ()


def locate(uri: str, tracking: Tracking, run_id: str) -> Located:
    """The records of the run with an id, or with an id that begins so; uri: absolute.

    RequestError for an unknown or ambiguous id, a store that does not exist, or a run without
    records; TrackingError for a store that fails, or that `open_store` would first upgrade. Changes
    nothing.
    """
    path = Path(uri.removeprefix(SQLITE)) if uri.startswith(SQLITE) else None
    where = f"experiment {tracking.experiment} of {tracking.uri}"
    if path and not path.exists():
        raise RequestError(
            f"{run_id}: no such folder, and {tracking.uri} does not exist, which might have an "
            "MLflow run of that id; give the folder of a run, or another tracking.uri"
        )
    with translated_errors(tracking.uri):
        if path and not local_store.is_current(path):
            # A command that reads must not move a damaged store aside.
            raise TrackingError(
                f"{tracking.uri} is incomplete or of another version of MLflow, which harness ui "
                "mends"
            )
        client = open_client(uri)
        experiment = client.get_experiment_by_name(tracking.experiment)
        own = str(experiment.experiment_id) if experiment else ""
        runs = search(client, own, f"attributes.run_id LIKE '{run_id}%'") if own else []
        if len(runs) == 1:
            children = search(client, own, below(runs[0].info.run_id))
            located = _located(client, runs[0], children)
    if not runs:
        raise RequestError(
            f"{run_id}: no such folder, and no MLflow run in {where}; give the folder of a run, or "
            "the id of a run"
        )
    if len(runs) > 1:
        raise RequestError(f"{run_id}: {len(runs)} MLflow runs begin with it; give the whole id")
    if not (located.folders or located.downloaded):
        raise RequestError(
            f"{run_id}: the MLflow run in {where} has no {FILE_NAME}; give the id of a run, or of "
            "a sweep with runs"
        )
    return located


def _located(client: MlflowClient, run: Run, children: Sequence[Run]) -> Located:
    sweep = Path(run.data.tags.get("sweep", ""))
    if "sweep" in run.data.tags and (sweep / SWEEP_FILE).is_file():
        return Located(folders=[sweep])
    folders, downloaded = list[Path](), list[tuple[Record, str]]()
    for each in sorted(children, key=lambda child: child.info.start_time) or [run]:
        if folder := _folder(each):
            folders.append(folder)
        elif record := _downloaded(client, each):
            downloaded.append((record, str(each.info.run_id)))
    return Located(folders, downloaded)


def _folder(run: Run) -> Path | None:
    """The folder of the run's record; None if it is gone, or has another record now."""
    tags = run.data.tags
    if "record" not in tags:
        return None
    folder = Path(tags["record"])
    with suppress(OSError):
        # Older versions did not store the digest.
        if digest_of(folder) == tags.get(RECORD_TAG, digest_of(folder)):
            return folder
    return None


def _downloaded(client: MlflowClient, run: Run) -> Record | None:
    """The record among the artifacts of a run; None if it has none."""
    if FILE_NAME not in {each.path for each in client.list_artifacts(run.info.run_id)}:
        return None
    with TemporaryDirectory() as folder:
        path = client.download_artifacts(run.info.run_id, FILE_NAME, folder)
        return Record.load(Path(path).parent)
