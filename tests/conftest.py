"""What many tests need: a small kernel, a device with round costs, and one pass as an exact log."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.config.device import Simulator
from harness.config.strategy import Buffers, Strategy
from harness.device.host import locks
from harness.device.open import open_backend
from harness.device.xrt.backend import XrtBackend
from harness.device.xrt.session import XrtSession
from harness.inputs.chain import Chain
from harness.inputs.tiles import Tiles
from harness.kernel import Array, Buffer, KernelSpec, Part
from harness.measure.timeline import Timeline
from harness.run.executor import Executor
from harness.run.verify import Checker

# A shell starts background jobs with Ctrl-C ignored, and children inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

try:
    from hypothesis import settings
except ImportError:  # tests/contract runs where there is only what Debian's pyxrt needs
    pass
else:
    # The same examples every time: a verdict on a commit must not depend on the day. `explore` draws new ones.
    settings.register_profile("same", derandomize=True, print_blob=True)
    settings.register_profile("explore", derandomize=False, print_blob=True)
    settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))


def pytest_addoption(parser: pytest.Parser) -> None:
    """Here, and not in tests/npu: pytest takes options only from the first folder it is pointed at."""
    parser.addoption(
        "--run-npu", action="store_true", help="run tests/npu on the NPU of this machine, too"
    )
    parser.addoption(
        "--kernels-dir",
        default=os.environ.get("NPU_KERNELS_DIR", "kernels/build"),
        help="folder of attention.xclbin and attention.insts.bin (NPU_KERNELS_DIR)",
    )


@pytest.fixture(autouse=True)
def own_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests neither wait for experiments of this machine nor keep them waiting."""
    monkeypatch.setattr(locks, "FOLDER", tmp_path)


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
    inputs=(Buffer("operands", (Part("left", (8, 16)), Part("right", (8, 16)))),),
    output=Buffer("sum", (Part("sum", (8, 16)),)),
    reference=add,
    ops=128,
    accuracy="exact modulo 256",
)


def make_tiles(spec: KernelSpec, period: int, seed: int = 0) -> Tiles:
    """`period` distinct random tiles of a kernel."""
    generator = np.random.default_rng(seed)
    packed = tuple(
        generator.integers(0, 256, (period, buffer.size_bytes), np.uint8) for buffer in spec.inputs
    )
    return Tiles(Chain((spec,)), packed, audio_s=11.0, host_ns=0)


def make_world(spec: KernelSpec = ADD, computes: bool = True, **costs: Any) -> XrtBackend:
    """A simulated device with round costs, changed by `costs`."""
    return open_backend(Simulator(**{**COSTS, **costs}), spec, computes=computes)


def run_pass(
    tiles: int, spec: KernelSpec = ADD, costs: dict[str, Any] | None = None, **knobs: Any
) -> Timeline:
    """One verified pass on a fresh simulated device; fails the test on a wrong output."""
    strategy = Strategy(**{"buffers": Buffers.pooled, **knobs})
    session = XrtSession(make_world(spec, **(costs or {})), spec, strategy.columns, timeout_ms=1000)
    executor = Executor([session], strategy, tiles)
    inputs = make_tiles(spec, max(1, tiles))
    checker = Checker(inputs)
    executor.run(inputs, checker, checker.poison)
    assert (checker.compared, checker.first_mismatch) == (tiles, "")
    return executor.run(inputs, lambda first, outputs: None).timeline()


@pytest.fixture
def in_folder(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Any]:
    """Work in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
