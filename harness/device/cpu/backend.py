"""The backend over this machine's processor, in real time."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from harness.config.device import Cpu, Device
from harness.device.backend import MONOTONIC, Capabilities, Submission
from harness.device.clock import HostClock
from harness.device.cpu.compiler import Compiler, compile_kernel, find_compiler
from harness.device.cpu.program import NativeProgram, Program, ReferenceProgram
from harness.device.cpu.session import CpuSession
from harness.device.cpu.worker import IN_FLIGHT, Bell, Execution
from harness.device.host.state import MachineState, processor_state
from harness.device.interrupt import Interrupt
from harness.errors import RequestError
from harness.kernel import KernelSpec, kernel_source
from harness.units import NS_PER_MS

if TYPE_CHECKING:
    from harness.hazard import Hazard

LONGEST_PAUSE_MS = 10
"""A wait looks at states and for Ctrl-C at least this often."""
NO_SOURCE = "numpy"
"""What runs a kernel without C++, in records and below tables."""


def open_backend(
    device: Device, specs: Sequence[KernelSpec] = (), computes: bool = True
) -> CpuBackend:
    """This machine's processor, with the compiler that `device` names.

    specs: kernels that will run; those with C++ are compiled by `CpuBackend.prepare`. computes: not
    used; a processor always computes. RequestError if a kernel has C++ and there is no compiler.
    """
    assert isinstance(device, Cpu)
    return CpuBackend(device)


class CpuBackend:
    """A processor whose threads are the columns; implements `harness.device.backend.Backend`.

    bell: rings after an execution has ended. sessions: those that are open.
    """

    def __init__(
        self, device: Cpu, source_of: Callable[[KernelSpec], Path | None] | None = None
    ) -> None:
        """source_of: the C++ file of a kernel, None if it has none; by default `kernel_source`."""
        self.device = device
        self.clock = HostClock()
        self.interrupt = Interrupt()
        self.capabilities = Capabilities(MONOTONIC, device.columns, timestamps=True)
        self.bell = Bell()
        self.sessions: weakref.WeakSet[CpuSession] = weakref.WeakSet()
        self._source_of = source_of or kernel_source
        self._compiler: Compiler | None = None
        # By kernel name, so that all passes time the same build.
        self._programs: dict[str, Callable[[], Program]] = {}
        self._ran_by: dict[str, str] = {}
        self._numbers = 0

    def prepare(self, spec: KernelSpec, columns: int) -> None:
        """Compile a kernel; RequestError if that fails, or the device has fewer columns."""
        self.opener(spec, columns)

    def opener(self, spec: KernelSpec, columns: int) -> Callable[[], Program]:
        """A function that opens a kernel for one column; RequestError as `prepare`."""
        if columns > self.device.columns:
            raise RequestError(
                f"strategy.columns={columns}: the device has {self.device.columns} columns; "
                f"use 1 to {self.device.columns}, or more with device.columns={columns}"
            )
        if spec.name not in self._programs:
            self._programs[spec.name] = self._program(spec)
        return self._programs[spec.name]

    def _program(self, spec: KernelSpec) -> Callable[[], Program]:
        source = self._source_of(spec)
        if source is None and spec.reference is None:
            raise RequestError(
                f"kernel {spec.name}: has neither C++ nor a reference, so device=cpu cannot "
                "compute it; give it one of them, or use device=simulator or device=hardware"
            )
        if source is None:
            self._ran_by[spec.name] = NO_SOURCE
            return partial(ReferenceProgram, spec)
        compiler = self._compiler = self._compiler or find_compiler(self.device)
        library = compile_kernel(spec, source, compiler, self.device.flags)
        self._ran_by[spec.name] = "C++"
        return partial(NativeProgram, library, spec)

    def open_session(self, spec: KernelSpec, columns: int, timeout_ms: int) -> CpuSession:
        """Open a kernel on one thread per column."""
        return CpuSession(self, spec, columns, timeout_ms)

    @property
    def free_contexts(self) -> int:
        """How many more threads `device.context_limit` allows."""
        return self.device.context_limit - sum(each.columns for each in self.sessions)

    def next_number(self) -> int:
        """The number of the next context."""
        self._numbers += 1
        return self._numbers - 1

    def first_ended(self, executions: Sequence[Execution], timeout_ns: int) -> int | None:
        """Index of an execution that is not in flight; None if none ends within the timeout.

        KeyboardInterrupt if Ctrl-C arrived while all of them were in flight.
        """
        limit_ns = self.clock.now_ns + timeout_ns
        while True:
            for index, execution in enumerate(executions):
                if execution.state not in IN_FLIGHT:
                    return index
            left_ms = (limit_ns - self.clock.now_ns) / NS_PER_MS
            if left_ms <= 0:
                return None
            self.interrupt.check()
            self.bell.wait(min(left_ms, LONGEST_PAUSE_MS))

    def next_ended(self, submissions: Sequence[Submission], timeout_ns: int) -> int | None:
        """Index of a submission that has ended; None after the timeout."""
        # A single submission needs no choice; its own wait has the timeout.
        if len(submissions) == 1:
            return 0
        executions = [each.execution for each in submissions]  # type: ignore[attr-defined]
        return self.first_ended(executions, timeout_ns)

    def take_trace(self) -> NDArray[np.int64]:
        """When each column executed since the last call; its column is that of its context."""
        workers = (each for session in self.sessions for each in session.workers)
        parts = [np.zeros((0, 5), np.int64)]
        for worker in sorted(workers, key=lambda each: each.number):
            log = worker.take_log()
            numbers = np.tile([0, worker.number, worker.number], (len(log), 1))
            parts.append(np.concatenate([numbers, log], axis=1))
        return np.concatenate(parts)

    def take_hazards(self) -> list[Hazard]:
        """None: it does not detect any."""
        return []

    def power(self) -> AbstractContextManager[None]:
        """Nothing to hold: the processor's clock is the operating system's."""
        return nullcontext()

    def read_state(self) -> MachineState:
        """The processor, what compiled its kernels, and what their times depend on."""
        compiler = self._compiler
        return processor_state(
            compiler.version if compiler else None,
            self.device.flags if compiler else "",
            dict(self._ran_by),
        )
