"""The MLflow run of a record as plain data, and the interface of what writes it to a store."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from harness.measure.metrics import SAMPLE, SPEEDUP
from harness.measure.stats import Ratio
from harness.results.record import Record
from harness.tracking.mlflow_views import NOTE_TAG
from harness.tracking.notes import resolved_settings, run_note
from harness.tracking.processes import process_tags
from harness.tracking.store import Entry

RECORD_TAG = "harness.record"
"""Tag with the sha256 of `record.json`, which identifies the run of a record."""


@dataclass(frozen=True)
class RunData:
    """A finished run.

    digest: sha256 of the record's file. begin_ms: of its start, since the epoch. metrics: key,
    value and step; the last of equal keys is the run's value. artifacts: files to copy.
    """

    digest: str
    name: str
    status: str
    begin_ms: int
    params: Mapping[str, str]
    tags: Mapping[str, str]
    metrics: Sequence[tuple[str, float, int]]
    artifacts: Sequence[Path]


class RunWriter(Protocol):
    """Writes finished runs to one experiment of a store."""

    def stored(self, folders: Mapping[str, str], parent: str | None = None) -> set[str]:
        """Of records, as digest -> absolute folder, the digests of those that have a whole run.

        parent: the run of their sweep, if it is known.
        """

    def write(self, runs: Sequence[RunData], *, new: bool) -> list[str]:
        """Write runs, and return their ids; new: no earlier attempt can have left a part of one."""


def run_data(entry: Entry, parent: str | None) -> RunData:
    """The MLflow run of a record."""
    record, speedup = entry.record, entry.speedup
    metrics = [
        (name, float(value), 0) for name, value in record.metrics.items() if value is not None
    ]
    metrics += [(name, value, 0) for name, value in speedup_metrics(speedup).items()]
    metrics += [
        (SAMPLE, total_ns / 1e6, step) for step, total_ns in enumerate(record.samples.total_ns)
    ]
    tags = _tags(record, entry.folder) | {RECORD_TAG: entry.digest}
    return RunData(
        digest=entry.digest,
        name=record.name,
        status="FINISHED" if record.ok else "FAILED",
        begin_ms=int(datetime.fromisoformat(record.created).timestamp() * 1000),
        params={key: str(value) for key, value in _params(record).items()},
        tags=tags | ({"mlflow.parentRunId": parent} if parent else {}),
        metrics=metrics,
        artifacts=entry.artifacts,
    )


def speedup_metrics(speedup: Ratio | None) -> dict[str, float]:
    """A speed-up and its interval, as far as they are known."""
    if speedup is None:
        return {}
    values = {"": speedup.ratio, "_low": speedup.low, "_high": speedup.high}
    return {f"{SPEEDUP}{end}": value for end, value in values.items() if value is not None}


def _params(record: Record) -> dict[str, Any]:
    """MLflow's params of a record: the effective knobs and other settings of the run."""
    knobs = {
        f"strategy.{key}": getattr(value, "value", value)
        for key, value in asdict(record.knobs).items()
    }
    # Few params: MLflow's comparison of runs is readable only if they are what was varied. The
    # whole configuration is in the record, because params over 6000 characters are cut.
    fixed = {"kernel": record.kernel, "workload.tiles": record.config["workload"]["tiles"]}
    return {**fixed, **knobs, **resolved_settings(record)}


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
        **({"stop": record.stop.text} if record.stop else {}),
        "reason": record.reason,
        **({"oracle": record.verification.oracle.value} if record.verification else {}),
        "accounting": record.accounting.kind.value,
        "config_hash": record.config_hash,
        "environment_hash": hashlib.sha256(environment.encode()).hexdigest(),
        "record": str(folder.absolute()),
        "mlflow.source.name": shlex.join(["python", "-m", "harness", *record.overrides]),
        "mlflow.source.type": "LOCAL",
        NOTE_TAG: run_note(record),
        **process_tags(),
    }
