"""How long a default run takes, seen from the shell, beside a bare Hydra and MLflow script."""

from __future__ import annotations

import packages  # noqa: F401 - exits where one is missing

# isort: split
import tempfile
from pathlib import Path

from commands import folders, run_s

TARGET = 1.1
REPETITIONS = 7


def main() -> None:
    with tempfile.TemporaryDirectory() as root:
        places = folders(Path(root))
        for name, folder in places.items():
            run_s(name, folder)  # creates the store
        times_s: dict[str, list[float]] = {name: [] for name in places}
        for _ in range(REPETITIONS):
            for name, folder in places.items():
                times_s[name].append(run_s(name, folder))
    harness_s, bare_s = min(times_s["harness"]), min(times_s["bare script"])
    print(
        f"startup: harness / bare script = {harness_s / bare_s:.2f} (target <= {TARGET}): "
        f"{harness_s:.2f} s / {bare_s:.2f} s a process, minima of {REPETITIONS} interleaved"
    )


if __name__ == "__main__":
    main()
