"""Writes finished runs to an MLflow server, through MLflow's client."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from harness.tracking.run_data import RECORD_TAG, RunData

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

ENDED = ("FINISHED", "FAILED")
"""Status of runs that are whole; a process that was killed leaves RUNNING, later KILLED."""


PAGE_SIZE = 200
"""Runs per page of a search, which are in memory together."""


def below(parent: str) -> str:
    """MLflow's search expression for the runs of a sweep."""
    return f"tags.`mlflow.parentRunId` = '{parent}'"


def search(client: MlflowClient, experiment_id: str, expression: str) -> list[Run]:
    """All runs of an experiment that match."""
    return [*each_run(client, experiment_id, expression)]


def each_run(client: MlflowClient, experiment_id: str, expression: str) -> Iterator[Run]:
    """As `search`, with one page in memory; for changes that decide neither match nor order."""
    token = None
    while True:
        page = client.search_runs(
            [experiment_id], expression, max_results=PAGE_SIZE, page_token=token
        )
        yield from page
        token = page.token
        if not token:
            return


class ServerRuns:
    """The runs of one experiment of a server."""

    def __init__(self, client: MlflowClient, experiment_id: str) -> None:
        self._client = client
        self._experiment_id = experiment_id

    def stored(self, folders: Mapping[str, str], parent: str | None = None) -> set[str]:
        """Of records, as digest -> absolute folder, the digests of those that have a whole run."""
        # A search takes a whole page of runs; other runs take one each.
        found = set[str | None]()
        if parent:
            children = each_run(self._client, self._experiment_id, below(parent))
            found = {run.data.tags.get(RECORD_TAG) for run in children if run.info.status in ENDED}
        return {
            digest
            for digest, folder in folders.items()
            if digest in found
            or any(
                run.info.status in ENDED
                for run in self._runs(RECORD_TAG, digest) or self._runs("record", folder)
            )
        }

    def write(self, runs: Sequence[RunData], *, new: bool) -> list[str]:
        """Write runs, and return their ids; new: no earlier attempt can have left a part of one.

        What an earlier attempt has left is completed.
        """
        return [self._write(run, new) for run in runs]

    def _write(self, run: RunData, new: bool) -> str:
        from mlflow.entities import Metric, Param

        part = [] if new else self._runs(RECORD_TAG, run.digest)
        begun = (
            part[0]
            if part
            else self._client.create_run(
                self._experiment_id, run.begin_ms, dict(run.tags), run.name
            )
        )
        run_id = str(begun.info.run_id)
        # One request: a log_metric takes 4 ms each, in a batch 0.07 ms.
        self._client.log_batch(
            run_id,
            [Metric(key, value, run.begin_ms, step) for key, value, step in run.metrics],
            [Param(key, value) for key, value in run.params.items()],
        )
        for path in run.artifacts:
            self._client.log_artifact(run_id, str(path))
        self._client.set_terminated(run_id, run.status, run.begin_ms)
        return run_id

    def _runs(self, tag: str, value: str) -> list[Run]:
        if "'" in value:  # MLflow's filters have no escape for quotes
            return []
        return list(self._client.search_runs([self._experiment_id], f"tags.`{tag}` = '{value}'"))
