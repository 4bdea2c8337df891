"""The MLflow store. Everything is logged after a run, never while a pass is timed."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from harness.config.schema import Tracking
from harness.config.sources import key_and_value
from harness.execution.outcome import Verdict
from harness.measure.stats import Ratio
from harness.results.find import digest_of
from harness.results.record import Record
from harness.tracking import local_store, mlflow_server, mlflow_views
from harness.tracking.local_runs import LocalRuns
from harness.tracking.locate import Located
from harness.tracking.locate import locate as records_by_id
from harness.tracking.mlflow_client import configure, open_client
from harness.tracking.mlflow_errors import translated_errors
from harness.tracking.processes import HOST_TAG, is_alive, process_tags
from harness.tracking.run_data import RECORD_TAG, RunWriter, run_data, speedup_metrics
from harness.tracking.server_runs import ENDED, ServerRuns, below, each_run, search
from harness.tracking.store import Entry, ServerCommand, SweepReport, SweepRun, TrackingError

if TYPE_CHECKING:
    from mlflow.entities import Experiment, Run

SQLITE = "sqlite:///"
COUNT = "sweep/"
"""Metrics of a sweep that begin with it count its runs by verdict."""


class MlflowStore:
    """One MLflow experiment."""

    def __init__(self, uri: str, artifacts: str, experiment: str) -> None:
        """Create the store and the experiment if they do not exist; TrackingError if that fails."""
        configure()
        self._uri = uri
        self.remarks: Sequence[str] = ()
        self.failure = ""
        path = Path(uri.removeprefix(SQLITE)) if uri.startswith(SQLITE) else None
        with translated_errors(uri):
            if path:
                self.remarks = local_store.prepare(path, artifacts)
            self._client = open_client(uri)
            existing = self._client.get_experiment_by_name(experiment)
            if not existing:
                with local_store.lock(path) if path else nullcontext():
                    existing = self._create_experiment(experiment, artifacts)
            self._experiment_id = existing.experiment_id
            self._runs = self._writer(path, existing)
        try:
            self._maintain(experiment, existing.tags, path)
        except TrackingError as error:  # what is stored can be read all the same
            self.failure = str(error)

    def _maintain(self, name: str, tags: Mapping[str, str], path: Path | None) -> None:
        """Install the views of this version, and end the runs of killed processes."""
        with translated_errors(self._uri):
            if mlflow_views.update(tags, self._experiment_id):
                with local_store.lock(path) if path else nullcontext():
                    # Again, because another process may have been faster.
                    if experiment := self._client.get_experiment_by_name(name):
                        self._install_views(experiment)
            self._mark_dead()

    def _create_experiment(self, name: str, artifacts: str) -> Experiment:
        """Create the experiment, if no other process was faster."""
        if existing := self._client.get_experiment_by_name(name):
            return existing
        # A server decides by itself where artifacts are. A local store without a root
        # puts them into ./mlruns of the current folder.
        root = Path(artifacts).as_uri() if artifacts else None
        return self._client.get_experiment(self._client.create_experiment(name, root))

    def _install_views(self, experiment: Experiment) -> None:
        """Give the experiment the views and the description of this version, if it lacks them."""
        tags = mlflow_views.update(experiment.tags, experiment.experiment_id)
        for key, value in tags.items():
            self._client.set_experiment_tag(experiment.experiment_id, key, value)

    def _writer(self, path: Path | None, experiment: Experiment) -> RunWriter:
        """What writes finished runs; path: of a sqlite store."""
        if path:
            location = urlsplit(experiment.artifact_location)
            if location.scheme in ("file", ""):
                return LocalRuns(path, self._experiment_id, Path(unquote(location.path)))
        return ServerRuns(self._client, self._experiment_id)

    def log(
        self, record: Record, folder: Path, artifacts: Sequence[Path], parent: str | None
    ) -> str:
        """Store a record as an MLflow run below `parent`; returns the run id."""
        entry = Entry(record, folder, digest_of(folder), artifacts)
        with translated_errors(self._uri):
            (run_id,) = self._runs.write([run_data(entry, parent)], new=True)
        return run_id

    def stored(self, folders: Mapping[str, str], parent: str | None = None) -> set[str]:
        """Of records, as digest -> absolute folder, the digests of those that have a whole run."""
        with translated_errors(self._uri):
            return self._runs.stored(folders, parent)

    def publish(self, entries: Sequence[Entry], parent: str | None) -> None:
        """Store records, of which an earlier attempt may have stored a part."""
        with translated_errors(self._uri):
            self._runs.write([run_data(entry, parent) for entry in entries], new=False)

    def attach(self, files: Mapping[str, Sequence[Path]]) -> None:
        """Add files to the runs of records, by the digest of the record."""
        with translated_errors(self._uri):
            for digest, paths in files.items():
                for run in self._search(f"tags.`{RECORD_TAG}` = '{digest}'"):
                    for path in paths:
                        self._client.log_artifact(run.info.run_id, str(path))

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
        with translated_errors(self._uri):
            run = self._client.create_run(
                self._experiment_id, run_name=name, tags={**tags, **process_tags()}
            )
            self._client.log_batch(
                run.info.run_id, [Metric(key, each, now_ms, 0) for key, each in metrics.items()]
            )
            for path in artifacts:
                self._client.log_artifact(run.info.run_id, str(path))
            self._client.set_terminated(run.info.run_id, "FINISHED")
        return str(run.info.run_id)

    def begin_sweep(self, name: str, folder: Path, overrides: Sequence[str] = ()) -> str:
        """Start the parent run of a sweep, with the overrides as typed; returns its id."""
        from mlflow.entities import Param

        tags = {"sweep": str(folder), **process_tags()}
        if overrides:
            tags["mlflow.source.name"] = shlex.join(["python", "-m", "harness", "-m", *overrides])
            tags["mlflow.source.type"] = "LOCAL"
        # Of two values of one key, the last one counts; MLflow refuses the key twice.
        params = [Param(*each) for each in dict(map(key_and_value, overrides)).items()]
        with translated_errors(self._uri):
            run = self._client.create_run(self._experiment_id, run_name=name, tags=tags)
            if params:
                self._client.log_batch(run.info.run_id, params=params)
        return str(run.info.run_id)

    def end_sweep(
        self,
        parent: str,
        verdicts: Sequence[Verdict],
        speedups: Mapping[str, Ratio],
        report: SweepReport | None = None,
    ) -> None:
        """End the parent run of a sweep with its report, and log the speed-ups of its children.

        speedups: by folder of the child's record.
        """
        from mlflow.entities import Metric

        counts = {
            f"{COUNT}{verdict.value}": verdicts.count(verdict)
            for verdict in Verdict
            if verdict in verdicts
        }
        with translated_errors(self._uri):
            # Pages of a thousand runs take seconds: do not search in vain.
            children = each_run(self._client, self._experiment_id, below(parent))
            for child in children if speedups else ():
                values = speedup_metrics(speedups.get(child.data.tags.get("record", "")))
                # It failed, has no baseline in its setting, or has them from an earlier attempt.
                if values.items() <= child.data.metrics.items():
                    continue
                now_ms = int(datetime.now().timestamp() * 1000)
                metrics = [Metric(name, value, now_ms, 0) for name, value in values.items()]
                self._client.log_batch(child.info.run_id, metrics)
            for name, count in counts.items():
                self._client.log_metric(parent, name, count)
            self._client.set_terminated(
                parent, "FINISHED" if set(verdicts) == {Verdict.OK} else "FAILED"
            )
            if report:
                self._log_report(parent, report)

    def _log_report(self, parent: str, report: SweepReport) -> None:
        for name, text in report.texts.items():
            self._client.log_text(parent, text, name)
        for path in report.pictures:
            self._client.log_artifact(parent, str(path))
        # Last: `sweep_run` takes it as the sign of a whole report.
        self._client.set_tag(parent, mlflow_views.NOTE_TAG, report.description)

    def run_page(self, run: str) -> str:
        """The page of a run: its address, without that of the server."""
        return mlflow_views.run_page(self._experiment_id, run)

    def sweep_page(self, parent: str) -> str:
        """The page of a sweep's runs, as `run_page`."""
        return mlflow_views.sweep_page(self._experiment_id, parent)

    def home_page(self) -> str:
        """The page of all runs, as `run_page`."""
        return mlflow_views.view_page(self._experiment_id)

    def sweep_run(self, folder: Path) -> SweepRun | None:
        """The run of a sweep, by its absolute folder."""
        if "'" in str(folder):  # MLflow's filters have no escape for quotes
            return None
        with translated_errors(self._uri):
            runs = self._search(f"tags.sweep = '{folder}'")
        if not runs:
            return None
        newest = max(runs, key=lambda run: run.info.start_time)
        alive = newest.info.status == "RUNNING" and (
            newest.data.tags.get(HOST_TAG) != os.uname().nodename or is_alive(newest.data.tags)
        )
        counts = [value for key, value in newest.data.metrics.items() if key.startswith(COUNT)]
        return SweepRun(
            str(newest.info.run_id),
            alive,
            ended=newest.info.status in ENDED,
            rows=int(sum(counts)) if mlflow_views.NOTE_TAG in newest.data.tags else None,
        )

    def continue_sweep(self, parent: str) -> None:
        """The parent run of a sweep belongs to this process from now on, and is open again."""
        with translated_errors(self._uri):
            for key, value in process_tags().items():
                self._client.set_tag(parent, key, value)
            self._client.update_run(parent, status="RUNNING")

    def mark_killed(self, run_id: str) -> None:
        """Mark the run of a sweep that did not run all its jobs."""
        with translated_errors(self._uri):
            self._client.set_terminated(run_id, "KILLED")

    def _mark_dead(self) -> None:
        """Mark RUNNING runs of this host as KILLED if their process no longer exists."""
        # A pid says nothing about the processes of another host.
        running = self._search(
            f"attributes.status = 'RUNNING' and tags.`{HOST_TAG}` = '{os.uname().nodename}'"
        )
        for run in running:
            if not is_alive(run.data.tags):
                self._client.set_terminated(run.info.run_id, "KILLED")

    def _search(self, filter_string: str) -> list[Run]:
        """All runs of the experiment that match."""
        return search(self._client, self._experiment_id, filter_string)


def open_store(tracking: Tracking, here: Path) -> MlflowStore:
    """Open the store.

    here: folder from which relative paths of a sqlite file and of artifacts start.
    """
    artifacts = str(here / tracking.artifacts) if tracking.artifacts else ""
    return MlflowStore(_absolute(tracking.uri, here), artifacts, tracking.experiment)


def locate(tracking: Tracking, here: Path, run_id: str) -> Located:
    """The records of a run by its id, as `harness.tracking.locate`; creates no store."""
    return records_by_id(_absolute(tracking.uri, here), tracking, run_id)


def server(tracking: Tracking, here: Path, port: int) -> ServerCommand:
    """The server of a local store's pages; on this machine only."""
    return mlflow_server.server(_absolute(tracking.uri, here), port)


def _absolute(uri: str, here: Path) -> str:
    return f"{SQLITE}{here / uri.removeprefix(SQLITE)}" if uri.startswith(SQLITE) else uri
