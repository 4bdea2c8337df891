"""The session: one kernel on one hardware context per column, and the bos and runs on them.

It follows XRT's rules that XRT itself does not check, for every pyxrt in the same way:

* a process opens a device only once (`OpenDevices`), and one process at a time opens contexts
  (`opening`);
* a kernel is opened by the name in the xclbin, with no more arguments than it declares: more crash
  XRT (`open_kernel`);
* instructions are in a `cacheable` bo and data in `host_only` bos, each in the bank that
  `group_id` names (`_load`, `allocate`);
* bos are whole cache lines, because XRT does not align them; sub-buffers are of root bos only,
  because XRT ignores the offset of a parent that is a sub-buffer (`sub_buffer`);
* arguments are set with `set_arg` on prepared runs, which raises on errors; calling a kernel
  ignores them (`prepare`);
* waits poll `state()`, because XRT's own `wait` holds the GIL; every final state other than
  COMPLETED is an error (`waiter`);
* runlists are used only if the pyxrt has them (`batch`).

Two more rules are the callers': never destroy a run in flight (`Executor`), and never use a view
after its bo is freed (`XrtSlot`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.device.backend import MONOTONIC
from harness.device.interrupt import blocked
from harness.device.xrt.failures import (
    ENDS,
    FAILED_LIST,
    IN_FLIGHT_LIST,
    XRT_ERRORS,
    call_error,
    explanation,
)
from harness.device.xrt.open_kernel import open_kernel
from harness.device.xrt.plain_list import PlainList
from harness.device.xrt.pyxrt_api import Bo, Run, Runlist, XrtKernel
from harness.device.xrt.slot import XrtSlot
from harness.errors import MAYBE_IN_FLIGHT, DeviceError, DeviceTimeoutError
from harness.kernel import LINE_BYTES, Bytes, KernelSpec
from harness.units import NS_PER_S, ms_to_ns

if TYPE_CHECKING:
    from harness.device.xrt.backend import XrtBackend

OPCODE_TXN = 3
"""Opcode of a transaction-style instruction stream (mlir-aie, xrtruntime/hostruntime.py)."""
WAKE_AFTER_NS = NS_PER_S
"""Idle time after which `wake` runs the kernel.

Well below the 5 s after which the driver suspends an idle device; resuming it takes 120 ms
(amdxdna).
"""


class XrtSession:
    """One kernel, open on one context per column until `close`; implements `Session`.

    allocations: number of bos from `allocate`. directions: sync's constants for to the device and
    from the device. used_ns: clock time at which the device was last known to work.
    """

    def __init__(
        self, backend: XrtBackend, spec: KernelSpec, columns: int, timeout_ms: int
    ) -> None:
        self.backend = backend
        self.spec = spec
        self.allocations = 0
        self._timeout_ms = timeout_ms
        self.timeout_ns = ms_to_ns(timeout_ms)
        pyxrt = backend.pyxrt
        direction = pyxrt.xclBOSyncDirection
        self.directions = direction.XCL_BO_SYNC_BO_TO_DEVICE, direction.XCL_BO_SYNC_BO_FROM_DEVICE
        kernel = open_kernel(backend, spec, columns)
        self._contexts: list[Any] = []
        self._stuck = False
        try:
            uuid = backend.device.register_xclbin(kernel.xclbin)
            with backend.opening():
                for _ in range(columns):
                    self._contexts.append(pyxrt.hw_context(backend.device, uuid))
            self._kernels = [pyxrt.kernel(context, kernel.name) for context in self._contexts]
            self._instructions = [self._load(each, kernel.instructions) for each in self._kernels]
        except XRT_ERRORS as error:
            # Those that did open would count against the device's limit of six.
            self._contexts.clear()
            raise DeviceError(
                f"opening {spec.name} on {columns} column(s): "
                f"{explanation(error, backend.devices.stuck_kernels)}"
            ) from error
        self._instructions_bytes = kernel.instructions.nbytes
        self._wakers: list[tuple[Run, list[Bo], Callable[[int], None]]] = []
        self.used_ns = backend.clock.now_ns

    @property
    def columns(self) -> int:
        """Number of contexts, one per column; 0 after `close`."""
        return len(self._contexts)

    def slot(
        self,
        column: int,
        batch: int,
        counts: Sequence[int],
        constants: Sequence[Bytes] | None = None,
    ) -> XrtSlot:
        """Bos and prepared runs for up to `batch` tiles on one column."""
        return XrtSlot(self, column, batch, counts, constants)

    def close(self) -> None:
        """Free bos, kernels and contexts, in the order that XRT requires.

        Close all slots first. It frees nothing if a run that `warm` started may be in flight.
        """
        if self._stuck:
            return
        self._wakers.clear()
        self._instructions.clear()
        self._kernels.clear()
        # After the kernels that belong to them.
        self._contexts.clear()

    def _load(self, kernel: XrtKernel, instructions: Bytes) -> Bo:
        """A bo with the instructions, in the bank of the kernel's context."""
        pyxrt = self.backend.pyxrt
        bo = pyxrt.bo(
            self.backend.device, instructions.nbytes, pyxrt.bo.cacheable, kernel.group_id(1)
        )
        bo.write(instructions, 0)
        bo.sync(self.directions[0])
        return bo

    def allocate(self, index: int, size_bytes: int, column: int) -> Bo:
        """A bo for the argument with XRT's `index`, `size_bytes` rounded up to cache lines."""
        self.allocations += 1
        return self._bo(index, size_bytes, column)

    def _bo(self, index: int, size_bytes: int, column: int) -> Bo:
        pyxrt = self.backend.pyxrt
        group = self._kernels[column].group_id(index)
        lines = -(-size_bytes // LINE_BYTES)
        return pyxrt.bo(self.backend.device, lines * LINE_BYTES, pyxrt.bo.host_only, group)

    def sub_buffer(self, root: Bo, size_bytes: int, offset_bytes: int) -> Bo:
        """A sub-buffer of a root bo; offset_bytes: a multiple of the cache line."""
        return self.backend.pyxrt.bo(root, size_bytes, offset_bytes)

    def prepare(self, column: int) -> Run:
        """A run of the kernel on `column`, with its instructions and scalars set, and no bos."""
        run = self.backend.pyxrt.run(self._kernels[column])
        # The arguments of every kernel that mlir-aie builds: opcode, instructions, their size in
        # bytes.
        run.set_arg(0, OPCODE_TXN)
        run.set_arg(1, self._instructions[column])
        run.set_arg(2, self._instructions_bytes)
        for index, scalar in self.spec.scalars.items():
            run.set_arg(index, scalar.value)
        return run

    def batch(
        self, runs: list[Run], column: int
    ) -> tuple[Callable[[], None], Callable[[int], None]]:
        """Functions that launch prepared runs together, and that wait for them as `waiter` does."""
        if not self.backend.capabilities.batches:
            starts = [self.backend.guard(run.start) for run in runs]
            plain = PlainList(starts, [self.waiter(run) for run in runs])
            return plain.execute, plain.wait
        runlist = self.backend.pyxrt.runlist(self._contexts[column])
        for run in runs:
            runlist.add(run)
        return self.backend.guard(runlist.execute), self._list_waiter(runlist)

    def waiter(self, run: Run) -> Callable[[int], None]:
        """A function wait(patience) that waits for `run` for up to `patience` timeouts.

        It raises DeviceTimeoutError if the run is still in flight, DeviceError if it failed.
        """
        backend, timeout_ns, looks = self.backend, self.timeout_ns, (run.state,)
        completed, first_ended = self.backend.completed, self.backend.first_ended

        def wait(patience: int) -> None:
            try:
                ended = first_ended(looks, patience * timeout_ns)
            except XRT_ERRORS as error:
                raise call_error(error, backend.devices.stuck_kernels) from error
            if ended is None:
                raise DeviceTimeoutError(
                    f"{self.spec.name}: no completion within device.timeout_ms={self._timeout_ms}"
                )
            state = ended[1]
            if state not in completed:
                meaning = f" ({ENDS[state.name]})" if state.name in ENDS else ""
                raise DeviceError(
                    f"{self.spec.name}: the device ended the run in state {state.name}{meaning}"
                )

        return wait

    def _list_waiter(self, runlist: Runlist) -> Callable[[int], None]:
        """A function wait(patience) for an executed runlist.

        XRT's runlist has neither a state nor, from Python, a timeout. So the wait can exceed the
        timeout, and the error follows when the runlist has ended, at the latest through the
        driver's watchdog. Signals are delivered then too, as one would end the wait early.
        DeviceCallError if it is unknown whether the runlist has ended.
        """
        backend, clock, timeout_ns = self.backend, self.backend.clock, self.timeout_ns
        name, timeout_ms = self.spec.name, self._timeout_ms
        # In virtual time a wait takes no time in which a signal could arrive.
        undisturbed = blocked if backend.capabilities.clock == MONOTONIC else nullcontext

        def wait(patience: int) -> None:
            begin_ns = clock.now_ns
            try:
                with undisturbed():
                    runlist.wait()
            except XRT_ERRORS as error:
                text = str(error)
                if FAILED_LIST not in text or IN_FLIGHT_LIST in text:
                    raise call_error(error, backend.devices.stuck_kernels) from error
                raise DeviceError(f"{name}: {explanation(error)}") from error
            # With patience 0 there is no limit to exceed.
            if patience and clock.now_ns - begin_ns > patience * timeout_ns:
                raise DeviceError(
                    f"{name}: completion took longer than device.timeout_ms={timeout_ms}"
                )

        return wait

    def wake(self) -> None:
        """Call `warm` if the device has been idle long enough to be suspended."""
        if self.backend.clock.now_ns - self.used_ns >= WAKE_AFTER_NS:
            self.warm()

    def warm(self) -> None:
        """Run the kernel once on every column, with zeros as inputs.

        The first run on a context, or after the device was suspended, takes longer than others.
        """
        with self.backend.calls():
            self._wakers = self._wakers or [
                self._waker(column) for column in range(len(self._contexts))
            ]
        for run, bos, wait in self._wakers:
            try:
                with self.backend.calls():
                    run.start()
                wait(1)
            except BaseException as error:
                # After any other DeviceError the run is known to have ended.
                if isinstance(error, MAYBE_IN_FLIGHT) or not isinstance(error, DeviceError):
                    self._stuck = True
                    self.backend.devices.never_drop(self, self.spec.name)
                raise
            with self.backend.calls():
                for bo, buffer in zip(bos, self.spec.buffers, strict=True):
                    if buffer.is_output:
                        bo.sync(self.directions[1])
        self.used_ns = self.backend.clock.now_ns

    def _waker(self, column: int) -> tuple[Run, list[Bo], Callable[[int], None]]:
        """What `warm` runs on a column: a run, its bos filled with zeros, and its wait function."""
        run, bos = self.prepare(column), list[Bo]()
        for index, buffer in zip(self.spec.indices, self.spec.buffers, strict=True):
            bos.append(self._bo(index, buffer.size_bytes, column))
            # Any content: only the time of the first execution matters.
            bos[-1].write(np.zeros(buffer.size_bytes, np.uint8), 0)
            bos[-1].sync(self.directions[0])
            run.set_arg(index, bos[-1])
        return run, bos, self.waiter(run)
