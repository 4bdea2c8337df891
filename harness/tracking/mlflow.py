"""MLflow as an index of records: written after them, and never in a timed window."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from textwrap import shorten
from typing import Any

from harness.errors import HarnessError
from harness.results.record import Record, Verdict
from harness.results.speedup import Speedup

SQLITE = "sqlite:///"
MOST_CHARACTERS = 160
"""Of an error of MLflow's in a line to the user."""
PARENT_VARIABLE = "HARNESS_PARENT_RUN"
"""Names the sweep's run to the processes that launchers start."""


class TrackingError(HarnessError):
    """MLflow could not be reached or written; the record is not affected."""


class Store:
    """One MLflow experiment."""

    def __init__(self, uri: str, artifacts: str, experiment: str) -> None:
        """Create the store and the experiment if they are new; TrackingError where that fails."""
        # Before the import: telemetry is on by default, and a dead server would be asked again for minutes.
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING", "false")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
        os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
        from mlflow.tracking import MlflowClient

        self._uri = uri
        with _translated(uri), _locked(uri):
            self._client = MlflowClient(tracking_uri=uri)
            found = self._client.get_experiment_by_name(experiment)
            if found:
                self._experiment_id = found.experiment_id
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
            Metric("sample/total_ms", total_ns / 1e6, begin_ms, step)
            for step, total_ns in enumerate(record.samples["total_ns"])
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
        """File what was made of several records as a run of its own; returns its id."""
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
        self, parent: str, verdicts: Sequence[Verdict], speedups: Mapping[str, Speedup]
    ) -> None:
        """Close a sweep's run, and give its children their speed-up with its interval, by the folder of each."""
        from mlflow.entities import Metric

        counts = {
            f"sweep/{verdict.value}": verdicts.count(verdict)
            for verdict in Verdict
            if verdict in verdicts
        }
        with _translated(self._uri):
            children = self._client.search_runs(
                [self._experiment_id], f"tags.`mlflow.parentRunId` = '{parent}'"
            )
            for child in children:
                if speedup := speedups.get(child.data.tags["record"]):
                    named = {"": speedup.ratio, "_low": speedup.low, "_high": speedup.high}
                    now_ms = int(datetime.now().timestamp() * 1000)
                    metrics = [
                        Metric(f"speedup/vs_baseline{name}", value, now_ms, 0)
                        for name, value in named.items()
                    ]
                    self._client.log_batch(child.info.run_id, metrics)
            for name, count in counts.items():
                self._client.log_metric(parent, name, count)
            self._client.set_terminated(
                parent, "FINISHED" if set(verdicts) == {Verdict.OK} else "FAILED"
            )

    def _mark_killed(self) -> None:
        """Mark as KILLED the runs of this host whose process is gone: nobody else would ever end them."""
        running = self._client.search_runs(
            [self._experiment_id],
            f"attributes.status = 'RUNNING' and tags.`harness.host` = '{os.uname().nodename}'",
        )
        for run in running:
            if not Path(f"/proc/{run.data.tags['harness.pid']}").exists():
                self._client.set_terminated(run.info.run_id, "KILLED")


def open_store(uri: str, artifacts: str, experiment: str, here: Path) -> Store:
    """The store, opened once per process; relative paths of a sqlite file and of artifacts are of the folder `here`."""
    if uri.startswith(SQLITE):
        uri = f"{SQLITE}{here / uri.removeprefix(SQLITE)}"
    return _open(uri, str(here / artifacts) if artifacts else "", experiment)


@lru_cache(maxsize=1)
def _open(uri: str, artifacts: str, experiment: str) -> Store:
    return Store(uri, artifacts, experiment)


def _params(record: Record) -> dict[str, Any]:
    """The effective knobs and what else was given: what the compare view is read by."""
    knobs = {
        f"strategy.{key}": getattr(value, "value", value) for key, value in record.knobs.items()
    }
    fixed = {"kernel": record.kernel, "workload.tiles": record.config["workload"]["tiles"]}
    return {**fixed, **knobs, **record.given}


def _tags(record: Record, folder: Path) -> dict[str, str]:
    lasting = {key: value for key, value in record.environment.items() if key != "command"}
    environment = json.dumps(lasting, sort_keys=True, default=str)
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
    return {"harness.pid": str(os.getpid()), "harness.host": os.uname().nodename}


@contextmanager
def _locked(uri: str) -> Iterator[None]:
    """Hold a lock beside a sqlite store: its schema migration crashes when processes run it at once."""
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
    """Any failure inside as a TrackingError: MLflow lets those of SQLAlchemy, requests and the OS through."""
    try:
        yield
    except Exception as error:
        text = next(iter(str(error).strip().splitlines()), "")
        raise TrackingError(
            f"tracking.uri={uri}: {type(error).__name__}: {shorten(text, MOST_CHARACTERS)}"
        ) from error
