"""The session: a pyxrt namespace and a clock, chosen together here, and the contexts opened through them.

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
from harness.errors import DeviceError, DeviceTimeoutError, RequestError
from harness.hazard import Hazard
from harness.kernel import Bytes, KernelSpec
from harness.units import ms_to_ns

if TYPE_CHECKING:
    from harness.sim.clock import Clock as SimulatedClock

OPCODE_TXN = 3
"""Opcode of a transaction-style instruction stream (mlir-aie, xrtruntime/hostruntime.py)."""
FIRST_DATA_ARGUMENT = 3
"""Arguments 0 to 2 are opcode, instruction bo and its size; bos of the kernel follow."""
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


class Session:
    """One kernel, opened on a context per column; gone with its last reference.

    `allocations` counts the bos made through `allocate`; `directions` are sync's, to the device and from it.
    """

    def __init__(self, world: World, spec: KernelSpec, columns: int, timeout_ms: int) -> None:
        self.world = world
        self.spec = spec
        self.allocations = 0
        self._timeout_ms = timeout_ms
        self._timeout_ns = ms_to_ns(timeout_ms)
        pyxrt = world.pyxrt
        direction = pyxrt.xclBOSyncDirection
        self._completed = (pyxrt.ert_cmd_state.ERT_CMD_STATE_COMPLETED,)  # found by identity first, which is quick
        self.directions = direction.XCL_BO_SYNC_BO_TO_DEVICE, direction.XCL_BO_SYNC_BO_FROM_DEVICE
        path, instructions = world.image(spec)
        try:
            xclbin = pyxrt.xclbin(path)
            uuid = world.device.register_xclbin(xclbin)
            name = self._kernel_name(xclbin, path)
            self._contexts = [pyxrt.hw_context(world.device, uuid) for _ in range(columns)]
            self._kernels = [pyxrt.kernel(context, name) for context in self._contexts]
            self._instructions = [self._load(kernel, instructions) for kernel in self._kernels]
        except RuntimeError as error:
            raise DeviceError(f"opening {path} on {columns} column(s): {error}") from error
        self._instructions_bytes = instructions.nbytes

    def _load(self, kernel: Any, instructions: Bytes) -> Any:
        """A bo with the instructions, in the bank of the kernel's own context."""
        pyxrt = self.world.pyxrt
        bo = pyxrt.bo(self.world.device, instructions.nbytes, pyxrt.bo.cacheable, kernel.group_id(1))
        bo.write(instructions, 0)
        bo.sync(self.directions[0])
        return bo

    def _kernel_name(self, xclbin: Any, path: str) -> str:
        kernels = xclbin.get_kernels()
        fitting = kernels if len(kernels) == 1 else [k for k in kernels if k.get_name() == self.spec.name]
        if len(fitting) != 1:
            names = ", ".join(kernel.get_name() for kernel in kernels)
            raise RequestError(f"{path}: holds {names or 'no kernel'}; needs one kernel, or one named {self.spec.name}")
        needed, declared = len(self.spec.inputs) + 1, fitting[0].get_num_args() - FIRST_DATA_ARGUMENT
        if declared < needed:
            raise RequestError(f"{path}: declares {declared} buffer arguments; {self.spec.name} takes {needed}")
        return str(fitting[0].get_name())

    def allocate(self, argument: int, size_bytes: int, column: int) -> Any:
        """A bo of `size_bytes` for the kernel's data argument `argument`, counted from 0."""
        self.allocations += 1
        pyxrt = self.world.pyxrt
        group = self._kernels[column].group_id(FIRST_DATA_ARGUMENT + argument)
        return pyxrt.bo(self.world.device, size_bytes, pyxrt.bo.host_only, group)

    def window(self, root: Any, size_bytes: int, offset_bytes: int) -> Any:
        """A sub-buffer of a root bo."""
        return self.world.pyxrt.bo(root, size_bytes, offset_bytes)

    def prepare(self, column: int) -> Any:
        """A run of the kernel on `column`, its instructions set, its data arguments not yet."""
        run = self.world.pyxrt.run(self._kernels[column])
        run.set_arg(0, OPCODE_TXN)
        run.set_arg(1, self._instructions[column])
        run.set_arg(2, self._instructions_bytes)
        return run

    def chain(self, runs: list[Any], column: int) -> Any:
        """A runlist of prepared runs, to be executed together."""
        runlist = self.world.pyxrt.runlist(self._contexts[column])
        for run in runs:
            runlist.add(run)
        return runlist

    def waiter(self, run: Any) -> Callable[[int], None]:
        """A function of a number of timeouts: waits until `run`, started, has completed.

        It raises DeviceError if the run failed or took longer.
        """
        world_wait, timeout_ns, completed = self.world.wait, self._timeout_ns, self._completed

        def wait(patience: int) -> None:
            state = world_wait(run, patience * timeout_ns)
            if state in completed:
                return
            if int(state) in IN_FLIGHT:
                raise DeviceTimeoutError(f"{self.spec.name}: no completion within device.timeout_ms={self._timeout_ms}")
            raise DeviceError(f"{self.spec.name}: the device ended the run in state {state.name}")

        return wait

    def list_waiter(self, runlist: Any) -> Callable[[int], None]:
        """The same for an executed runlist, which raises RuntimeError, XRT's own, if a run failed.

        XRT's runlist can only be waited for: it has neither a state nor, from Python, a timeout, so what is too long
        is known only when it has ended.
        """
        clock, timeout_ns = self.world.clock, self._timeout_ns

        def wait(patience: int) -> None:
            begin_ns = clock.now_ns
            runlist.wait()
            if clock.now_ns - begin_ns > patience * timeout_ns:
                raise DeviceError(f"{self.spec.name}: completion took longer than device.timeout_ms={self._timeout_ms}")

        return wait
