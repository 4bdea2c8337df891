"""Writes finished runs to a local store: all rows in one transaction, so that a run is whole.

MLflow's client needs seven transactions and 50 ms for a run, and a killed process leaves a part of
it. The tables are those of `mlflow.store.tracking.dbmodels.models`; a test compares the rows with
what the client writes.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.tracking.local_store import LOCKED_S
from harness.tracking.run_data import RECORD_TAG, RunData

if TYPE_CHECKING:
    from sqlalchemy import Engine

ID_CHARACTERS = 32
MOST_PARAM_CHARACTERS, MOST_TAG_CHARACTERS, MOST_NAME_CHARACTERS = 6000, 8000, 250
"""MLflow's limits (mlflow.utils.validation); the name is a column of 250."""
KEYS_PER_QUERY = 500
"""SQLite takes at least 999 variables in a statement (sqlite.org/limits.html)."""


class LocalRuns:
    """The runs of one experiment of a sqlite store.

    location: the folder of the experiment's artifacts. The id of a run is a hash of its record, so
    a record has at most one run, even if several processes write it.
    """

    def __init__(self, path: Path, experiment_id: str, location: Path) -> None:
        self._path = path
        self._experiment_id = int(experiment_id)
        self._location = location

    def stored(self, folders: Mapping[str, str], parent: str | None = None) -> set[str]:
        """Of records, as digest -> absolute folder, the digests of those that have a run."""
        from mlflow.store.tracking.dbmodels.models import SqlRun
        from sqlalchemy import select

        by_id = {self._run_id(digest): digest for digest in folders}
        stored = {digest for digest, folder in folders.items() if folder in self._old_folders}
        column = SqlRun.__table__.c.run_uuid
        with self._engine.connect() as connection:
            for ids in _batches(by_id, KEYS_PER_QUERY):
                rows = connection.execute(select(column).where(column.in_(ids)))
                stored |= {by_id[run_id] for (run_id,) in rows}
        return stored

    def write(self, runs: Sequence[RunData], *, new: bool) -> list[str]:
        """Write runs, and return their ids; a run that exists stays as it is."""
        from mlflow.store.tracking.dbmodels import models
        from sqlalchemy import insert

        ids = [self._run_id(run.digest) for run in runs]
        tables = (
            (models.SqlRun, [self._run_row(*each) for each in zip(ids, runs, strict=True)]),
            (models.SqlTag, _pair_rows(ids, [_tags(run) for run in runs])),
            (models.SqlParam, _pair_rows(ids, [_params(run) for run in runs])),
            (models.SqlMetric, list(_metric_rows(ids, runs))),
            (models.SqlLatestMetric, list(_latest_rows(ids, runs))),
        )
        # Before the rows: a killed process leaves files without a run, never a run without files.
        for run_id, run in zip(ids, runs, strict=True):
            folder = self._artifacts(run_id)
            folder.mkdir(parents=True, exist_ok=True)
            for path in run.artifacts:
                shutil.copyfile(path, folder / path.name)
        with self._engine.begin() as connection:
            for model, rows in tables:
                if rows:
                    # Two processes may publish the same record at the same time.
                    connection.execute(insert(model.__table__).prefix_with("OR IGNORE"), rows)
        return ids

    @cached_property
    def _engine(self) -> Engine:
        import sqlalchemy

        return sqlalchemy.create_engine(
            f"sqlite:///{self._path}", connect_args={"timeout": LOCKED_S}
        )

    @cached_property
    def _old_folders(self) -> set[str]:
        """Folders of records whose runs have random ids, as older versions wrote them."""
        from mlflow.store.tracking.dbmodels.models import SqlRun, SqlTag
        from sqlalchemy import select

        tags, runs = SqlTag.__table__.c, SqlRun.__table__.c
        query = select(tags.value, runs.run_uuid).where(
            tags.key == "record",
            tags.run_uuid == runs.run_uuid,
            runs.experiment_id == self._experiment_id,
            runs.status.in_(["FINISHED", "FAILED"]),
        )
        with self._engine.connect() as connection:
            rows = connection.execute(query).all()
            new = select(tags.run_uuid).where(tags.key == RECORD_TAG)
            by_record = {run_id for (run_id,) in connection.execute(new)}
        return {folder for folder, run_id in rows if run_id not in by_record}

    def _run_id(self, digest: str) -> str:
        text = f"{self._experiment_id} {digest}"
        return hashlib.sha256(text.encode()).hexdigest()[:ID_CHARACTERS]

    def _artifacts(self, run_id: str) -> Path:
        return self._location / run_id / "artifacts"

    def _run_row(self, run_id: str, run: RunData) -> dict[str, Any]:
        return {
            "run_uuid": run_id,
            "name": run.name[:MOST_NAME_CHARACTERS],
            "source_type": "UNKNOWN",
            "source_name": "",
            "entry_point_name": "",
            "source_version": "",
            "user_id": "unknown",
            "status": run.status,
            "start_time": run.begin_ms,
            "end_time": run.begin_ms,
            "lifecycle_stage": "active",
            "artifact_uri": self._artifacts(run_id).as_uri(),
            "experiment_id": self._experiment_id,
        }


def _params(run: RunData) -> dict[str, str]:
    return {key: value[:MOST_PARAM_CHARACTERS] for key, value in run.params.items()}


def _tags(run: RunData) -> dict[str, str]:
    tags = {**run.tags, "mlflow.runName": run.name[:MOST_NAME_CHARACTERS]}
    return {key: value[:MOST_TAG_CHARACTERS] for key, value in tags.items()}


def _pair_rows(ids: Sequence[str], pairs: Sequence[Mapping[str, str]]) -> list[dict[str, Any]]:
    """Rows of a table of keys and values."""
    return [
        {"run_uuid": run_id, "key": key, "value": value}
        for run_id, each in zip(ids, pairs, strict=True)
        for key, value in each.items()
    ]


def _metric_rows(ids: Sequence[str], runs: Sequence[RunData]) -> Iterator[dict[str, Any]]:
    for run_id, run in zip(ids, runs, strict=True):
        for key, value, step in run.metrics:
            yield {
                "run_uuid": run_id,
                "key": key,
                "value": value,
                "timestamp": run.begin_ms,
                "step": step,
                "is_nan": False,
            }


def _latest_rows(ids: Sequence[str], runs: Sequence[RunData]) -> Iterator[dict[str, Any]]:
    """Rows of the table that MLflow shows and searches: the last step of every metric."""
    for run_id, run in zip(ids, runs, strict=True):
        last = {row["key"]: row for row in _metric_rows([run_id], [run])}
        yield from last.values()


def _batches(keys: Iterable[str], size: int) -> Iterator[list[str]]:
    iterator = iter(keys)
    while batch := list(islice(iterator, size)):
        yield batch
