"""Tiles per second of the executor over the simulator, sanitizer on, beside a SimPy model.

Both simulate the same pipeline. Then it measures where the executor's host time goes: the same
passes over a pyxrt whose calls do nothing.
"""

from __future__ import annotations

import packages  # noqa: F401 - exits where one is missing

# isort: split
import sys
import time
from collections.abc import Callable
from enum import IntEnum
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from harness.config.compose import load
from harness.config.device import Simulator
from harness.config.strategy import Strategy
from harness.device.backend import MONOTONIC, Backend, Capabilities
from harness.device.clock import HostClock
from harness.device.open import open_backend
from harness.device.xrt.backend import XrtBackend
from harness.device.xrt.wait import pause_host
from harness.execution.executor import Executor
from harness.inputs.chain import Chain
from harness.inputs.tiles import Tiles
from harness.kernel import KernelSpec, load_kernel
from harness.measure.timeline import PassMarks

TESTS = Path(__file__).parent.parent / "tests"
TARGET = 3.0
TILES = 20_000
REPETITIONS = 7
STRATEGY = Strategy(depth=2)
TIMEOUT_MS = 5_000


class State(IntEnum):
    """COMPLETED is the one state that a run is ever in."""

    ERT_CMD_STATE_NEW = 1
    ERT_CMD_STATE_COMPLETED = 4


class NoBo:
    """A buffer object whose syncs do nothing."""

    cacheable = host_only = 0

    def __init__(self, device: Any, size_bytes: int, flags: int, group: int) -> None:
        self._memory = bytearray(size_bytes)

    def write(self, data: Any, seek: int) -> None:
        pass

    def map(self) -> memoryview:
        return memoryview(self._memory)

    def size(self) -> int:
        return len(self._memory)

    def sync(self, direction: int, size_bytes: int = 0, offset_bytes: int = 0) -> None:
        pass


class NoRun:
    """A run that is complete as soon as it is started."""

    def __init__(self, kernel: Any) -> None:
        pass

    def set_arg(self, index: int, value: Any) -> None:
        pass

    def start(self) -> None:
        pass

    def state(self) -> State:
        return State.ERT_CMD_STATE_COMPLETED


def no_backend(spec: KernelSpec) -> XrtBackend:
    """A pyxrt that does nothing, and the clock of real hardware."""
    kernel = SimpleNamespace(
        get_name=lambda: spec.name,
        get_num_args=lambda: spec.used_arguments,
        group_id=lambda index: 0,
    )
    pyxrt = SimpleNamespace(
        xclBOSyncDirection=SimpleNamespace(
            XCL_BO_SYNC_BO_TO_DEVICE=0, XCL_BO_SYNC_BO_FROM_DEVICE=1
        ),
        ert_cmd_state=State,
        xclbin=lambda path: SimpleNamespace(get_kernels=lambda: [kernel]),
        hw_context=lambda device, uuid: None,
        kernel=lambda context, name: kernel,
        bo=NoBo,
        run=NoRun,
    )
    return XrtBackend(
        pyxrt=pyxrt,
        device=SimpleNamespace(register_xclbin=lambda xclbin: 0),
        clock=HostClock(),
        pause=pause_host,
        capabilities=Capabilities(MONOTONIC, batches=False),
        find_files=lambda _: ("none.xclbin", np.zeros(4, np.uint8)),
    )


def phoenix() -> Simulator:
    """The calibrated profile."""
    device = load("device=simulator", "tracking=off").device
    assert isinstance(device, Simulator)
    return device


def run_pass(backend: Backend, inputs: Tiles, tiles: int = TILES) -> PassMarks:
    """Open a session on `backend` and run one pass, its outputs thrown away."""
    session = backend.open_session(inputs.spec, STRATEGY.columns, TIMEOUT_MS)
    return Executor([session], STRATEGY, tiles).run(inputs, lambda first, outputs: None)


def main() -> None:
    sys.path.append(str(TESTS))
    from support.simpy_model import simulate

    profile, spec = phoenix(), load_kernel("attention")
    inputs = Tiles(
        Chain((spec,)), tuple(np.zeros((1, bo.size_bytes), np.uint8) for bo in spec.inputs), 1.0, 0
    )
    (sent,) = spec.inputs
    exec_ns = profile.exec_of(spec.name)

    def harness_ns() -> int:
        return run_pass(open_backend(profile, spec, computes=False), inputs).makespan_ns

    def simpy_ns() -> int:
        model = simulate(
            profile,
            STRATEGY,
            TILES,
            [sent.size_bytes],
            [spec.output.size_bytes],
            exec_ns,
            cold=True,
        )
        return model.makespan_ns

    contenders: dict[str, Callable[[], object]] = {
        "harness": harness_ns,
        "simpy": simpy_ns,
        "nothing": lambda: run_pass(no_backend(spec), inputs),
    }
    if harness_ns() != simpy_ns():  # warms both up, too
        sys.exit(
            "bench_simulator: the two do not simulate the same thing; "
            "see tests/sim/test_simpy_agreement.py"
        )
    taken_s: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(REPETITIONS):
        for name, call in contenders.items():
            begin_s = time.process_time()
            call()
            taken_s[name].append(time.process_time() - begin_s)
    best_s = {name: min(times) for name, times in taken_s.items()}
    print(
        f"simulator: harness / SimPy = {best_s['simpy'] / best_s['harness']:.2f} "
        f"(target >= {TARGET}): "
        f"{TILES / best_s['harness']:,.0f} / {TILES / best_s['simpy']:,.0f} tiles/s of CPU time, "
        f"{TILES:,} tiles at depth {STRATEGY.depth}, minima of {REPETITIONS} interleaved"
    )
    whole_us, own_us = (1e6 * best_s[name] / TILES for name in ("harness", "nothing"))
    print(
        f"host time a tile: {whole_us:.1f} us, of which executor, slot and session {own_us:.1f} us "
        "(the same pass over a pyxrt whose calls do nothing) "
        f"and the simulator {whole_us - own_us:.1f} us"
    )


if __name__ == "__main__":
    main()
