"""Which process an MLflow run belongs to, to recognise the runs of killed processes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

HOST_TAG, PID_TAG, STARTED_TAG = "harness.host", "harness.pid", "harness.pid_started"
"""Tags that identify the process of a run, to recognise runs whose process was killed."""


def process_tags() -> dict[str, str]:
    """Tags that identify this process."""
    started = start_ticks("self")
    tags = {HOST_TAG: os.uname().nodename, PID_TAG: str(os.getpid())}
    return {**tags, STARTED_TAG: started} if started else tags


def is_alive(tags: Mapping[str, str]) -> bool:
    """Whether the process of a run still exists, by pid and start time.

    Runs without a start time are compared by pid only.
    """
    start = start_ticks(tags[PID_TAG])
    return start is not None and tags.get(STARTED_TAG, start) == start


def start_ticks(pid: str) -> str | None:
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
