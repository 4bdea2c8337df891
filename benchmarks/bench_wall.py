"""The harness's own host time a tile in wall-clock mode, on a device that costs nothing, beside a plain loop.

The plain loop stages as scripts do: it concatenates the parts of a tile, makes bytes of them, writes, syncs, calls
the kernel, waits, syncs and reads. Both use the same simulated pyxrt; pyxrt's part is in both.
"""

from __future__ import annotations

import time
from dataclasses import fields, replace

import numpy as np
from bench_simulator import phoenix

from harness.device import Clock, Hazards, Simulator
from harness.executor import Executor
from harness.kernel import load_kernel
from harness.session import OPCODE_TXN, Session, World, open_world
from harness.strategy import Strategy
from harness.workload import Tiles

TARGET = 0.5
TILES = 5_000
REPETITIONS = 9


def free() -> Simulator:
    """The device whose calls take no time, on the real clock, its buffers not watched."""
    profile = phoenix()
    kept = {"exec_ns", "poll_ns", "watchdog_ns", "idle_suspend_ns"}
    costs = {item.name: 0 for item in fields(profile) if item.name.endswith(("_ns", "_mib")) and item.name not in kept}
    costs["heap_mib"] = profile.heap_mib
    return replace(profile, clock=Clock.wall, hazards=Hazards.off, exec_ns={"attention": 0}, **costs)


def plain_loop(world: World, parts: list[np.ndarray], size_bytes: int) -> None:
    """TILES tiles, one after another."""
    pyxrt, device = world.pyxrt, world.device
    spec = load_kernel("attention")
    path, instructions = world.image(spec)
    uuid = device.register_xclbin(pyxrt.xclbin(path))
    kernel = pyxrt.kernel(pyxrt.hw_context(device, uuid), spec.name)
    to_device = pyxrt.xclBOSyncDirection.XCL_BO_SYNC_BO_TO_DEVICE
    from_device = pyxrt.xclBOSyncDirection.XCL_BO_SYNC_BO_FROM_DEVICE
    code = pyxrt.bo(device, instructions.nbytes, pyxrt.bo.cacheable, kernel.group_id(1))
    given = pyxrt.bo(device, sum(part[0].nbytes for part in parts), pyxrt.bo.host_only, kernel.group_id(3))
    result = pyxrt.bo(device, size_bytes, pyxrt.bo.host_only, kernel.group_id(4))
    code.write(instructions, 0)
    code.sync(to_device)
    for tile in range(TILES):
        staged = np.concatenate([part[tile % len(part)].reshape(-1) for part in parts])
        given.write(staged.tobytes(), 0)
        given.sync(to_device)
        run = kernel(OPCODE_TXN, code, instructions.nbytes, given, result)
        run.wait()
        result.sync(from_device)
        result.read(size_bytes, 0)


def main() -> None:
    profile, spec = free(), load_kernel("attention")
    (sent,) = spec.inputs
    generator = np.random.default_rng(0)
    parts = [generator.integers(-64, 64, (100, *part.shape), np.int8) for part in sent.parts]
    inputs = Tiles(spec, (sent.pack(*parts),), 1.0, 0)
    outputs = np.empty((TILES, spec.output.size_bytes), np.uint8)

    def keep(first: int, got: np.ndarray) -> None:
        outputs[first] = got[0]

    def own_us() -> float:
        executor = Executor(Session(open_world(profile, spec, computes=False), spec, 1, 5_000), Strategy(), TILES)
        begin_ns = time.perf_counter_ns()
        executor.run(inputs, keep)
        return (time.perf_counter_ns() - begin_ns) / TILES / 1000

    def plain_us() -> float:
        world = open_world(profile, spec, computes=False)
        begin_ns = time.perf_counter_ns()
        plain_loop(world, parts, spec.output.size_bytes)
        return (time.perf_counter_ns() - begin_ns) / TILES / 1000

    taken = [(own_us(), plain_us()) for _ in range(REPETITIONS)]
    own, plain = (min(times) for times in zip(*taken, strict=True))
    print(
        f"wall clock: harness / plain loop = {own / plain:.2f} (target <= {TARGET}): {own:.1f} / {plain:.1f} us of "
        f"host time a tile, minima of {REPETITIONS} interleaved; both serial, each output kept"
    )


if __name__ == "__main__":
    main()
