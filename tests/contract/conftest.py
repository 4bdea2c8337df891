"""The two modules that the same tests are run on, neither with a device."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType

import pytest

from harness.sim import pyxrt as simulated
from harness.sim.xclbin import machines


@pytest.fixture(params=["sim", pytest.param("xrt", marks=pytest.mark.needs_xrt)])
def pyxrt(request: pytest.FixtureRequest) -> Iterator[ModuleType]:
    """The namespace under test: the simulator's with nothing plugged in, or XRT's own."""
    if request.param == "xrt":
        yield pytest.importorskip(
            "pyxrt", reason="pyxrt is not installed here; `make test-xrt` has it"
        )
        return
    plugged = machines[:]
    machines.clear()
    yield simulated
    machines[:] = plugged


@pytest.fixture
def deviceless(pyxrt: ModuleType) -> ModuleType:
    """The same, where no NPU is to be found."""
    if pyxrt.enumerate_devices():
        pytest.skip("there is an NPU here; tests/npu is for those")
    return pyxrt
