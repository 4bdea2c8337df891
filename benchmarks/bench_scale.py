"""Time and memory of a pass of 1,000,000 tiles beside 10,000: sanitizer on, kernels only timed."""

from __future__ import annotations

import packages  # noqa: F401 - exits where one is missing

# isort: split
import resource
import subprocess
import sys
import time

import numpy as np
from bench_simulator import phoenix, run_pass

from harness.device.open import open_backend
from harness.inputs.chain import Chain
from harness.inputs.tiles import Tiles
from harness.kernel import load_kernel

SHORT, LONG = 10_000, 1_000_000
TARGET = 1.1
PAIRS = 3


def measure(tiles: int) -> tuple[float, int]:
    """CPU seconds a tile, of as many passes as make LONG tiles, and peak memory in bytes."""
    profile, spec = phoenix(), load_kernel("attention")
    inputs = Tiles(
        Chain((spec,)), tuple(np.zeros((1, bo.size_bytes), np.uint8) for bo in spec.inputs), 1.0, 0
    )
    worlds = [open_backend(profile, spec, computes=False) for _ in range(LONG // tiles)]
    run_pass(worlds[0], inputs, SHORT)  # warms up
    begin_s = time.process_time()
    for world in worlds:
        run_pass(world, inputs, tiles)
    return (time.process_time() - begin_s) / LONG, resource.getrusage(
        resource.RUSAGE_SELF
    ).ru_maxrss * 1024


def measured_apart(tiles: int) -> tuple[float, int]:
    """The same in a process of its own, whose memory is its own."""
    command = [sys.executable, __file__, str(tiles)]
    seconds, peak = subprocess.run(
        command, check=True, capture_output=True, text=True
    ).stdout.split()
    return float(seconds), int(peak)


def main() -> None:
    pairs = [(measured_apart(SHORT), measured_apart(LONG)) for _ in range(PAIRS)]
    ratio, short, long = sorted((long[0] / short[0], short[0], long[0]) for short, long in pairs)[
        PAIRS // 2
    ]
    base, peak = pairs[0][0][1], pairs[0][1][1]
    print(
        f"scale: time a tile, one pass of {LONG:,} / passes of {SHORT:,} tiles = {ratio:.2f} "
        f"(target <= {TARGET}): {1e6 * long:.2f} / {1e6 * short:.2f} us of CPU time, "
        f"the median of {PAIRS} pairs; peak memory {peak / 2**20:.0f} MiB, "
        f"{(peak - base) / LONG:.0f} B a tile over the short passes' {base / 2**20:.0f} MiB"
    )


if __name__ == "__main__":
    if len(sys.argv) == 2:
        print(*measure(int(sys.argv[1])))
    else:
        main()
