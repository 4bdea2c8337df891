"""A process that drops a run: `python -m npu.drop sim|<kernels_dir> <what it does before>`."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path

from harness.device.host import locks
from npu.bench import Bench, hardware, simulator


def main(device: str, before: str) -> None:
    locks.FOLDER = Path.cwd()  # the process that waits for this one may hold the device's lock
    bench = Bench(simulator() if device == "sim" else hardware(device))
    job = bench.job(bench.open())
    run, job.run = job.run, None
    run.start()
    if before == "wait":
        run.wait()
    elif before == "state":
        while int(run.state()) == 1:
            pass
    elif before == "wait(1)":
        with suppress(RuntimeError):
            run.wait(1)
    del run
    bench.bo(job.opened, 64)  # the simulator ends the process at its next use
    print("alive")


if __name__ == "__main__":
    main(*sys.argv[1:])
