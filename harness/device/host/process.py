"""Runs a program that may hang, possibly in the driver, where even SIGKILL cannot end it."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass


@dataclass(frozen=True)
class Result:
    """code: exit code of the program, None after a timeout. output: its stdout and stderr."""

    code: int | None
    output: str


def run(arguments: Sequence[str], timeout_s: float) -> Result:
    """Run a program until it ends, or kill it after `timeout_s`; OSError if it cannot be started.

    The program runs in its own session. So Ctrl-C does not reach it, and its children can be
    killed with it (XRT's xrt-smi is a shell script). Its output goes to a file, because reading a
    pipe would block until every process that holds the pipe has ended.
    """
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout_s)
            code = process.returncode
        finally:
            if process.returncode is None:
                _kill(process)
        output.seek(0)
        return Result(code, output.read().decode(errors="replace"))


def _kill(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    # A process that hangs in the driver ignores SIGKILL: do not wait for it.
    with suppress(subprocess.TimeoutExpired):
        process.wait(1)
