"""Runs a program that may hang, even in the driver, where nothing can end it."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass


@dataclass(frozen=True)
class Ended:
    """What became of it: its exit code, None if it had not ended in time, and all that it printed."""

    code: int | None
    output: str


def run(arguments: Sequence[str], timeout_s: float) -> Ended:
    """Run a program to its end, or for `timeout_s`; OSError when it can't be started.

    It gets a session of its own: a Ctrl-C is not for it, and what it started ends with it (XRT's xrt-smi is a shell
    script). Its output goes to a file, because a pipe is waited for as long as anybody holds it.
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
        return Ended(code, output.read().decode(errors="replace"))


def _kill(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    with suppress(
        subprocess.TimeoutExpired
    ):  # one stuck in the driver can't be killed, nor be waited for
        process.wait(1)
