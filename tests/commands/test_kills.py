"""kill -9 at random moments of sweeps; `benchmarks/bench_kills.py` does it 200 times."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from support.kills import Toll, kill_sweep

KILLS = 8
LONGEST_S = 4
"""A kill comes at a random CPU time below it: while a store is created, in or between runs."""


@pytest.mark.slow
def test_kills_lose_nothing(in_folder: Path) -> None:
    """Whatever moment a kill hits, the counts are the same."""
    toll = kill_sweep(KILLS, LONGEST_S, random.Random(1))
    assert toll == Toll(kills=KILLS, runs=toll.runs)
    assert toll.runs >= 12
