"""The simulated machine: one NPU with its memory, columns and contexts, and the clock that everything is charged on."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from heapq import heappop, heappush

import numpy as np
from numpy.typing import NDArray

from harness.config.device import Hazards, Simulator
from harness.sim.clock import DeadClock, SimClock, VirtualClock
from harness.sim.kernel_model import INSTRUCTION_BANK, KernelModel
from harness.sim.launch import NEVER_NS
from harness.sim.memory import UNDEFINED, Memory
from harness.sim.noise import NoiseFactors
from harness.sim.queue import NEVER_USED_NS, Context, Partition
from harness.sim.sanitizer import Sanitizer
from harness.units import BYTES_PER_MIB

TRACE_FIELDS = ("is_load", "context", "column", "start_ns", "end_ns")
PAGE_BYTES = 4096

Effect = Callable[[], None]


class Machine:
    """A computer with one NPU. `clock` is its time; what calls of the pyxrt API cost is spent on it.

    looks_cost_time: whether a second look, at one instant, at a run in flight costs `poll_ns`. It does for programs that
    poll without letting time pass, which would never end otherwise; not for one that calls `pause` between its looks.
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
        self.busy_ns = NEVER_USED_NS  # when a column that no context has any longer was last busy
        self.executions = 0
        self.allocations = 0
        self.openings = 0
        self.heap_bytes = 0
        self.lost_ns = NEVER_NS
        self.said: list[str] = []
        self.aborted = ""
        self.noise = NoiseFactors(profile.noise) if profile.noise.enabled else None
        self.memories: dict[int, Memory] = {}
        self._address = PAGE_BYTES
        self.effects: list[tuple[int, int, Effect]] = []
        self.looks_cost_time = True
        self._sequence = 0
        self.completions_ns: list[int] = []
        self._costs_ns: dict[int, int] = {}

    def sync_ns(self, to_device: bool, size_bytes: int) -> int:
        """What a sync costs the host."""
        key = size_bytes if to_device else ~size_bytes
        if key not in self._costs_ns:
            profile = self.profile
            fixed_ns = profile.write_fixed_ns if to_device else profile.read_fixed_ns
            self._costs_ns[key] = profile.sync_ns(fixed_ns, size_bytes)
        return self._costs_ns[key]

    def wait_until(self, time_ns: int) -> None:
        """The host is blocked until `time_ns`: what memory will see by then may as well happen before it sleeps."""
        if self.effects:
            self.settle(time_ns)
        if time_ns > self.clock.now_ns:
            self.clock.now_ns = time_ns

    def pause(self, looked_ns: int, limit_ns: int) -> None:
        """Let time pass until the end of a submission is visible that was not at `looked_ns`; at most to `limit_ns`."""
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
        """RuntimeError, as a system call would fail, once the device is lost."""
        if self.clock.now_ns >= self.lost_ns:
            raise RuntimeError(f"DRM_IOCTL_AMDXDNA_{name} IOCTL failed (err=-19): No such device")

    def open_context(self, models: Sequence[KernelModel]) -> Context:
        """A context for kernels on as many free columns as they take, else on the least shared partition of that width.

        RuntimeError with XRT's text where the limit is reached or no partition fits (xdna-driver, aie2_solver.c).
        """
        refused = self.openings in self.profile.faults.refuse_context
        self.openings += 1
        self.ioctl("CREATE_HWCTX")
        if refused or len(self.contexts) >= self.profile.context_limit:
            raise RuntimeError(
                "DRM_IOCTL_AMDXDNA_CREATE_HWCTX IOCTL failed (err=-22): Invalid argument"
            )
        partition = self._partition(max((model.width for model in models), default=1))
        if partition is None:
            raise RuntimeError(
                "DRM_IOCTL_AMDXDNA_CREATE_HWCTX IOCTL failed (err=-19): No such device"
            )
        partition.contexts += 1
        longest_ns = max((model.exec_ns for model in models), default=0)
        slots = {context.slot for context in self.contexts}
        context = Context(
            self,
            partition,
            next(slot for slot in range(len(slots) + 1) if slot not in slots),
            longest_ns,
        )
        self.contexts.append(context)
        return context

    def _partition(self, width: int) -> Partition | None:
        taken = {each.start + column for each in self.partitions for column in range(each.width)}
        for start in range(self.profile.columns - width + 1):
            if taken.isdisjoint(range(start, start + width)):
                partition = Partition(start, width)
                self.partitions.append(partition)
                return partition
        same = [each for each in self.partitions if each.width == width]
        return min(same, key=lambda each: each.contexts, default=None)

    def close_context(self, context: Context) -> None:
        """Give the context's place back, and its columns with the last context on them."""
        context.column.contexts -= 1
        if not context.column.contexts:
            self.busy_ns = max(self.busy_ns, context.column.free_ns)
            self.partitions.remove(context.column)
        self.contexts.remove(context)

    def allocate(self, size_bytes: int, bank: int) -> Memory:
        """Memory of a new bo, at the next page of the device; RuntimeError once instruction memory is used up."""
        if bank == INSTRUCTION_BANK:
            if self.heap_bytes + size_bytes > self.profile.heap_mib * BYTES_PER_MIB:
                raise RuntimeError(
                    "DRM_IOCTL_AMDXDNA_CREATE_BO IOCTL failed (err=-12): Cannot allocate memory"
                )
            self.heap_bytes += size_bytes
        self.allocations += 1
        memory = Memory(size_bytes, f"bo {self.allocations} ({size_bytes} B)", self._address, bank)
        self._address += -(-size_bytes // PAGE_BYTES) * PAGE_BYTES
        self.memories[id(memory)] = memory
        return memory

    def free(self, memory: Memory) -> None:
        """The last bo of a memory is gone; a view of it that is still around sees nothing to rely on."""
        if memory.bank == INSTRUCTION_BANK:
            self.heap_bytes -= memory.size
        del self.memories[id(memory)]
        if self.sanitizer:
            self.sanitizer.freed(memory)
            memory.host[:] = bytes([UNDEFINED]) * len(memory.host)
        memory.last = None

    def at(self, time_ns: int, effect: Effect) -> None:
        """Have `effect` happen at `time_ns`; effects of one instant happen in the order given."""
        self._sequence += 1
        heappush(self.effects, (time_ns, self._sequence, effect))

    def settle(self, until_ns: int | None = None) -> None:
        """Let every effect due by `until_ns`, or now, happen; called before memory is looked at."""
        effects = self.effects
        if effects:
            until_ns = self.clock.now_ns if until_ns is None else until_ns
            while effects and effects[0][0] <= until_ns:
                heappop(effects)[2]()

    def say_once(self, line: str) -> None:
        """Keep a remark for the user, once."""
        if line not in self.said:
            self.said.append(line)

    def abort(self, reason: str) -> None:
        """The host process ends here, as XRT would end it: from now on the clock raises ProcessAborted."""
        self.aborted = self.aborted or reason
        self.clock = DeadClock(reason)

    def take_trace(self) -> NDArray[np.int64]:
        """What the contexts did since the last call: int64 (spans, 5), columns TRACE_FIELDS.

        By context, in the order they were opened, and of each as submitted.
        """
        pieces = [np.empty((0, len(TRACE_FIELDS)), np.int64)]
        for context, spans in self.spans:
            start, end = np.array(spans, np.int64).reshape(-1, 2).T
            where = (np.full_like(start, context.serial), np.full_like(start, context.column.start))
            pieces.append(
                np.column_stack([start < 0, *where, np.where(start < 0, ~start, start), end])
            )
            del spans[:]
        self.spans = [(context, spans) for context, spans in self.spans if context in self.contexts]
        return np.concatenate(pieces)
