"""The world that runs happen in: a pyxrt namespace and the clock that belongs to it, chosen together here.

Nothing above this file can tell real hardware from the simulator.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from harness.config.device import ClockKind, Device, Hardware, Simulator
from harness.device.interrupt import Interrupt
from harness.errors import RequestError
from harness.kernel import Bytes, KernelSpec
from harness.sim.hazard import Hazard
from harness.units import NS_PER_MS, NS_PER_S

if TYPE_CHECKING:
    from harness.device.host.state import MachineState
    from harness.sim.clock import SimClock

IN_FLIGHT = frozenset({1, 2, 3, 7})
"""NEW, QUEUED, RUNNING, SUBMITTED of ert_cmd_state; amdxdna keeps a started run at NEW until it completes."""
SPIN_NS = 5 * NS_PER_MS
"""Longer than one execution of any kernel here (attention, 1.9 ms)."""
PAUSE_SHARE, LONGEST_PAUSE_NS = 200, 10 * NS_PER_MS
OPEN_ATTEMPTS, OPEN_PAUSE_S = 5, 1
"""As mlir-aie's host runtime waits for a device: n seconds after attempt n."""
host_now_ns = time.perf_counter_ns
"""The host's own monotonic clock, whatever world runs."""


log = logging.getLogger(__name__)


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
    state then. It polls: pyxrt's own `wait()` holds the GIL, so that no Ctrl-C would get through. wait_any(runs,
    timeout_ns): the same for whichever of several ends first; returns its place, None if none did. image(kernel): path
    of its xclbin, and its instructions. take_trace: int64 (n, 5) of what the columns did since the last call, as
    `harness.sim.machine.TRACE_FIELDS`; None where the device gives no timestamps. take_hazards: those found since the
    last call; None where nobody looks for them. opening(): to be held while contexts are made. power(): the wanted
    power mode, for as long as it is held. read_state(): of the machine; None where it cannot change.
    interrupt: Ctrl-C, held back by whoever has runs in flight. columns: that the device has. width(path): columns that
    an xclbin takes. opened, widths: what the session has opened, by kernel: once, so that all passes time one build.
    """

    pyxrt: Any
    device: Any
    clock: Clock
    clock_name: str
    wait: Callable[[Any, int], Any]
    wait_any: Callable[[Sequence[Any], int], int | None]
    image: Callable[[KernelSpec], tuple[str, Bytes]]
    take_trace: Callable[[], NDArray[np.int64]] | None = None
    take_hazards: Callable[[], list[Hazard]] | None = None
    opening: Callable[[], AbstractContextManager[None]] = nullcontext
    power: Callable[[], AbstractContextManager[None]] = nullcontext
    read_state: Callable[[], MachineState | None] = lambda: None
    interrupt: Interrupt = field(default_factory=Interrupt)
    columns: int = 1
    width: Callable[[str], int] = lambda path: 1
    opened: dict[str, Any] = field(default_factory=dict)
    widths: dict[str, int] = field(default_factory=dict)

    @property
    def has_runlists(self) -> bool:
        """Whether this pyxrt knows runlists: XRT's before June 2025 do not."""
        return hasattr(self.pyxrt, "runlist")


def open_world(device: Device, *specs: KernelSpec, computes: bool = True) -> World:
    """The world that `device` describes, able to run `specs`.

    computes: whether simulated kernels do their arithmetic or only take their time; hardware always computes.
    RequestError: no pyxrt, no such device, no figure for the kernel in the profile.
    """
    if isinstance(device, Simulator):
        return _simulated(device, specs, computes)
    assert isinstance(device, Hardware)  # the configuration knows no third kind
    return _hardware(device)


def _simulated(profile: Simulator, specs: Sequence[KernelSpec], computes: bool) -> World:
    from harness.sim import pyxrt
    from harness.sim.device import plug
    from harness.sim.kernel_model import model_of
    from harness.sim.machine import Machine

    paths = {spec.name: f"{profile.kernels_dir}/{spec.name}.xclbin" for spec in specs}
    clock = simulated_clock(profile)
    models = {
        paths[spec.name]: model_of(spec, profile.exec_of(spec.name), computes) for spec in specs
    }
    machine = Machine(profile, models, clock)
    plug(machine)

    def pass_time(visible_ns: int, timeout_ns: int) -> None:
        until_ns = min(visible_ns, clock.now_ns + timeout_ns)
        if machine.effects:
            machine.settle(until_ns)
        if until_ns > clock.now_ns:
            clock.now_ns = until_ns

    def wait(run: pyxrt.run, timeout_ns: int) -> pyxrt.ert_cmd_state:
        pass_time(run._launch.visible_ns, timeout_ns)
        return run.state()

    def wait_any(runs: Sequence[pyxrt.run], timeout_ns: int) -> int | None:
        ends_ns = [run._launch.visible_ns for run in runs]
        pass_time(min(ends_ns), timeout_ns)
        return ends_ns.index(min(ends_ns)) if min(ends_ns) <= clock.now_ns else None

    instructions = np.zeros(4, np.uint8)
    return World(
        pyxrt=pyxrt,
        device=pyxrt.device(0),
        clock=clock,
        clock_name="virtual" if profile.clock is ClockKind.virtual else "monotonic",
        wait=wait,
        wait_any=wait_any,
        image=lambda spec: (paths[spec.name], instructions),
        columns=profile.columns,
        take_trace=machine.take_trace,
        take_hazards=machine.sanitizer.take if machine.sanitizer else None,
    )


def simulated_clock(profile: Simulator) -> SimClock:
    """The clock that `device.clock` asks for."""
    from harness.sim.clock import VirtualClock, WallClock

    return (
        VirtualClock() if profile.clock is ClockKind.virtual else WallClock(host_now_ns, time.sleep)
    )


def _hardware(device: Hardware) -> World:
    from harness.device.host.locks import opening
    from harness.device.host.power import power_mode
    from harness.device.host.state import read_state
    from harness.device.xrt.files import check_names, columns_of, kernel_files

    check_names(device)
    try:
        import pyxrt
    except ImportError as error:
        raise RequestError(
            f"device=hardware: pyxrt cannot be imported ({error}); install XRT's Python package for this Python "
            "and source its setup script, or use device=simulator; python -m harness doctor says more"
        ) from error
    handle, interrupt = _opened(pyxrt, device.index), Interrupt()
    return World(
        pyxrt=pyxrt,
        device=handle,
        clock=HostClock(),
        clock_name="monotonic",
        wait=partial(poll, interrupt),
        wait_any=partial(poll_any, interrupt),
        interrupt=interrupt,
        columns=device.columns,
        width=columns_of,
        image=partial(kernel_files, device),
        opening=partial(opening, device.index),
        power=partial(power_mode, device.power_mode, device.index),
        read_state=partial(read_state, device.index, pyxrt, handle),
    )


def poll(interrupt: Interrupt, run: Any, timeout_ns: int) -> Any:
    """Wait for a started run by looking at its state, which takes no system call (XRT, hwq.cpp poll_command).

    First without a pause, which is exact; then pausing for a share of the time waited so far: a run of more than
    SPIN_NS is seen to end up to half a percent late, and leaves the processor to others. KeyboardInterrupt when one is
    heard.
    """
    begin_ns = host_now_ns()
    while int(state := run.state()) in IN_FLIGHT:
        waited_ns = host_now_ns() - begin_ns
        if waited_ns >= timeout_ns:
            break
        interrupt.check()
        _pause(waited_ns)
    return state


def poll_any(interrupt: Interrupt, runs: Sequence[Any], timeout_ns: int) -> int | None:
    """The same for several started runs: the place of the first that is seen to have ended; None if none has."""
    begin_ns = host_now_ns()
    while True:
        for number, run in enumerate(runs):
            if int(run.state()) not in IN_FLIGHT:
                return number
        waited_ns = host_now_ns() - begin_ns
        if waited_ns >= timeout_ns:
            return None
        interrupt.check()
        _pause(waited_ns)


def _pause(waited_ns: int) -> None:
    pause_ns = 0 if waited_ns < SPIN_NS else min(waited_ns // PAUSE_SHARE, LONGEST_PAUSE_NS)
    time.sleep(pause_ns / NS_PER_S)  # 0: lets other threads run


_handles: dict[int, Any] = {}
"""The process's one handle of each device, and its lock, for as long as it lives.

Closing the last handle closes the device, and reopening it may fail (mlir-aie, hostruntime.py).
"""


def _opened(pyxrt: Any, index: int) -> Any:
    """Device `index`, locked for this process; RequestError where another has it or XRT opens none."""
    from harness.device.host.locks import lock_device, unlock

    if index not in _handles:
        lock = lock_device(index)
        try:
            _handles[index] = _patiently(lambda: pyxrt.device(index))
        except RuntimeError as error:
            unlock(lock)
            raise RequestError(
                f"device=hardware device.index={index}: XRT opens no such device ({str(error).strip()}); python -m "
                "harness doctor looks for the reason; device=simulator needs none"
            ) from error
    return _handles[index]


def _patiently(attempt: Callable[[], Any]) -> Any:
    """What `attempt` returns; made again while the device is busy or just being closed by another process."""
    for number in range(1, OPEN_ATTEMPTS):
        try:
            return attempt()
        except RuntimeError as error:
            if not re.search(r"err=-?(16|19)\b", str(error)):  # EBUSY, ENODEV
                raise
            log.warning(
                "the device cannot be opened (%s); trying again in %d s",
                error,
                number * OPEN_PAUSE_S,
            )
            time.sleep(number * OPEN_PAUSE_S)
    return attempt()
