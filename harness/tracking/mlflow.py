"""MLflow as an index of records: written after them, and never in a timed window."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any

from harness.config.schema import Tracking
from harness.measure.metrics import SAMPLE, SPEEDUP
from harness.measure.stats import Ratio
from harness.results.record import Record
from harness.run.outcome import Verdict
from harness.tracking.store import TrackingError

if TYPE_CHECKING:
    from mlflow.entities import Run

SQLITE = "sqlite:///"
MOST_CHARACTERS = 160
"""Of an MLflow error in a line to the user."""
PAGE_SIZE = 1000
"""Runs per answer of a search; MLflow's default, stated here because answers are paged through."""


HOST_TAG, PID_TAG, STARTED_TAG = "harness.host", "harness.pid", "harness.pid_started"


class MlflowStore:
    """One MLflow experiment."""

    def __init__(self, uri: str, artifacts: str, experiment: str) -> None:
        """Create the store and the experiment if they are new; TrackingError where that fails."""
        # Before the import: telemetry is on by default, and a dead server is retried for minutes.
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING", "false")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
        os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
        from mlflow.tracking import MlflowClient

        self._uri = uri
        with _translated(uri), _locked(uri):
            self._client = MlflowClient(tracking_uri=uri)
            known = self._client.get_experiment_by_name(experiment)
            if known:
                self._experiment_id = known.experiment_id
            else:
                root = Path(artifacts).as_uri() if artifacts else None
                self._experiment_id = self._client.create_experiment(experiment, root)
            self._mark_killed()

    def log(
        self, record: Record, folder: Path, artifacts: Sequence[Path], parent: str | None
    ) -> str:
        """File a record; returns the MLflow run id."""
        from mlflow.entities import Metric, Param

        begin_ms = int(datetime.fromisoformat(record.created).timestamp() * 1000)
        metrics = [
            Metric(name, float(value), begin_ms, 0)
            for name, value in record.metrics.items()
            if value is not None
        ]
        metrics += [
            Metric(SAMPLE, total_ns / 1e6, begin_ms, step)
            for step, total_ns in enumerate(record.samples.total_ns)
        ]
        tags = _tags(record, folder) | ({"mlflow.parentRunId": parent} if parent else {})
        with _translated(self._uri):
            run = self._client.create_run(self._experiment_id, run_name=record.name, tags=tags)
            params = [Param(key, str(value)) for key, value in _params(record).items()]
            self._client.log_batch(run.info.run_id, metrics, params)
            for path in artifacts:
                self._client.log_artifact(run.info.run_id, str(path))
            self._client.set_terminated(run.info.run_id, "FINISHED" if record.ok else "FAILED")
        return str(run.info.run_id)

    def file(
        self,
        name: str,
        artifacts: Sequence[Path],
        metrics: Mapping[str, float],
        tags: Mapping[str, str],
    ) -> str:
        """File a result of several records as a run of its own; returns its id."""
        from mlflow.entities import Metric

        now_ms = int(datetime.now().timestamp() * 1000)
        with _translated(self._uri):
            run = self._client.create_run(
                self._experiment_id, run_name=name, tags={**tags, **_process_tags()}
            )
            self._client.log_batch(
                run.info.run_id, [Metric(key, each, now_ms, 0) for key, each in metrics.items()]
            )
            for path in artifacts:
                self._client.log_artifact(run.info.run_id, str(path))
            self._client.set_terminated(run.info.run_id, "FINISHED")
        return str(run.info.run_id)

    def begin_sweep(self, name: str, folder: Path) -> str:
        """Start the run that the runs of a sweep hang under; returns its id."""
        tags = {"sweep": str(folder), **_process_tags()}
        with _translated(self._uri):
            return str(
                self._client.create_run(self._experiment_id, run_name=name, tags=tags).info.run_id
            )

    def end_sweep(
        self, parent: str, verdicts: Sequence[Verdict], speedups: Mapping[str, Ratio]
    ) -> None:
        """Close a sweep's run, and log the speed-ups of its children, by the folder of each."""
        from mlflow.entities import Metric

        counts = {
            f"sweep/{verdict.value}": verdicts.count(verdict)
            for verdict in Verdict
            if verdict in verdicts
        }
        with _translated(self._uri):
            for child in self._search(f"tags.`mlflow.parentRunId` = '{parent}'"):
                if speedup := speedups.get(child.data.tags["record"]):
                    named = {"": speedup.ratio, "_low": speedup.low, "_high": speedup.high}
                    now_ms = int(datetime.now().timestamp() * 1000)
                    metrics = [
                        Metric(f"{SPEEDUP}{name}", value, now_ms, 0)
                        for name, value in named.items()
                        if value is not None
                    ]
                    self._client.log_batch(child.info.run_id, metrics)
            for name, count in counts.items():
                self._client.log_metric(parent, name, count)
            self._client.set_terminated(
                parent, "FINISHED" if set(verdicts) == {Verdict.OK} else "FAILED"
            )

    def _mark_killed(self) -> None:
        """Mark runs of this host as KILLED whose process is gone: nothing else will end them."""
        running = self._search(
            f"attributes.status = 'RUNNING' and tags.`{HOST_TAG}` = '{os.uname().nodename}'"
        )
        for run in running:
            if not _is_alive(run.data.tags):
                self._client.set_terminated(run.info.run_id, "KILLED")

    def _search(self, filter_string: str) -> list[Run]:
        """All runs of the experiment that match, however many pages they fill."""
        runs: list[Run] = []
        token = None
        while True:
            page = self._client.search_runs(
                [self._experiment_id], filter_string, max_results=PAGE_SIZE, page_token=token
            )
            runs += page
            token = page.token
            if not token:
                return runs


def open_store(tracking: Tracking, here: Path) -> MlflowStore:
    """The store, opened once per process.

    Relative paths of a sqlite file and of artifacts start at the folder `here`.
    """
    uri = tracking.uri
    if uri.startswith(SQLITE):
        uri = f"{SQLITE}{here / uri.removeprefix(SQLITE)}"
    artifacts = str(here / tracking.artifacts) if tracking.artifacts else ""
    return _open(uri, artifacts, tracking.experiment)


@lru_cache(maxsize=1)
def _open(uri: str, artifacts: str, experiment: str) -> MlflowStore:
    return MlflowStore(uri, artifacts, experiment)


def _params(record: Record) -> dict[str, Any]:
    """The effective knobs and other settings: the columns of MLflow's compare view."""
    knobs = {
        f"strategy.{key}": getattr(value, "value", value)
        for key, value in asdict(record.knobs).items()
    }
    fixed = {"kernel": record.kernel, "workload.tiles": record.config["workload"]["tiles"]}
    return {**fixed, **knobs, **record.settings}


def _tags(record: Record, folder: Path) -> dict[str, str]:
    lasting = {key: value for key, value in asdict(record.environment).items() if key != "command"}
    environment = json.dumps(lasting, sort_keys=True)
    return {
        "phase": record.phase,
        "strategy": record.preset,
        "device": record.device,
        "label": record.label,
        "verdict": record.verdict.value,
        "reason": record.reason,
        "config_hash": record.config_hash,
        "environment_hash": hashlib.sha256(environment.encode()).hexdigest(),
        "record": str(folder.absolute()),
        "mlflow.source.name": f"python -m harness {' '.join(record.overrides)}".strip(),
        "mlflow.source.type": "LOCAL",
        **_process_tags(),
    }


def _process_tags() -> dict[str, str]:
    started = _start_ticks("self")
    tags = {HOST_TAG: os.uname().nodename, PID_TAG: str(os.getpid())}
    return {**tags, STARTED_TAG: started} if started else tags


def _is_alive(tags: Mapping[str, str]) -> bool:
    """Whether the process of a run still exists; runs without a start time go by the pid alone."""
    start = _start_ticks(tags[PID_TAG])
    return start is not None and tags.get(STARTED_TAG, start) == start


def _start_ticks(pid: str) -> str | None:
    """When a process started, in clock ticks since boot (proc_pid_stat(5), field 22).

    A pid is used again after its process has ended; pid and start time together are not. None where
    there is no such process.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return stat.rpartition(")")[2].split()[19]  # field 2, the name, may contain anything


@contextmanager
def _locked(uri: str) -> Iterator[None]:
    """Hold a lock beside a sqlite store: two processes that migrate its schema at once crash."""
    if not uri.startswith(SQLITE):
        yield
        return
    path = Path(uri.removeprefix(SQLITE))
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f"{path.name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def _translated(uri: str) -> Iterator[None]:
    """Raise any failure as a TrackingError: MLflow passes on those of other libraries."""
    try:
        yield
    except Exception as error:
        text = next(iter(str(error).strip().splitlines()), "")
        raise TrackingError(
            f"tracking.uri={uri}: {type(error).__name__}: {shorten(text, MOST_CHARACTERS)}"
        ) from error
