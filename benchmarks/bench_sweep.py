"""What another job of a tracked sweep costs, beside a Hydra and MLflow script that runs nothing."""

from __future__ import annotations

import packages  # noqa: F401 - exits where one is missing

# isort: split
import tempfile
from pathlib import Path

from commands import folders, run_s

TARGET = 0.6
REPETITIONS = 3
JOBS = 200
DEPTHS, TILES = "1,2,3,4,5,6,7,8,9,10", "range(10,50,2)"
# The bare script has no presets: its strategy's depth is what `depth` sets for the harness, and it
# runs again what has run before.
OVERRIDES = {
    "harness": "strategy=pipelined depth={} workload.tiles={} resume=off",
    "bare script": "strategy.depth={} workload.tiles={}",
}


def sweep_s(name: str, folder: Path, depths: str, tiles: str) -> float:
    """Wall seconds of one sweep over all combinations."""
    return run_s(name, folder, "-m", *OVERRIDES[name].format(depths, tiles).split())


def main() -> None:
    with tempfile.TemporaryDirectory() as root:
        places = folders(Path(root))
        for name, folder in places.items():
            run_s(name, folder)  # creates the store
        one_s: dict[str, list[float]] = {name: [] for name in places}
        all_s: dict[str, list[float]] = {name: [] for name in places}
        for _ in range(REPETITIONS):
            for name, folder in places.items():
                one_s[name].append(sweep_s(name, folder, "1", "30"))
                all_s[name].append(sweep_s(name, folder, DEPTHS, TILES))
    job_ms = {name: 1000 * (min(all_s[name]) - min(one_s[name])) / (JOBS - 1) for name in places}
    harness_ms, bare_ms = job_ms["harness"], job_ms["bare script"]
    print(
        f"sweep: harness / bare script = {harness_ms / bare_ms:.2f} (target <= {TARGET}): "
        f"{harness_ms:.0f} ms / {bare_ms:.0f} ms a job, "
        f"from minima of {REPETITIONS} interleaved sweeps of {JOBS} jobs and of one"
    )


if __name__ == "__main__":
    main()
