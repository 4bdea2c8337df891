"""The progress bar: drawn on a terminal, where work is long, and nowhere else."""

from __future__ import annotations

import os
import pty
from pathlib import Path

import pytest
from support.fork_server import Forked, environment

pytestmark = pytest.mark.slow


def stderr_of(patience_s: float, *, terminal: bool) -> str:
    """What a run draws on stderr, a terminal or a pipe; more than `patience_s` of work is long."""
    ours, theirs = pty.openpty() if terminal else os.pipe()
    patience = f"import harness.report.progress; harness.report.progress.PATIENCE_S = {patience_s}"
    arguments = ["tracking=off", "measure=quick", "workload.tiles=5"]
    running = Forked(patience, arguments, environment(), stderr=theirs)
    os.close(theirs)
    drawn = b""
    while piece := _read(ours):
        drawn += piece
    os.close(ours)
    out, _ = running.communicate()
    assert "verdict" in out
    return drawn.decode()


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 1 << 16)
    except OSError:  # a pseudo-terminal that no process has open for writing any more
        return b""


def test_a_long_run_shows_how_far_it_is(in_folder: Path) -> None:
    drawn = stderr_of(0, terminal=True)
    assert "pooled d2 b1 c1: verify" in drawn
    assert "%" in drawn


def test_a_short_run_shows_nothing(in_folder: Path) -> None:
    assert "verify" not in stderr_of(3600, terminal=True)


def test_a_pipe_is_left_alone(in_folder: Path) -> None:
    assert stderr_of(0, terminal=False) == ""
