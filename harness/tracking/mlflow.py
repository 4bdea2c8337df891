"""The MLflow store. Everything is logged after a run, never while a pass is timed."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
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
MOST_ERROR_CHARACTERS = 160
"""Longest text of an MLflow error in a message."""
PAGE_SIZE = 1000
"""Runs per page of a search; equal to MLflow's default."""

HOST_TAG, PID_TAG, STARTED_TAG = "harness.host", "harness.pid", "harness.pid_started"
"""Tags that identify the process of a run, to recognise runs whose process was killed."""


class MlflowStore:
    """One MLflow experiment."""

    def __init__(self, uri: str, artifacts: str, experiment: str) -> None:
        """Create the store and the experiment if they do not exist; TrackingError if that fails."""
        # MLflow reads these when it is imported. By default it sends telemetry, and retries a
        # server that does not answer for minutes.
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        # Its thread would run during timed passes.
        os.environ.setdefault("MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING", "false")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
        os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
        from mlflow.tracking import MlflowClient

        self._uri = uri
        with _translate_errors(uri), _migration_lock(uri):
            self._client = MlflowClient(tracking_uri=uri)
            existing = self._client.get_experiment_by_name(experiment)
            if existing:
                self._experiment_id = existing.experiment_id
            else:
                # A server decides by itself where artifacts are. A local store without a root
                # puts them into ./mlruns of the current folder.
                root = Path(artifacts).as_uri() if artifacts else None
                self._experiment_id = self._client.create_experiment(experiment, root)
            # A killed process could not end its runs.
            self._mark_killed()

    def log(
        self, record: Record, folder: Path, artifacts: Sequence[Path], parent: str | None
    ) -> str:
        """Store a record as an MLflow run below `parent`; returns the run id."""
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
        with _translate_errors(self._uri):
            run = self._client.create_run(self._experiment_id, run_name=record.name, tags=tags)
            params = [Param(key, str(value)) for key, value in _params(record).items()]
            # One request: a log_metric takes 4 ms each, in a batch 0.07 ms.
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
        """Store a result of several records as a separate run; returns the run id."""
        from mlflow.entities import Metric

        now_ms = int(datetime.now().timestamp() * 1000)
        with _translate_errors(self._uri):
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
        """Start the parent run of a sweep; returns its id."""
        tags = {"sweep": str(folder), **_process_tags()}
        with _translate_errors(self._uri):
            return str(
                self._client.create_run(self._experiment_id, run_name=name, tags=tags).info.run_id
            )

    def end_sweep(
        self, parent: str, verdicts: Sequence[Verdict], speedups: Mapping[str, Ratio]
    ) -> None:
        """End the parent run of a sweep, and log the speed-ups of its children.

        speedups: by folder of the child's record.
        """
        from mlflow.entities import Metric

        counts = {
            f"sweep/{verdict.value}": verdicts.count(verdict)
            for verdict in Verdict
            if verdict in verdicts
        }
        with _translate_errors(self._uri):
            for child in self._search(f"tags.`mlflow.parentRunId` = '{parent}'"):
                speedup = speedups.get(child.data.tags["record"])
                # It failed, or has no baseline in its setting.
                if speedup is None:
                    continue
                values = {"": speedup.ratio, "_low": speedup.low, "_high": speedup.high}
                now_ms = int(datetime.now().timestamp() * 1000)
                metrics = [
                    Metric(f"{SPEEDUP}{suffix}", value, now_ms, 0)
                    for suffix, value in values.items()
                    if value is not None
                ]
                self._client.log_batch(child.info.run_id, metrics)
            for name, count in counts.items():
                self._client.log_metric(parent, name, count)
            self._client.set_terminated(
                parent, "FINISHED" if set(verdicts) == {Verdict.OK} else "FAILED"
            )

    def _mark_killed(self) -> None:
        """Mark RUNNING runs of this host as KILLED if their process no longer exists."""
        # A pid says nothing about the processes of another host.
        running = self._search(
            f"attributes.status = 'RUNNING' and tags.`{HOST_TAG}` = '{os.uname().nodename}'"
        )
        for run in running:
            if not _is_alive(run.data.tags):
                self._client.set_terminated(run.info.run_id, "KILLED")

    def _search(self, filter_string: str) -> list[Run]:
        """All runs of the experiment that match, from all pages of the search."""
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
    """Open the store.

    here: folder from which relative paths of a sqlite file and of artifacts start.
    """
    uri = tracking.uri
    if uri.startswith(SQLITE):
        uri = f"{SQLITE}{here / uri.removeprefix(SQLITE)}"
    artifacts = str(here / tracking.artifacts) if tracking.artifacts else ""
    return MlflowStore(uri, artifacts, tracking.experiment)


def _params(record: Record) -> dict[str, Any]:
    """MLflow's params of a record: the effective knobs and other settings of the run."""
    knobs = {
        f"strategy.{key}": getattr(value, "value", value)
        for key, value in asdict(record.knobs).items()
    }
    # Few params: MLflow's comparison of runs is readable only if they are what was varied. The
    # whole configuration is in the record, because params over 6000 characters are cut.
    fixed = {"kernel": record.kernel, "workload.tiles": record.config["workload"]["tiles"]}
    return {**fixed, **knobs, **record.settings}


def _tags(record: Record, folder: Path) -> dict[str, str]:
    """MLflow's tags of a record. The environment's hash leaves out the command line."""
    fields = {key: value for key, value in asdict(record.environment).items() if key != "command"}
    environment = json.dumps(fields, sort_keys=True)
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
    """Whether the process of a run still exists, by pid and start time.

    Runs without a start time are compared by pid only.
    """
    start = _start_ticks(tags[PID_TAG])
    return start is not None and tags.get(STARTED_TAG, start) == start


def _start_ticks(pid: str) -> str | None:
    """Start time of a process, in clock ticks since boot (proc_pid_stat(5), field 22).

    The kernel reuses pids, but not a pid with the same start time. None if there is no such
    process.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # Field 2, the name in parentheses, may contain spaces and parentheses.
    return stat.rpartition(")")[2].split()[19]


@contextmanager
def _migration_lock(uri: str) -> Iterator[None]:
    """Lock a sqlite store: MLflow crashes if two processes migrate its schema at the same time."""
    if not uri.startswith(SQLITE):
        yield
        return
    path = Path(uri.removeprefix(SQLITE))
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f"{path.name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def _translate_errors(uri: str) -> Iterator[None]:
    """Raise every exception as TrackingError: MLflow also raises those of other libraries."""
    try:
        yield
    except Exception as error:
        text = next(iter(str(error).strip().splitlines()), "")
        raise TrackingError(
            f"tracking.uri={uri}: {type(error).__name__}: {shorten(text, MOST_ERROR_CHARACTERS)}"
        ) from error
