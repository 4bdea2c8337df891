"""The session: one kernel on a hardware context per column, and the bos and runs made there.

What XRT demands of a program and does not check is kept here, the same for every world:

* one handle of the device for the whole process (`World.device`), contexts made one process at a time (`opening`);
* one kernel of the xclbin, by name, and no more arguments than it declares: XRT crashes on more (`kernel_of`);
* instructions in a `cacheable` bo, data in `host_only` ones, each in the bank that `group_id` names (`_load`,
  `allocate`);
* bos of whole cache lines, sub-buffers of root bos only: XRT aligns nothing, and forgets an outer offset (`window`);
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

from harness.errors import DeviceError, DeviceTimeoutError, RequestError
from harness.kernel import LINE_BYTES, Bytes, KernelSpec
from harness.units import NS_PER_S, ms_to_ns
from harness.world import IN_FLIGHT, World

OPCODE_TXN = 3
"""Opcode of a transaction-style instruction stream (mlir-aie, xrtruntime/hostruntime.py)."""
FIRST_DATA_ARGUMENT = 3
"""Arguments 0 to 2 are opcode, instruction bo and its size; bos of the kernel follow."""
USUAL_NAME = "MLIR_AIE"
"""What mlir-aie names a kernel unless told otherwise."""
WAKE_AFTER_NS = NS_PER_S
"""Well below the 5 s after which the driver suspends an idle device, which costs the next call 120 ms (amdxdna)."""
ENDS = {
    "ERT_CMD_STATE_ERROR": "the firmware reports that the kernel failed",
    "ERT_CMD_STATE_ABORT": "aborted: a run before it hung, the device was lost, or firmware and driver do not match",
    "ERT_CMD_STATE_TIMEOUT": "stopped by the driver's watchdog, which saw no progress (tdr_timeout_ms of amdxdna, 2 s)",
    "ERT_CMD_STATE_NORESPONSE": "the firmware does not answer; reload the amdxdna driver",
}
"""What a state that is not COMPLETED means."""
ERRNO = {
    2: "no context or column is free; xrt-smi examine -r aie-partitions tells who has them",
    5: "the firmware's mailbox is broken; reload the amdxdna driver, or power the machine off and on",
    12: "out of memory for bos; ulimit -l bounds it",
    16: "the device is busy",
    19: "the device is lost, or all its columns are taken",
    22: "refused; Phoenix has 6 contexts over all processes, and xrt-smi examine -r aie-partitions tells who has them",
}
"""What the errno in XRT's text usually means; older drivers write it with, newer ones without a sign."""


def kernel_of(xclbin: Any, path: str, spec: KernelSpec) -> str:
    """Name of the one kernel of an open xclbin that is `spec`: named as it, or MLIR_AIE (and what follows).

    RequestError if there is none, more than one, or one that takes fewer bos than the spec.
    """
    kernels = {str(kernel.get_name()): kernel.get_num_args() - FIRST_DATA_ARGUMENT for kernel in xclbin.get_kernels()}
    fitting = [spec.name] if spec.name in kernels else [name for name in kernels if name.startswith(USUAL_NAME)]
    if len(fitting) != 1:
        raise RequestError(
            f"{path}: holds {', '.join(kernels) or 'no kernel'}; needs one kernel named {spec.name} or {USUAL_NAME}; "
            f"build it so, or give another file with device.xclbin.{spec.name}=<path>"
        )
    (name,) = fitting
    needed = len(spec.inputs) + 1
    if kernels[name] < needed:
        raise RequestError(
            f"{path}: its kernel {name} declares {kernels[name]} buffer arguments; {spec.name} takes {needed}; "
            f"build it for this spec, or give another file with device.xclbin.{spec.name}=<path>"
        )
    return name


def open_kernel(world: World, spec: KernelSpec) -> tuple[Any, str, Bytes]:
    """xclbin, name of the kernel in it, and instructions; RequestError where the files are not the spec's."""
    path, instructions = world.image(spec)
    try:
        xclbin = world.pyxrt.xclbin(path)
    except (RuntimeError, MemoryError) as error:  # MemoryError for a folder
        raise RequestError(
            f"{path}: XRT reads no xclbin from it ({error}); build it, or give another with "
            f"device.xclbin.{spec.name}=<path>"
        ) from error
    return xclbin, kernel_of(xclbin, path, spec), instructions


def explained(error: Exception) -> str:
    """XRT's text, and what the errno or the state in it usually means."""
    text = str(error)
    errno, state = re.search(r"err=-?(\d+)", text), re.search(r"ERT_CMD_STATE_\w+", text)
    meaning = ERRNO.get(int(errno[1])) if errno else ENDS.get(state[0]) if state else None
    return f"{text} ({meaning})" if meaning else text


def never_drop(held: object) -> None:
    """Keep `held` even beyond the interpreter's end: XRT aborts the process that destroys a run in flight."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(held))


class PlainList:
    """Stands in for a runlist where pyxrt has none: its runs are started and awaited one by one."""

    def __init__(self, starts: list[Callable[[], None]], waits: list[Callable[[int], None]]) -> None:
        self._starts = starts
        self._waits = waits

    def execute(self) -> None:
        """Start every run; if one can't be, those before it are seen to end before it is told."""
        for number, start in enumerate(self._starts):
            try:
                start()
            except BaseException:
                try:
                    self._await(number, 1)
                except DeviceTimeoutError:
                    never_drop(self)
                except DeviceError:
                    pass
                raise

    def wait(self, patience: int) -> None:
        """Wait for every run, then raise the first error, but that of a run still in flight before others."""
        self._await(len(self._waits), patience)

    def _await(self, count: int, patience: int) -> None:
        errors: list[DeviceError] = []
        for wait in self._waits[:count]:
            try:
                wait(patience)
            except DeviceError as error:
                errors.append(error)
        if errors:
            raise next((error for error in errors if isinstance(error, DeviceTimeoutError)), errors[0])


class Session:
    """One kernel, opened on a context per column; gone with its last reference.

    `allocations` counts the bos made through `allocate`; `directions` are sync's, to the device and from it; `used_ns`
    is when the device was last seen at work.
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
        xclbin, name, instructions = open_kernel(world, spec)
        try:
            uuid = world.device.register_xclbin(xclbin)
            with world.opening():
                self._contexts = [pyxrt.hw_context(world.device, uuid) for _ in range(columns)]
            self._kernels = [pyxrt.kernel(context, name) for context in self._contexts]
            self._instructions = [self._load(kernel, instructions) for kernel in self._kernels]
        except RuntimeError as error:
            raise DeviceError(f"opening {spec.name} on {columns} column(s): {explained(error)}") from error
        self._instructions_bytes = instructions.nbytes
        self._wakers: list[tuple[Any, list[Any], Callable[[int], None]]] = []
        self.used_ns = world.clock.now_ns

    def _load(self, kernel: Any, instructions: Bytes) -> Any:
        """A bo with the instructions, in the bank of the kernel's own context."""
        pyxrt = self.world.pyxrt
        bo = pyxrt.bo(self.world.device, instructions.nbytes, pyxrt.bo.cacheable, kernel.group_id(1))
        bo.write(instructions, 0)
        bo.sync(self.directions[0])
        return bo

    def allocate(self, argument: int, size_bytes: int, column: int) -> Any:
        """A bo of `size_bytes` in whole cache lines for the kernel's data argument `argument`, counted from 0."""
        self.allocations += 1
        pyxrt = self.world.pyxrt
        group = self._kernels[column].group_id(FIRST_DATA_ARGUMENT + argument)
        return pyxrt.bo(self.world.device, -(-size_bytes // LINE_BYTES) * LINE_BYTES, pyxrt.bo.host_only, group)

    def window(self, root: Any, size_bytes: int, offset_bytes: int) -> Any:
        """A sub-buffer of a root bo, from a cache line of it on."""
        return self.world.pyxrt.bo(root, size_bytes, offset_bytes)

    def prepare(self, column: int) -> Any:
        """A run of the kernel on `column`, its instructions set, its data arguments not yet."""
        run = self.world.pyxrt.run(self._kernels[column])
        run.set_arg(0, OPCODE_TXN)
        run.set_arg(1, self._instructions[column])
        run.set_arg(2, self._instructions_bytes)
        return run

    def chain(self, runs: list[Any], column: int) -> tuple[Callable[[], None], Callable[[int], None]]:
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
        world_wait, timeout_ns, completed = self.world.wait, self._timeout_ns, self._completed

        def wait(patience: int) -> None:
            state = world_wait(run, patience * timeout_ns)
            if state in completed:
                return
            if int(state) in IN_FLIGHT:
                raise DeviceTimeoutError(f"{self.spec.name}: no completion within device.timeout_ms={self._timeout_ms}")
            meaning = f" ({ENDS[state.name]})" if state.name in ENDS else ""
            raise DeviceError(f"{self.spec.name}: the device ended the run in state {state.name}{meaning}")

        return wait

    def _list_waiter(self, runlist: Any) -> Callable[[int], None]:
        """The same for an executed runlist, which raises RuntimeError, XRT's own, if a run failed.

        XRT's runlist can only be waited for: it has neither a state nor, from Python, a timeout, so what is too long
        is known only when it has ended. The driver's watchdog ends it.
        """
        clock, timeout_ns = self.world.clock, self._timeout_ns

        def wait(patience: int) -> None:
            begin_ns = clock.now_ns
            runlist.wait()
            if clock.now_ns - begin_ns > patience * timeout_ns:
                raise DeviceError(f"{self.spec.name}: completion took longer than device.timeout_ms={self._timeout_ms}")

        return wait

    def wake(self) -> None:
        """Run the kernel once on every column, on zeros, if the device may have gone to sleep."""
        if self.world.clock.now_ns - self.used_ns < WAKE_AFTER_NS:
            return
        self._wakers = self._wakers or [self._waker(column) for column in range(len(self._contexts))]
        for waker in self._wakers:
            run, bos, wait = waker
            try:
                run.start()
                wait(1)
            except BaseException:
                never_drop(waker)
                raise
            bos[-1].sync(self.directions[1])
        self.used_ns = self.world.clock.now_ns

    def _waker(self, column: int) -> tuple[Any, list[Any], Callable[[int], None]]:
        run, bos = self.prepare(column), []
        for argument, buffer in enumerate((*self.spec.inputs, self.spec.output)):
            bos.append(self.allocate(argument, buffer.size_bytes, column))
            run.set_arg(FIRST_DATA_ARGUMENT + argument, bos[-1])
        return run, bos, self.waiter(run)
