"""What the pictures of a sweep of 40 jobs cost, beside the same sweep without pictures."""

from __future__ import annotations

import packages  # noqa: F401 - exits where one is missing

# isort: split
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from commands import COMMANDS, ENVIRONMENT, LAST

TARGET = 1.1
REPETITIONS = 5
JOBS = 40
SWEPT = ["depth=range(1,11)", "workload.tiles=20,30,40,50"]
OVERRIDES = ["-m", "strategy=pipelined", *SWEPT, "resume=off"]
SWITCH = "HARNESS_PICTURES"


def sweep_s(folder: Path, pictures: str) -> tuple[float, float]:
    """Wall and CPU seconds of one sweep, with its processes; exits if it fails."""
    line = [*COMMANDS["harness"], *OVERRIDES, *LAST["harness"]]
    environment = {**ENVIRONMENT, SWITCH: pictures}
    cpu, begin = children_s(), time.perf_counter()
    done = subprocess.run(
        line, check=False, cwd=folder, env=environment, capture_output=True, text=True
    )
    taken = time.perf_counter() - begin
    drawn = len([*folder.rglob("curves.png")])
    if done.returncode or bool(drawn) is not (pictures == "on"):
        sys.exit(f"{' '.join(line)}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return taken, children_s() - cpu


def children_s() -> float:
    """CPU seconds of all processes that have ended, and of theirs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main() -> None:
    os.environ.pop(SWITCH, None)
    taken: dict[str, list[tuple[float, float]]] = {"on": [], "off": []}
    with tempfile.TemporaryDirectory() as root:
        for pictures in taken:
            (Path(root) / pictures).mkdir()
            sweep_s(Path(root) / pictures, pictures)  # creates the store
        for _ in range(REPETITIONS):
            for pictures, times in taken.items():
                times.append(sweep_s(Path(root) / pictures, pictures))
    (on_s, on_cpu_s), (off_s, off_cpu_s) = (
        map(min, zip(*each, strict=True)) for each in taken.values()
    )
    print(
        f"pictures: with / without = {on_s / off_s:.2f} (target <= {TARGET}): "
        f"{on_s:.2f} s / {off_s:.2f} s a sweep of {JOBS} jobs, {on_cpu_s / off_cpu_s:.2f} in CPU "
        f"time ({on_cpu_s:.2f} s / {off_cpu_s:.2f} s), minima of {REPETITIONS} interleaved"
    )


if __name__ == "__main__":
    main()
