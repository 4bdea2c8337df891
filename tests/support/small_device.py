"""A small kernel, a device with round costs, and one pass as an exact log."""

from __future__ import annotations

from typing import Any

import numpy as np

from harness.config.device import Simulator
from harness.config.strategy import Buffers, Strategy
from harness.device.open import open_backend
from harness.device.xrt.backend import XrtBackend
from harness.device.xrt.session import XrtSession
from harness.execution.executor import Executor
from harness.execution.verify import Checker
from harness.inputs.chain import Chain
from harness.inputs.tiles import Tiles
from harness.kernel import Array, Buffer, Direction, KernelSpec, Part
from harness.measure.timeline import Timeline

COSTS: dict[str, Any] = {
    "alloc_ns": 1,
    "write_fixed_ns": 10,
    "read_fixed_ns": 5,
    "launch_ns": 20,
    "completion_ns": 7,
    "chain_command_ns": 3,
    "exec_ns": {"add": 100},
}


def add(left: Array, right: Array) -> Array:
    """Sum modulo 256 of two int8 arrays (n, 8, 16)."""
    return left + right


ADD = KernelSpec(
    name="add",
    arguments=(
        Buffer("operands", (Part("left", (8, 16)), Part("right", (8, 16)))),
        Buffer("sum", (Part("sum", (8, 16)),), Direction.OUT),
    ),
    reference=add,
    ops=128,
)


def make_tiles(spec: KernelSpec, period: int, seed: int = 0) -> Tiles:
    """`period` distinct random tiles of a kernel."""
    generator = np.random.default_rng(seed)
    packed = tuple(
        generator.integers(0, 256, (period, buffer.size_bytes), np.uint8) for buffer in spec.inputs
    )
    return Tiles(Chain((spec,)), packed, audio_s=11.0, host_ns=0)


def make_backend(spec: KernelSpec = ADD, computes: bool = True, **costs: Any) -> XrtBackend:
    """A simulated device with round costs, changed by `costs`."""
    backend = open_backend(Simulator(**{**COSTS, **costs}), spec, computes=computes)
    assert isinstance(backend, XrtBackend)
    return backend


def run_pass(
    tiles: int, spec: KernelSpec = ADD, costs: dict[str, Any] | None = None, **knobs: Any
) -> Timeline:
    """One verified pass on a fresh simulated device; fails the test on a wrong output."""
    strategy = Strategy(**{"buffers": Buffers.pooled, **knobs})
    backend = make_backend(spec, **(costs or {}))
    session = XrtSession(backend, spec, strategy.columns, timeout_ms=1000)
    executor = Executor([session], strategy, tiles)
    inputs = make_tiles(spec, max(1, tiles))
    checker = Checker(inputs)
    executor.run(inputs, checker, checker.poison)
    assert (checker.compared, checker.first_mismatch) == (tiles, "")
    return executor.run(inputs, lambda first, outputs: None).timeline()
