"""Opens a simulated NPU: the simulator's pyxrt, and its clock in virtual or in real time."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from harness.config.device import ClockKind, Device, Simulator
from harness.device.backend import MONOTONIC, VIRTUAL, Capabilities
from harness.device.xrt.backend import XrtBackend
from harness.device.xrt.pyxrt_api import PyXrt
from harness.device.xrt.wait import LONGEST_PAUSE_NS, Pause, host_now_ns
from harness.kernel import KernelSpec
from harness.sim import pyxrt as simulated_pyxrt
from harness.sim.clock import SimClock, VirtualClock, WallClock
from harness.sim.device import plug
from harness.sim.kernel_model import model_of
from harness.sim.machine import Machine


def open_backend(
    device: Device, specs: Sequence[KernelSpec] = (), computes: bool = True
) -> XrtBackend:
    """A machine with the costs that `device` gives, able to run `specs`.

    computes: whether kernels do their arithmetic, or only take their time. RequestError where `device` has no figure
    for a kernel.
    """
    assert isinstance(device, Simulator)
    paths = {spec.name: f"{device.kernels_dir}/{spec.name}.xclbin" for spec in specs}
    models = {
        paths[spec.name]: model_of(spec, device.exec_of(spec.name), computes) for spec in specs
    }
    clock = simulated_clock(device)
    machine = Machine(device, models, clock)
    machine.looks_cost_time = False  # waits pass the time themselves
    plug(machine)
    pyxrt: PyXrt = simulated_pyxrt
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
    """The clock that `device.clock` asks for."""
    if device.clock is ClockKind.virtual:
        return VirtualClock()
    return WallClock(host_now_ns, time.sleep)


def _virtual_pause(machine: Machine) -> Pause:
    """To the next completion: between two of them there is nothing to see."""

    def pause(begin_ns: int, looked_ns: int, limit_ns: int, /) -> None:
        machine.pause(looked_ns, limit_ns)

    return pause


def _wall_pause(machine: Machine) -> Pause:
    """The same in real time, in pieces, so that Ctrl-C is noticed."""

    def pause(begin_ns: int, looked_ns: int, limit_ns: int, /) -> None:
        machine.pause(looked_ns, min(limit_ns, looked_ns + LONGEST_PAUSE_NS))

    return pause
