"""The simulated machine: one NPU with memory, columns and contexts, and the clock of its host."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from heapq import heappop, heappush

import numpy as np
from numpy.typing import NDArray

from harness.config.device import Hazards, Simulator
from harness.sim.clock import DeadClock, SimClock, VirtualClock
from harness.sim.contention import Contention
from harness.sim.kernel_model import KernelModel
from harness.sim.launch import NEVER_NS
from harness.sim.memory import PAGE_BYTES, UNDEFINED, Memory
from harness.sim.noise import NoiseFactors
from harness.sim.queue import NEVER_USED_NS, Context, Partition
from harness.sim.sanitizer import Sanitizer
from harness.units import BYTES_PER_MIB

TRACE_FIELDS = ("is_load", "context", "column", "start_ns", "end_ns")
HIGHEST_HANDLE = (1 << 16) - 1
HEAP_GRANULE_BYTES = 32 << 10
"""Granule of the device's heap: 2,043 bos of 4 KiB fit beside a context and its instructions."""
CONTEXT_HEAP_BYTES = 4 * HEAP_GRANULE_BYTES
"""What an open context occupies of the heap (xdna-driver, amdxdna_ctx.c: four command buffers)."""

Effect = Callable[[], None]


class Machine:
    """A computer with one NPU. Calls of the pyxrt API advance its `clock` by what they cost.

        machine = Machine(load().device, models={})  # virtual time
        plug(machine)  # `harness.sim.pyxrt.device(0)` now opens it
        ...  # a program that uses harness.sim.pyxrt
        trace, hazards = machine.take_trace(), machine.sanitizer.take()

    models: by path of an xclbin, the kernel that it holds; see `read_models` for other paths.
    looks_cost_time: whether a repeated `run.state()` at one instant costs `poll_ns`. A program that
    polls in a loop would never end without it. A program that calls `pause` sets it to False.
    completions_ns: a heap of the times at which submissions become visible to the host.
    """

    def __init__(
        self, profile: Simulator, models: dict[str, KernelModel], clock: SimClock | None = None
    ) -> None:
        self.profile = profile
        self.models = models
        self.clock: SimClock = clock or VirtualClock()
        self.sanitizer = None if profile.hazards is Hazards.off else Sanitizer(self)
        self.partitions: list[Partition] = []
        self.contexts: list[Context] = []
        self.spans: list[tuple[Context, array[int]]] = []
        self.launch_ns = profile.launch_ns
        # End of the last execution on the columns whose last context was closed.
        self.busy_ns = NEVER_USED_NS
        self.executions = 0
        self.allocations = 0
        self.openings = 0
        self.devices = 0
        self._handle = 0
        self.heap_bytes = 0
        self.lost_ns = NEVER_NS
        self.notes: list[str] = []
        self.aborted = ""
        self.noise = NoiseFactors(profile.noise) if profile.noise.enabled else None
        self.memories: dict[int, Memory] = {}
        self._address = PAGE_BYTES
        self.effects: list[tuple[int, int, Effect]] = []
        self.looks_cost_time = True
        self._sequence = 0
        self.completions_ns: list[int] = []
        self._costs_ns: dict[int, int] = {}
        self.contention = None if profile.memory.is_neutral else Contention(self)

    def sync_ns(self, to_device: bool, size_bytes: int) -> int:
        """Return what a sync costs the host."""
        # One key for both: the complement of a size is negative.
        key = size_bytes if to_device else ~size_bytes
        if key not in self._costs_ns:
            profile = self.profile
            fixed_ns = profile.write_fixed_ns if to_device else profile.read_fixed_ns
            self._costs_ns[key] = profile.sync_ns(fixed_ns, size_bytes)
        return self._costs_ns[key]

    def wait_until(self, time_ns: int) -> None:
        """Block the host until `time_ns`."""
        # Applied before the wait, so that a wall clock spends the waiting time on the arithmetic.
        if self.effects:
            self.settle(time_ns)
        if time_ns > self.clock.now_ns:
            self.clock.now_ns = time_ns

    def pause(self, looked_ns: int, limit_ns: int) -> None:
        """Let time pass until the next submission becomes visible, or `limit_ns` is reached.

        Only submissions that were not visible at `looked_ns` count.
        """
        pending = self.completions_ns
        while pending and pending[0] <= looked_ns:
            heappop(pending)
        if pending and pending[0] < limit_ns:
            limit_ns = pending[0]
        if self.effects:
            self.settle(limit_ns)
        if limit_ns > self.clock.now_ns:
            self.clock.now_ns = limit_ns

    def ioctl(self, name: str) -> None:
        """Fail with RuntimeError, as a system call of the driver does, once the device is lost."""
        if self.clock.now_ns >= self.lost_ns:
            raise RuntimeError(f"DRM_IOCTL_AMDXDNA_{name} IOCTL failed (err=-19): No such device")

    def open_device(self) -> None:
        """Open the device. Only the first user pays: amdxdna counts them (amdxdna_drm_open)."""
        if not (self.devices or self.contexts or self.memories):
            self.clock.now_ns += self.profile.device_open_ns
        self.devices += 1

    def open_context(self, models: Sequence[KernelModel]) -> Context:
        """Open a context for kernels, on free columns if there are enough.

        Else it shares a partition of the same width, the one with the fewest contexts (xdna-driver,
        aie2_solver.c). RuntimeError with XRT's text at the context limit, or without a partition.
        """
        refused = self.openings in self.profile.faults.refuse_context
        self.openings += 1
        self.ioctl("CREATE_HWCTX")
        if refused or len(self.contexts) >= self.profile.context_limit:
            # EINVAL: what amdxdna makes of the firmware's MGMT_ERT_NOAVAIL (xdna-driver, aie.c).
            raise RuntimeError(
                "DRM_IOCTL_AMDXDNA_CREATE_HWCTX IOCTL failed (err=-22): Invalid argument"
            )
        columns = max((model.columns for model in models), default=1)
        partition = self._partition(columns)
        if partition is None:
            self._explain_no_columns(columns)
            # ENODEV: its solver finds no columns (aie2_solver.c).
            raise RuntimeError(
                "DRM_IOCTL_AMDXDNA_CREATE_HWCTX IOCTL failed (err=-19): No such device"
            )
        partition.contexts += 1
        longest_ns = max((self._longest_ns(model, partition) for model in models), default=0)
        used = {context.slot for context in self.contexts}
        slot = min(set(range(len(used) + 1)) - used)
        context = Context(self, partition, slot, longest_ns)
        self.contexts.append(context)
        self.heap_bytes += CONTEXT_HEAP_BYTES
        return context

    def _explain_no_columns(self, columns: int) -> None:
        most = self.profile.columns
        if columns > most:
            reason = (
                f"the xclbin wants {columns} columns, and the device has {most} (device.columns); "
                "build it for fewer columns, or simulate a device that has them"
            )
        else:
            reason = (
                f"contexts of other widths hold columns that one of {columns} needs; only contexts "
                "of the same width share columns; destroy a context first"
            )
        self.say_once(f"hw_context failed with No such device: {reason}")

    def _longest_ns(self, model: KernelModel, partition: Partition) -> int:
        if not self.contention:
            return model.exec_ns
        return self.contention.longest_ns(model.exec_ns, model.moved_bytes, partition.columns)

    def next_handle(self) -> int:
        """Return the handle of a new context: its predecessor's plus one, at most 65535."""
        self._handle = self._handle % HIGHEST_HANDLE + 1
        return self._handle

    def _partition(self, columns: int) -> Partition | None:
        # Free columns first; contexts of another width never share (aie2_solver.c).
        used = {each.start + column for each in self.partitions for column in range(each.columns)}
        for start in range(self.profile.columns - columns + 1):
            if used.isdisjoint(range(start, start + columns)):
                partition = Partition(start, columns)
                self.partitions.append(partition)
                return partition
        same = [each for each in self.partitions if each.columns == columns]
        return min(same, key=lambda each: each.contexts, default=None)

    def close_context(self, context: Context) -> None:
        """Close a context. The last context on a partition frees its columns."""
        context.column.contexts -= 1
        if not context.column.contexts:
            self.busy_ns = max(self.busy_ns, context.column.free_ns)
            self.partitions.remove(context.column)
        self.contexts.remove(context)
        self.heap_bytes -= CONTEXT_HEAP_BYTES

    def allocate(self, size_bytes: int, bank: int, in_heap: bool = False) -> Memory:
        """Allocate memory for a bo, at the next page of the device.

        in_heap: in the device's heap, as instructions are. RuntimeError with XRT's text if the heap
        is too small, or full.
        """
        capacity_bytes = self.profile.heap_mib * BYTES_PER_MIB
        heap_bytes = -(-size_bytes // HEAP_GRANULE_BYTES) * HEAP_GRANULE_BYTES if in_heap else 0
        if heap_bytes > capacity_bytes:
            raise RuntimeError(
                "DRM_IOCTL_AMDXDNA_CREATE_BO IOCTL failed (err=-22): Invalid argument"
            )
        if self.heap_bytes + heap_bytes > capacity_bytes:
            raise RuntimeError(
                "DRM_IOCTL_AMDXDNA_CREATE_BO IOCTL failed (err=-28): No space left on device"
            )
        self.heap_bytes += heap_bytes
        self.allocations += 1
        memory = Memory(size_bytes, f"bo {self.allocations} ({size_bytes} B)", self._address, bank)
        memory.heap_bytes = heap_bytes
        self._address += -(-size_bytes // PAGE_BYTES) * PAGE_BYTES
        self.memories[id(memory)] = memory
        return memory

    def free(self, memory: Memory) -> None:
        """Free a memory whose last bo is deleted."""
        self.heap_bytes -= memory.heap_bytes
        del self.memories[id(memory)]
        if self.sanitizer:
            self.sanitizer.on_free(memory)
            # The program may still have a view of it, from `map()`.
            memory.host[:] = bytes([UNDEFINED]) * len(memory.host)
        memory.last = None

    def at(self, time_ns: int, effect: Effect) -> None:
        """Schedule `effect` for `time_ns`; effects of one instant are applied in call order."""
        self._sequence += 1
        heappush(self.effects, (time_ns, self._sequence, effect))

    def settle(self, until_ns: int | None = None) -> None:
        """Apply the effects due by `until_ns`, or by now. Call it before memory is read."""
        effects = self.effects
        if effects:
            until_ns = self.clock.now_ns if until_ns is None else until_ns
            while effects and effects[0][0] <= until_ns:
                heappop(effects)[2]()

    def say_once(self, line: str) -> None:
        """Add a note for the user to `notes`, once."""
        if line not in self.notes:
            self.notes.append(line)

    def abort(self, reason: str) -> None:
        """End the host process, as XRT would: from now on the clock raises ProcessAborted."""
        self.aborted = self.aborted or reason
        self.clock = DeadClock(reason)

    def take_trace(self) -> NDArray[np.int64]:
        """Return the loads and executions since the last call: int64 (spans, 5), TRACE_FIELDS.

        They are sorted by context, in the order of opening, and then by submission.
        """
        pieces = [np.empty((0, len(TRACE_FIELDS)), np.int64)]
        for context, spans in self.spans:
            start, end = np.array(spans, np.int64).reshape(-1, 2).T
            where = (np.full_like(start, context.serial), np.full_like(start, context.column.start))
            # The start of a load is stored as its complement, which is negative.
            is_load = start < 0
            pieces.append(np.column_stack([is_load, *where, np.where(is_load, ~start, start), end]))
            del spans[:]
        self.spans = [(context, spans) for context, spans in self.spans if context in self.contexts]
        return np.concatenate(pieces)
