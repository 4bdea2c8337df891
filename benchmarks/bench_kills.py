"""Whether kill -9 at random moments of sweeps loses, duplicates or half-writes a run."""

from __future__ import annotations

import packages  # noqa: F401 - exits where one is missing

# isort: split
import math
import os
import random
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from support.fork_server import Forked, environment
from support.kills import LIMIT_S, Moment, Toll, kill_sweeps, run_for, sweep

KILLS = 200
KILLS_PER_STORE = 8
"""Then the next sweep starts in a new folder, so that kills also hit the creation of a store."""


def sweep_s() -> float:
    """CPU time of a sweep that creates its store and is not killed."""
    return run_for(Forked("", sweep(0), environment()), math.inf)


def main() -> None:
    kills = int(sys.argv[1]) if len(sys.argv) > 1 else KILLS
    generator, toll = random.Random(0), Toll()
    with tempfile.TemporaryDirectory() as root:
        os.chdir(root)
        # Starts the process that forks the others, and imports what they import.
        Forked("", ["--version"], environment()).communicate(LIMIT_S)
        longest_s = sweep_s()
        while toll.kills < kills:
            folder = Path(root) / f"after {toll.kills}"
            folder.mkdir()
            os.chdir(folder)
            toll.add(kill_sweeps(min(KILLS_PER_STORE, kills - toll.kills), longest_s, generator))
        os.chdir("/")
    print(
        f"kills: {toll.kills} at random moments of sweeps, {toll.runs} runs finished: {toll.lost} "
        f"lost, {toll.duplicated} duplicated, {len(toll.half)} half-written, {toll.untraced} "
        f"without a trace, {toll.left} files of killed jobs left (target 0 each)"
    )
    print("; ".join(f"{toll.moments[each]} {each.value}" for each in Moment))
    print(*toll.half, sep="\n", end="")


if __name__ == "__main__":
    main()
