"""The harness's own host time a tile in wall-clock mode, beside a plain loop.

The device costs nothing. `plain_loop.py` stages as scripts do: it concatenates the parts of a
tile, makes bytes of them, writes, syncs, calls the kernel, waits, syncs and reads. Both use the
same simulated pyxrt, so both include what that takes.
"""

from __future__ import annotations

import packages  # noqa: F401 - exits where one is missing

# isort: split
import sys
import time
from dataclasses import fields, replace

import numpy as np
from bench_simulator import phoenix

from harness.config.device import ClockKind, Hazards, Simulator
from harness.config.strategy import Strategy
from harness.device.open import open_backend
from harness.device.xrt.session import XrtSession
from harness.execution.executor import Executor
from harness.inputs.chain import Chain
from harness.inputs.tiles import Tiles
from harness.kernel import load_kernel
from harness.sim import pyxrt

sys.modules["pyxrt"] = pyxrt
import plain_loop  # noqa: E402 - it imports pyxrt

TARGET = 0.5
TILES = 5_000
REPETITIONS = 9


def free() -> Simulator:
    """The device whose calls take no time, on the real clock, its buffers not watched."""
    profile = phoenix()
    kept = {"exec_ns", "poll_ns", "watchdog_ns", "idle_suspend_ns"}
    costs = {
        item.name: 0
        for item in fields(profile)
        if item.name.endswith(("_ns", "_mib")) and item.name not in kept
    }
    costs["heap_mib"] = profile.heap_mib
    return replace(
        profile, clock=ClockKind.wall, hazards=Hazards.off, exec_ns={"attention": 0}, **costs
    )


def main() -> None:
    profile, spec = free(), load_kernel("attention")
    (sent,) = spec.inputs
    generator = np.random.default_rng(0)
    parts = [generator.integers(-64, 64, (100, *part.shape), np.int8) for part in sent.parts]
    inputs = Tiles(Chain((spec,)), (sent.pack(*parts),), 1.0, 0)
    outputs = np.empty((TILES, spec.output.size_bytes), np.uint8)

    def keep(first: int, got: np.ndarray) -> None:
        outputs[first] = got[0]

    def own_us() -> float:
        executor = Executor(
            [XrtSession(open_backend(profile, spec, computes=False), spec, 1, 5_000)],
            Strategy(),
            TILES,
        )
        begin_ns = time.perf_counter_ns()
        executor.run(inputs, keep)
        return (time.perf_counter_ns() - begin_ns) / TILES / 1000

    def plain_us() -> float:
        path, _ = open_backend(profile, spec, computes=False).find_files(spec)
        begin_ns = time.perf_counter_ns()
        plain_loop.attend(path, TILES, 1, parts)
        return (time.perf_counter_ns() - begin_ns) / TILES / 1000

    taken = [(own_us(), plain_us()) for _ in range(REPETITIONS)]
    own, plain = (min(times) for times in zip(*taken, strict=True))
    print(
        f"wall clock: harness / plain loop = {own / plain:.2f} (target <= {TARGET}): "
        f"{own:.1f} / {plain:.1f} us of "
        f"host time a tile, minima of {REPETITIONS} interleaved; both serial, each output kept"
    )


if __name__ == "__main__":
    main()
