"""The two devices that the same tests are run on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from harness.config.device import Device
from npu.bench import Bench, hardware, simulator


@pytest.fixture(params=["sim", "xrt"])
def device(request: pytest.FixtureRequest) -> Device:
    """The simulated NPU, or with --run-npu the real one."""
    if request.param == "sim":
        return simulator()
    if not request.config.getoption("--run-npu"):
        pytest.skip(
            "needs an NPU and a compiled kernel: pytest tests/npu --run-npu --kernels-dir=<folder>"
        )
    return hardware(request.config.getoption("--kernels-dir"))


@pytest.fixture
def npu(device: Device) -> Iterator[Bench]:
    """The device with a kernel's files at hand; a device that looks for hazards must find none."""
    bench = Bench(device)
    yield bench
    bench.settle()
    if bench.world.take_hazards:
        assert bench.world.take_hazards() == []
