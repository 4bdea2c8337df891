"""kill -9 at random moments of sweeps; `benchmarks/bench_kills.py` does it 200 times."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from support.kills import JOBS, Moment, kill_sweeps

KILLS = 6
LONGEST_S = 2.5
"""A kill comes at a random CPU time below it: while a store is created, in or between runs."""


@pytest.mark.slow
def test_kills_lose_nothing(in_folder: Path) -> None:
    """Whatever moment a kill hits, the counts are the same."""
    toll = kill_sweeps(KILLS, LONGEST_S, random.Random(1))
    assert (toll.kills, toll.lost, toll.duplicated, toll.half) == (KILLS, 0, 0, [])
    assert (toll.untraced, toll.left) == (0, 0)
    assert toll.runs == JOBS * toll.sweeps
    assert toll.moments[Moment.end] < KILLS // 2, "most kills hit a sweep with jobs left"
