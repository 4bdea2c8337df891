"""The command that serves MLflow's pages of a local store."""

from __future__ import annotations

import os
import sys

from harness.tracking.store import LOOPBACK, ServerCommand


def server(uri: str, port: int) -> ServerCommand:
    """MLflow's server on the loopback address; one process, because one person uses it."""
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", uri]
    command += ["--host", LOOPBACK, "--port", str(port), "--workers", "1"]
    environment = {
        **os.environ,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        # Jobs are for evaluations of language models; they need more processes.
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    return ServerCommand(command, environment, f"http://{LOOPBACK}:{port}/health")
