"""The two command lines that are compared, and the time each takes as a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

COMMANDS = {
    "harness": [sys.executable, "-m", "harness"],
    "bare script": [sys.executable, str(Path(__file__).with_name("bare_script.py"))],
}
LAST = {"harness": ["tracking=local"], "bare script": []}
"""What ends each command line: the bare script tracks as it is."""
TREE = Path(__file__).parent.parent
# For both: MLflow would call its makers' server, and without a network that wait would be timed.
ENVIRONMENT = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "PYTHONPATH": str(TREE)}
# Packages are compiled once, when they are installed or first used.
ENVIRONMENT.pop("PYTHONDONTWRITEBYTECODE", None)


def run_s(name: str, folder: Path, *arguments: str) -> float:
    """Wall seconds of one run in `folder`, which holds its store; exits if the run fails."""
    line = [*COMMANDS[name], *arguments, *LAST[name]]
    begin = time.perf_counter()
    done = subprocess.run(
        line, check=False, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True
    )
    taken = time.perf_counter() - begin
    if done.returncode:
        sys.exit(f"{' '.join(line)}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return taken


def folders(root: Path) -> dict[str, Path]:
    """A working directory under `root` for each command: neither fills the other's store."""
    made = {name: root / name.split()[0] for name in COMMANDS}
    for folder in made.values():
        folder.mkdir()
    return made
