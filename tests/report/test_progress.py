"""The progress bar: drawn on a terminal, where work is long, and nowhere else."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from support.process import program

pytestmark = pytest.mark.slow


def stderr_of(patience_s: float, folder: Path, *, terminal: bool) -> str:
    """What a run draws on stderr, a terminal or a pipe; more than `patience_s` of work is long."""
    ours, theirs = pty.openpty() if terminal else os.pipe()
    patience = program(
        f"import harness.report.progress; harness.report.progress.PATIENCE_S = {patience_s}"
    )
    arguments = [*patience, "tracking=off", "measure=quick", "workload.tiles=5"]
    with subprocess.Popen(
        [sys.executable, *arguments], cwd=folder, stdout=subprocess.PIPE, stderr=theirs
    ) as running:
        os.close(theirs)
        drawn = b""
        while piece := _read(ours):
            drawn += piece
        assert running.stdout is not None
        assert b"verdict" in running.stdout.read()
    os.close(ours)
    return drawn.decode()


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 1 << 16)
    except OSError:  # a pseudo-terminal that no process has open for writing any more
        return b""


def test_a_long_run_shows_how_far_it_is(tmp_path: Path) -> None:
    drawn = stderr_of(0, tmp_path, terminal=True)
    assert "pooled d2 b1 c1: verify" in drawn
    assert "%" in drawn


def test_a_short_run_shows_nothing(tmp_path: Path) -> None:
    assert "verify" not in stderr_of(3600, tmp_path, terminal=True)


def test_a_pipe_is_left_alone(tmp_path: Path) -> None:
    assert stderr_of(0, tmp_path, terminal=False) == ""
