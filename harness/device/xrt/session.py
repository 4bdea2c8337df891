"""The session: one kernel on a hardware context per column, and the bos and runs made there.

What XRT demands of a program and does not check is kept here, the same for every world:

* one handle of the device for the whole process (`World.device`), contexts made one process at a time (`opening`);
* one kernel of the xclbin, by name, and no more arguments than it declares: XRT crashes on more (`harness.device.xrt.open_kernel`);
* instructions in a `cacheable` bo, data in `host_only` ones, each in the bank that `group_id` names (`_load`,
  `allocate`);
* bos of whole cache lines, sub-buffers of root bos only: XRT aligns nothing, and forgets an outer offset (`sub_buffer`);
* prepared runs and `set_arg`, which raises; calling a kernel swallows every error (`prepare`);
* waits that look at `state()`, as XRT's own hold the GIL for good; ends other than COMPLETED are errors (`waiter`);
* runlists only where the pyxrt has them (`chain`).

Two more rules are the callers': a run in flight is never dropped (`Executor`), a view never outlives its bo (`Slot`).
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable
from typing import Any

import numpy as np

from harness.device.open import IN_FLIGHT, World
from harness.device.xrt.open_kernel import FIRST_DATA_ARGUMENT, open_kernel
from harness.errors import DeviceError, DeviceTimeoutError
from harness.kernel import LINE_BYTES, Bytes, KernelSpec
from harness.units import NS_PER_S, ms_to_ns

OPCODE_TXN = 3
"""Opcode of a transaction-style instruction stream (mlir-aie, xrtruntime/hostruntime.py)."""
FAILED_LIST = "runlist failed execution"
"""XRT's word for a runlist that has ended, one of its runs having failed (xrt_kernel.cpp)."""
WAKE_AFTER_NS = NS_PER_S
"""Well below the 5 s after which the driver suspends an idle device, which costs the next call 120 ms (amdxdna)."""
ENDS = {
    "ERT_CMD_STATE_ERROR": "the firmware reports that the kernel failed",
    "ERT_CMD_STATE_ABORT": "aborted: a run before it hung, the device was lost, or firmware and driver do not match",
    "ERT_CMD_STATE_TIMEOUT": "stopped by the driver's watchdog, which saw no progress (tdr_timeout_ms of amdxdna, 2 s)",
    "ERT_CMD_STATE_NORESPONSE": "the firmware does not answer; reload the amdxdna driver",
}
"""What a state that is not COMPLETED means."""
NO_CONTEXT = "no context or column is free, of 6 on Phoenix over all processes; xrt-smi examine -r aie-partitions tells"
ERRNO = {
    ("CREATE_HWCTX", 2): NO_CONTEXT,
    ("CREATE_HWCTX", 19): NO_CONTEXT,
    ("CREATE_HWCTX", 22): NO_CONTEXT,
    ("CREATE_BO", 12): "out of memory for bos; ulimit -l bounds it",
    (
        "EXEC_CMD",
        5,
    ): "the firmware's mailbox is broken; reload the amdxdna driver, or power the machine off and on",
    ("EXEC_CMD", 19): "the device is lost",
}
"""What an errno of an ioctl usually means; older drivers write it with, newer ones without a sign."""
_kept: list[str] = []


def explained(error: BaseException) -> str:
    """XRT's text, and what the errno or the state in it usually means."""
    text = str(error)
    errno, state = (
        re.search(r"AMDXDNA_(\w+) IOCTL.*err=-?(\d+)", text),
        re.search(r"ERT_CMD_STATE_\w+", text),
    )
    meaning = (
        ERRNO.get((errno[1], int(errno[2]))) if errno else ENDS.get(state[0]) if state else None
    )
    kept = (
        f"; runs of this process that never ended hold contexts: {', '.join(_kept)}"
        if errno and _kept
        else ""
    )
    return f"{text} ({meaning}{kept})" if meaning and meaning not in text else text


def never_drop(held: object, what: str) -> None:
    """Keep `held` even beyond the interpreter's end: XRT aborts the process that destroys a run in flight."""
    _kept.append(what)
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(held))


class PlainList:
    """Stands in for a runlist where pyxrt has none: its runs are started and awaited one by one."""

    def __init__(
        self, starts: list[Callable[[], None]], waits: list[Callable[[int], None]]
    ) -> None:
        self._starts = starts
        self._waits = waits
        self._started = 0

    def execute(self) -> None:
        """Start every run, up to one that can't be."""
        self._started = 0
        for start in self._starts:
            self._started += 1  # before: to XRT, a run whose start was refused is in flight
            start()

    def wait(self, patience: int) -> None:
        """Wait for every run started, then raise the first error, but that of a run still in flight before others."""
        errors: list[DeviceError] = []
        try:
            for wait in self._waits[: self._started]:
                try:
                    wait(patience)
                except DeviceError as error:
                    errors.append(error)
            if errors:
                raise next(
                    (error for error in errors if isinstance(error, DeviceTimeoutError)), errors[0]
                )
        finally:
            errors.clear()  # an error's traceback holds this frame: a cycle, and the contexts with it


class Session:
    """One kernel, opened on a context per column, until it is closed.

    `allocations` counts the bos made through `allocate`; `directions` are sync's, to the device and from it; `used_ns`
    is when the device was last seen at work.
    """

    def __init__(self, world: World, spec: KernelSpec, columns: int, timeout_ms: int) -> None:
        self.world = world
        self.spec = spec
        self.allocations = 0
        self._timeout_ms = timeout_ms
        self.timeout_ns = ms_to_ns(timeout_ms)
        pyxrt = world.pyxrt
        direction = pyxrt.xclBOSyncDirection
        self._completed = (pyxrt.ert_cmd_state.ERT_CMD_STATE_COMPLETED,)
        self.directions = direction.XCL_BO_SYNC_BO_TO_DEVICE, direction.XCL_BO_SYNC_BO_FROM_DEVICE
        kernel = open_kernel(world, spec, columns)
        self._contexts: list[Any] = []
        self._kept = False
        try:
            uuid = world.device.register_xclbin(kernel.xclbin)
            with world.opening():
                for _ in range(columns):
                    self._contexts.append(pyxrt.hw_context(world.device, uuid))
            self._kernels = [pyxrt.kernel(context, kernel.name) for context in self._contexts]
            self._instructions = [self._load(each, kernel.instructions) for each in self._kernels]
        except (RuntimeError, MemoryError) as error:
            self._contexts.clear()
            raise DeviceError(
                f"opening {spec.name} on {columns} column(s): {explained(error)}"
            ) from error
        self._instructions_bytes = kernel.instructions.nbytes
        self._wakers: list[tuple[Any, list[Any], Callable[[int], None]]] = []
        self.used_ns = world.clock.now_ns

    @property
    def columns(self) -> int:
        """SessionPool, one per column; 0 when closed."""
        return len(self._contexts)

    def close(self) -> None:
        """Give the contexts back, once every run made here is gone too; in XRT's order: bos, kernels, contexts.

        Nothing where a run of `warm` may be in flight.
        """
        if self._kept:
            return
        self._wakers.clear()
        self._instructions.clear()
        self._kernels.clear()
        self._contexts.clear()

    def _load(self, kernel: Any, instructions: Bytes) -> Any:
        """A bo with the instructions, in the bank of the kernel's own context."""
        pyxrt = self.world.pyxrt
        bo = pyxrt.bo(
            self.world.device, instructions.nbytes, pyxrt.bo.cacheable, kernel.group_id(1)
        )
        bo.write(instructions, 0)
        bo.sync(self.directions[0])
        return bo

    def allocate(self, argument: int, size_bytes: int, column: int) -> Any:
        """A bo of `size_bytes` in whole cache lines for the kernel's data argument `argument`, counted from 0."""
        self.allocations += 1
        return self._bo(argument, size_bytes, column)

    def _bo(self, argument: int, size_bytes: int, column: int) -> Any:
        pyxrt = self.world.pyxrt
        group = self._kernels[column].group_id(FIRST_DATA_ARGUMENT + argument)
        return pyxrt.bo(
            self.world.device, -(-size_bytes // LINE_BYTES) * LINE_BYTES, pyxrt.bo.host_only, group
        )

    def sub_buffer(self, root: Any, size_bytes: int, offset_bytes: int) -> Any:
        """A sub-buffer of a root bo, from a cache line of it on."""
        return self.world.pyxrt.bo(root, size_bytes, offset_bytes)

    def prepare(self, column: int) -> Any:
        """A run of the kernel on `column`, its instructions set, its data arguments not yet."""
        run = self.world.pyxrt.run(self._kernels[column])
        run.set_arg(0, OPCODE_TXN)
        run.set_arg(1, self._instructions[column])
        run.set_arg(2, self._instructions_bytes)
        return run

    def chain(
        self, runs: list[Any], column: int
    ) -> tuple[Callable[[], None], Callable[[int], None]]:
        """Prepared runs to be executed together: what launches them, and what waits, as `waiter` does."""
        if not self.world.has_runlists:
            plain = PlainList([run.start for run in runs], [self.waiter(run) for run in runs])
            return plain.execute, plain.wait
        runlist = self.world.pyxrt.runlist(self._contexts[column])
        for run in runs:
            runlist.add(run)
        return runlist.execute, self._list_waiter(runlist)

    def waiter(self, run: Any) -> Callable[[int], None]:
        """A function of a number of timeouts: waits until `run`, started, has completed.

        It raises DeviceError if the run failed or took longer.
        """
        world_wait, timeout_ns, completed = self.world.wait, self.timeout_ns, self._completed
        name, timeout_ms = self.spec.name, self._timeout_ms

        def wait(patience: int) -> None:
            state = world_wait(run, patience * timeout_ns)
            if state in completed:
                return
            if int(state) in IN_FLIGHT:
                raise DeviceTimeoutError(
                    f"{name}: no completion within device.timeout_ms={timeout_ms}"
                )
            meaning = f" ({ENDS[state.name]})" if state.name in ENDS else ""
            raise DeviceError(f"{name}: the device ended the run in state {state.name}{meaning}")

        return wait

    def _list_waiter(self, runlist: Any) -> Callable[[int], None]:
        """The same for an executed runlist; RuntimeError, XRT's own, if it cannot be told whether it has ended.

        XRT's runlist can only be waited for: it has neither a state nor, from Python, a timeout, so what is too long
        is known only when it has ended. The driver's watchdog ends it.
        """
        clock, timeout_ns, name, timeout_ms = (
            self.world.clock,
            self.timeout_ns,
            self.spec.name,
            self._timeout_ms,
        )

        def wait(patience: int) -> None:
            begin_ns = clock.now_ns
            try:
                runlist.wait()
            except RuntimeError as error:
                if FAILED_LIST not in str(error):
                    raise
                raise DeviceError(f"{name}: {explained(error)}") from error
            if patience and clock.now_ns - begin_ns > patience * timeout_ns:
                raise DeviceError(
                    f"{name}: completion took longer than device.timeout_ms={timeout_ms}"
                )

        return wait

    def wake(self) -> None:
        """`warm`, if the device may have gone to sleep."""
        if self.world.clock.now_ns - self.used_ns >= WAKE_AFTER_NS:
            self.warm()

    def warm(self) -> None:
        """Run the kernel once on every column, on zeros: a context's first run, or one after sleep, takes longer."""
        self._wakers = self._wakers or [
            self._waker(column) for column in range(len(self._contexts))
        ]
        for run, bos, wait in self._wakers:
            try:
                run.start()
                wait(1)
            except BaseException as error:
                if isinstance(error, DeviceTimeoutError) or not isinstance(error, DeviceError):
                    self._kept = True
                    never_drop(self, self.spec.name)
                raise
            bos[-1].sync(self.directions[1])
        self.used_ns = self.world.clock.now_ns

    def _waker(self, column: int) -> tuple[Any, list[Any], Callable[[int], None]]:
        run, bos = self.prepare(column), []
        for argument, buffer in enumerate((*self.spec.inputs, self.spec.output)):
            bos.append(self._bo(argument, buffer.size_bytes, column))
            bos[-1].write(np.zeros(buffer.size_bytes, np.uint8), 0)
            bos[-1].sync(self.directions[0])
            run.set_arg(FIRST_DATA_ARGUMENT + argument, bos[-1])
        return run, bos, self.waiter(run)
