"""The world that runs happen in: a pyxrt namespace and the clock that belongs to it, chosen together here.

Nothing above this file can tell real hardware from the simulator.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from harness.device import Clock as ClockKind
from harness.device import Device, Hardware, Simulator
from harness.errors import RequestError
from harness.hazard import Hazard
from harness.kernel import Bytes, KernelSpec

if TYPE_CHECKING:
    from harness.sim.clock import Clock as SimulatedClock

IN_FLIGHT = frozenset({1, 2, 3, 7})
"""NEW, QUEUED, RUNNING, SUBMITTED of ert_cmd_state; amdxdna keeps a started run at NEW until it completes."""
host_now_ns = time.perf_counter_ns
"""The host's own monotonic clock, whatever world runs."""


class Clock(Protocol):
    """A clock that can be read."""

    @property
    def now_ns(self) -> int:
        """Nanoseconds since some instant."""


class HostClock:
    """The host's own clock."""

    @property
    def now_ns(self) -> int:
        """Nanoseconds since some instant."""
        return host_now_ns()


@dataclass(frozen=True)
class World:
    """One device and the clock that belongs to it; `clock_name`: "virtual" or "monotonic".

    wait(run, timeout_ns): let time pass until a started `run` has ended, or until `timeout_ns` have passed; returns its
    state then. It polls: pyxrt's own `wait()` holds the GIL, so that no Ctrl-C would get through. image(kernel): path
    of its xclbin, and its instructions. take_trace: int64 (n, 5) of what the columns did since the last call, as
    `harness.sim.machine.TRACE_FIELDS`; None where the device gives no timestamps. take_hazards: those found since the
    last call; None where nobody looks for them.
    """

    pyxrt: Any
    device: Any
    clock: Clock
    clock_name: str
    wait: Callable[[Any, int], Any]
    image: Callable[[KernelSpec], tuple[str, Bytes]]
    take_trace: Callable[[], NDArray[np.int64]] | None
    take_hazards: Callable[[], list[Hazard]] | None = None


def open_world(device: Device, spec: KernelSpec, *, computes: bool = True) -> World:
    """The world that `device` describes, able to run `spec`.

    computes: whether simulated kernels do their arithmetic or only take their time; hardware always computes.
    RequestError: no pyxrt, no such device, no figure for the kernel in the profile.
    """
    if isinstance(device, Simulator):
        return _simulated(device, spec, computes)
    assert isinstance(device, Hardware)  # the configuration knows no third kind
    return _hardware(device)


def _simulated(profile: Simulator, spec: KernelSpec, computes: bool) -> World:
    from harness.sim import pyxrt
    from harness.sim.images import image_of
    from harness.sim.machine import Machine
    from harness.sim.platform import plug

    path = f"{profile.kernels_dir}/{spec.name}.xclbin"
    clock = simulated_clock(profile)
    machine = Machine(profile, {path: image_of(spec, profile.exec_of(spec.name), computes)}, clock)
    plug(machine)

    def wait(run: pyxrt.run, timeout_ns: int) -> pyxrt.ert_cmd_state:
        visible_ns, until_ns = run._flight.visible_ns, clock.now_ns + timeout_ns
        if visible_ns < until_ns:
            until_ns = visible_ns
        if machine.effects:
            machine.settle(until_ns)
        if until_ns > clock.now_ns:
            clock.now_ns = until_ns
        return run.state()

    instructions = np.zeros(4, np.uint8)
    return World(
        pyxrt=pyxrt,
        device=pyxrt.device(0),
        clock=clock,
        clock_name="virtual" if profile.clock is ClockKind.virtual else "monotonic",
        wait=wait,
        image=lambda _: (path, instructions),
        take_trace=machine.take_trace,
        take_hazards=machine.sanitizer.take if machine.sanitizer else None,
    )


def simulated_clock(profile: Simulator) -> SimulatedClock:
    """The clock that `device.clock` asks for."""
    from harness.sim.clock import VirtualClock, WallClock

    return VirtualClock() if profile.clock is ClockKind.virtual else WallClock(host_now_ns, time.sleep)


def _hardware(device: Hardware) -> World:
    try:
        import pyxrt
    except ImportError as error:
        raise RequestError(
            f"device=hardware: pyxrt cannot be imported ({error}); install XRT's Python package for this Python "
            "and source its setup script, or use device=simulator"
        ) from error

    def image(spec: KernelSpec) -> tuple[str, Bytes]:
        folder = Path(device.kernels_dir)
        xclbin, instructions = folder / f"{spec.name}.xclbin", folder / f"{spec.name}.insts.bin"
        for path in (xclbin, instructions):
            if not path.is_file():
                raise RequestError(
                    f"device.kernels_dir={device.kernels_dir}: no {path.name} there; build the kernel, "
                    "or point device.kernels_dir at the folder that holds it"
                )
        return str(xclbin), np.fromfile(instructions, dtype=np.uint8)

    return World(
        pyxrt=pyxrt,
        device=_opened(pyxrt, device.index),
        clock=HostClock(),
        clock_name="monotonic",
        wait=_poll,
        image=image,
        take_trace=None,
    )


def _poll(run: Any, timeout_ns: int) -> Any:
    until_ns, state = host_now_ns() + timeout_ns, run.state()
    while int(state) in IN_FLIGHT and host_now_ns() < until_ns:
        time.sleep(0)
        state = run.state()
    return state


@cache
def _opened(pyxrt: Any, index: int) -> Any:
    """The process's one handle: closing the last one closes the device, and reopening may fail (mlir-aie)."""
    try:
        return pyxrt.device(index)
    except RuntimeError as error:
        raise RequestError(
            f"device=hardware device.index={index}: XRT opens no such device ({error}); "
            "check `xrt-smi examine` and the amdxdna driver, or use device=simulator"
        ) from error
