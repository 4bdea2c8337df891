"""Opens a simulated NPU: the simulator's pyxrt, with a clock in virtual or in real time."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from harness.config.device import ClockKind, Device, Simulator
from harness.config.execution_time import exec_ns_of
from harness.device.backend import MONOTONIC, VIRTUAL, Capabilities
from harness.device.clock import host_now_ns
from harness.device.xrt.backend import XrtBackend
from harness.device.xrt.files import columns_of
from harness.device.xrt.open_kernel import check_columns
from harness.device.xrt.pyxrt_api import PyXrt
from harness.device.xrt.wait import LONGEST_PAUSE_NS, Pause
from harness.kernel import KernelSpec
from harness.sim import pyxrt as simulated_pyxrt
from harness.sim.clock import SimClock, VirtualClock, WallClock
from harness.sim.device import plug
from harness.sim.kernel_model import model_of
from harness.sim.machine import Machine


def open_backend(
    device: Device, specs: Sequence[KernelSpec] = (), computes: bool = True
) -> XrtBackend:
    """A simulated machine with the costs in `device`, for running `specs`.

    computes: whether kernels compute their outputs, or only take their time. RequestError if
    `device` has no execution time for a kernel, or if the xclbin that a kernel declares is wider.
    """
    assert isinstance(device, Simulator)
    for spec in specs:
        # Other simulated kernels need no file, and take one column whatever their file declares.
        if (declared := spec.files.xclbin) and declared.is_file():
            check_columns(str(declared), columns_of(str(declared)), device.columns)
    paths = {spec.name: f"{device.kernels_dir}/{spec.name}.xclbin" for spec in specs}
    models = {
        paths[spec.name]: model_of(spec, exec_ns_of(device, spec), computes) for spec in specs
    }
    clock = simulated_clock(device)
    machine = Machine(device, models, clock)
    # The pause between two looks advances the clock, so a look itself takes no time.
    machine.looks_cost_time = False
    plug(machine)
    pyxrt: PyXrt = simulated_pyxrt
    # Any content: the simulator does not execute instructions.
    instructions = np.zeros(4, np.uint8)
    is_virtual, sanitizer = device.clock is ClockKind.virtual, machine.sanitizer
    return XrtBackend(
        pyxrt=pyxrt,
        device=pyxrt.device(0),
        clock=clock,
        pause=_virtual_pause(machine) if is_virtual else _wall_pause(machine),
        capabilities=Capabilities(
            VIRTUAL if is_virtual else MONOTONIC,
            device.columns,
            timestamps=True,
            hazards=sanitizer is not None,
        ),
        find_files=lambda spec: (paths[spec.name], instructions),
        take_trace=machine.take_trace,
        take_hazards=sanitizer.take if sanitizer else list,
    )


def simulated_clock(device: Simulator) -> SimClock:
    """The clock of the kind `device.clock`."""
    if device.clock is ClockKind.virtual:
        return VirtualClock()
    return WallClock(host_now_ns, time.sleep)


def _virtual_pause(machine: Machine) -> Pause:
    """Advance the virtual clock to the next completion, before which no state can change."""

    def pause(begin_ns: int, looked_ns: int, limit_ns: int, /) -> None:
        machine.pause(looked_ns, limit_ns)

    return pause


def _wall_pause(machine: Machine) -> Pause:
    """Sleep until the next completion, in steps short enough to notice Ctrl-C."""

    def pause(begin_ns: int, looked_ns: int, limit_ns: int, /) -> None:
        machine.pause(looked_ns, min(limit_ns, looked_ns + LONGEST_PAUSE_NS))

    return pause
