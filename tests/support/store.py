"""An MLflow store as a test reads it."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

from support.process import Done

Run = Any
"""mlflow.entities.Run"""


def filed(store: Path = Path("outputs/mlflow.db")) -> list[Run]:
    """All runs in a store, the oldest first."""
    client = open_client(store)
    found = client.search_experiments()
    return client.search_runs(
        [each.experiment_id for each in found], order_by=["attributes.start_time ASC"]
    )


def runs_of(done: Done) -> list[Run]:
    """The MLflow runs of a command's runs, in their order."""
    by_folder = {run.data.tags.get("record"): run for run in filed()}
    return [by_folder[str(folder.absolute())] for folder in done.folders]


def import_mlflow() -> None:
    """Call it before this process uses MLflow, whose import uses what SQLAlchemy has deprecated."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    with warnings.catch_warnings(action="ignore"):
        import mlflow.store.tracking.sqlalchemy_store  # noqa: F401


def open_client(store: Path) -> Any:
    import_mlflow()
    from mlflow.tracking import MlflowClient

    return MlflowClient(f"sqlite:///{store.absolute()}")


def parent_id(run: Run) -> str | None:
    return run.data.tags.get("mlflow.parentRunId")
