"""The simulated machine: its virtual clock, its columns, and the contexts whose commands run on them.

Everything a submission will cost is known when it is made, because queues are in order: so a command's start
and end are computed at once, and no event loop runs. Only the effects of kernels on memory wait for their time.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush

import numpy as np
from numpy.typing import NDArray

from harness.device import Simulator
from harness.kernel import KernelSpec

EXEC, LOAD = 0, 1
TRACE_FIELDS = ("kind", "column", "start_ns", "end_ns")

Effect = Callable[[], None]


@dataclass(frozen=True)
class Image:
    """What an xclbin file stands for: one kernel. `computes` False: it takes its time and leaves memory alone."""

    spec: KernelSpec
    computes: bool = True


class Column:
    """One NPU column: executes one command at a time, in order of submission."""

    def __init__(self, index: int) -> None:
        self.index = index
        self.free_ns = 0
        self.contexts = 0


class Context:
    """One hardware context: an in-order queue onto a column, cold until its first command."""

    def __init__(self, machine: Machine, column: Column) -> None:
        self._machine = machine
        self.column = column
        self._cold = machine.profile.cold_start_ns > 0
        self._queue: deque[int] = deque()
        self.visible_ns: deque[int] = deque()

    def submit(self, exec_ns: int, count: int, effects: Sequence[tuple[Effect, Effect]] = ()) -> int:
        """Submit one command of `count` chained executions; returns when the host can see its completion.

        `effects`: what each execution does to memory at its start and at its end, if it does anything.

        Blocks, as `start()` does, while the queue is full: a place is free when its command has ended.
        """
        machine, column, profile = self._machine, self.column, self._machine.profile
        queue = self._queue
        while queue and queue[0] <= machine.now_ns:
            queue.popleft()
        if len(queue) >= profile.queue_depth:
            machine.advance_to(queue.popleft())
        time_ns = max(machine.now_ns, column.free_ns)
        if self._cold:
            self._cold = False
            time_ns = machine.occupy(LOAD, column, time_ns, profile.cold_start_ns)
        for index in range(count):
            start_ns = time_ns
            dispatch_ns = profile.chain_command_ns if index else 0
            time_ns = machine.occupy(EXEC, column, start_ns, dispatch_ns + exec_ns)
            if effects:
                machine.at(start_ns, effects[index][0])
                machine.at(time_ns, effects[index][1])
        queue.append(time_ns)
        visible_ns = time_ns + profile.completion_ns
        pending = self.visible_ns
        while pending and pending[0] <= machine.now_ns:
            pending.popleft()
        pending.append(visible_ns)
        return visible_ns


class Machine:
    """A computer with one NPU, on a virtual clock that only calls of the pyxrt API move."""

    def __init__(self, profile: Simulator, images: dict[str, Image]) -> None:
        self.profile = profile
        self.images = images
        self.now_ns = 0
        self.allocations = 0
        self.columns = [Column(index) for index in range(profile.columns)]
        self.contexts: list[Context] = []
        self._effects: list[tuple[int, int, Effect]] = []
        self._sequence = 0
        self._sync_ns: dict[int, int] = {}
        self._trace: array[int] = array("q")

    def sync_ns(self, to_device: bool, size_bytes: int) -> int:
        """What a sync costs the host."""
        key = size_bytes if to_device else ~size_bytes
        if key not in self._sync_ns:
            profile = self.profile
            fixed_ns = profile.write_fixed_ns if to_device else profile.read_fixed_ns
            self._sync_ns[key] = profile.sync_ns(fixed_ns, size_bytes)
        return self._sync_ns[key]

    def advance(self, cost_ns: int) -> None:
        """The host spends `cost_ns`."""
        self.now_ns += cost_ns

    def advance_to(self, time_ns: int) -> None:
        """The host waits until `time_ns`, if that is not past."""
        self.now_ns = max(self.now_ns, time_ns)

    def pause(self, until_ns: int) -> None:
        """The host waits for the next completion it could see, at the longest until `until_ns`."""
        now_ns, next_ns = self.now_ns, until_ns
        for context in self.contexts:
            pending = context.visible_ns
            while pending and pending[0] <= now_ns:
                pending.popleft()
            if pending and pending[0] < next_ns:
                next_ns = pending[0]
        self.advance_to(next_ns)

    def open_context(self) -> Context | None:
        """A context on the least shared column, or None where the limit of contexts is reached."""
        if len(self.contexts) >= self.profile.context_limit:
            return None
        column = min(self.columns, key=lambda candidate: candidate.contexts)
        column.contexts += 1
        context = Context(self, column)
        self.contexts.append(context)
        return context

    def close_context(self, context: Context) -> None:
        """Give the context's place back."""
        context.column.contexts -= 1
        self.contexts.remove(context)

    def occupy(self, kind: int, column: Column, start_ns: int, length_ns: int) -> int:
        """Trace that `column` is busy from `start_ns` for `length_ns`; returns the end."""
        column.free_ns = end_ns = start_ns + length_ns
        self._trace.extend((kind, column.index, start_ns, end_ns))
        return end_ns

    def at(self, time_ns: int, effect: Effect) -> None:
        """Have `effect` happen at `time_ns`; effects of one instant happen in the order given."""
        self._sequence += 1
        heappush(self._effects, (time_ns, self._sequence, effect))

    def settle(self) -> None:
        """Let every effect due by now happen; called before memory is looked at."""
        effects = self._effects
        while effects and effects[0][0] <= self.now_ns:
            heappop(effects)[2]()

    def take_trace(self) -> NDArray[np.int64]:
        """What the columns did since the last call: int64 (spans, 4), columns TRACE_FIELDS, as submitted."""
        trace = np.array(self._trace, dtype=np.int64).reshape(-1, len(TRACE_FIELDS))
        self._trace = array("q")
        return trace
