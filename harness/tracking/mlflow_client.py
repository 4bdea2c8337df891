"""Opens MLflow's client, with the environment variables that it reads on import."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

VARIABLES = {
    # By default it sends telemetry, and retries a server that does not answer for minutes.
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # Its thread would run during timed passes.
    "MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    # Two lines on stdout for each run, in the middle of tables.
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
"""Values that hold unless the user sets others."""


def configure() -> None:
    """Set the variables; call it before anything imports MLflow."""
    for name, value in VARIABLES.items():
        os.environ.setdefault(name, value)


def open_client(uri: str) -> MlflowClient:
    """The client of a store."""
    configure()
    from mlflow.tracking import MlflowClient

    return MlflowClient(tracking_uri=uri)
