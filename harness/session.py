"""The session: one kernel on a hardware context per column, and the bos and runs made there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from harness.errors import DeviceError, DeviceTimeoutError, RequestError
from harness.kernel import Bytes, KernelSpec
from harness.units import ms_to_ns
from harness.world import IN_FLIGHT, World

OPCODE_TXN = 3
"""Opcode of a transaction-style instruction stream (mlir-aie, xrtruntime/hostruntime.py)."""
FIRST_DATA_ARGUMENT = 3
"""Arguments 0 to 2 are opcode, instruction bo and its size; bos of the kernel follow."""


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
