"""A walk through a pass: the executor's loop as a recurrence over the stages of tiles.

The host's calls follow each other, and the queues of the device are in order, so every time is a
sum or a maximum of times before it:

    launched = max(host, end of the command that frees a place of the queue)
    end      = max(launched, end before it on the same columns) + execution
    waited   = max(host, end + completion)

Virtual time without noise and faults follows the same rules, so there the prediction is exact. The
rules hold for one profile or for many at once. Where host and device share the memory, syncs delay
the work beside them (`harness.measure.contention`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from functools import reduce

import numpy as np

from harness.measure.contention import Contention, DeviceTimes
from harness.measure.pass_model import Ns, PassModel, PassTimes, Station

NO_CONTEXT = -1
"""In place of a context, where a partition has executed nothing."""
LEAST_ROUNDS, MOST_STATES = 4, 1000
"""A pass of fewer rounds of its slots is not searched for a period, nor one with more states."""


def _larger(first: Ns, second: Ns) -> Ns:
    return np.maximum(first, second)


class Walk:
    """One pass, call by call. `now` is the host's time since its begin.

    Steps, slots and submissions are numbered as in `harness.execution.executor.Executor`.
    """

    def __init__(
        self,
        model: PassModel,
        idle_ns: Ns | None,
        is_cold: bool,
        with_intervals: bool,
        profiles: int = 0,
        loaded: Ns | None = None,
    ) -> None:
        self._model, self._profiles = model, profiles
        # Python's integers are faster than arrays of one element.
        self._later: Callable[[Ns, Ns], Ns] = _larger if profiles else max
        zero: Ns = np.zeros(profiles, np.int64) if profiles else 0
        self.now = self._longest_ns = zero
        # Time in full queues, and time that writes and reads lose to executions beside them.
        self._queued = self._slow_writes = self._slow_reads = zero
        stations, self._kernels = model.stations, len(model.stations)
        self._full = model.tiles // model.batch
        self._submissions = -(-model.tiles // model.batch)
        self._slots = min(model.slots, self._submissions)
        tail = model.tiles % model.batch
        counts = model.batch, tail
        # Without a list of the syncs, staging is one, and so is collecting.
        self._write = [
            [each.syncs_ns.get(count, (each.write_ns.get(count, 0),)) for count in counts]
            for each in stations
        ]
        self._read = [
            [each.reads_ns.get(count, (each.read_ns.get(count, 0),)) for count in counts]
            for each in stations
        ]
        self._commands = [[self._lengths(each, count) for count in counts] for each in stations]
        # Contexts count through the stations.
        self._partition = [number for each in stations for number in each.partitions]
        columns = [len(each.partitions) for each in stations]
        self._columns, self._first = columns, [sum(columns[:k]) for k in range(len(columns))]
        self._free = [zero] * (max(self._partition) + 1)
        self._cold = [is_cold] * len(self._partition)
        self._loaded = [NO_CONTEXT] * len(self._free)
        if loaded is not None:
            # Equal for all profiles of a walk, because their order is.
            self._loaded = [int(np.ravel(each)[0]) for each in loaded]
        self._takes_turns = model.takes_turns
        self._places = [
            deque([zero] * model.queue_depth, model.queue_depth) for _ in self._partition
        ]
        # Single kernels deal their submissions over the columns in turn.
        of_context = model.in_flight if self._kernels > 1 else -(-model.in_flight // columns[0])
        commands = max(len(lengths) for each in self._commands for lengths in each)
        self._may_block = of_context * commands > model.queue_depth
        self._suspends = model.may_suspend(0 if idle_ns is None else idle_ns)
        # End of the last execution on any column; None before the first.
        self._busy: Ns | None = None if idle_ns is None else zero - idle_ns
        self._visible: list[Ns] = [zero] * max(1, self._slots * self._kernels)
        # States of a single profile by which a long pass is shortened, with collected, now, queued.
        self._seen: dict[object, tuple[int, ...]] | None = None
        is_whole = bool(profiles or self._suspends or with_intervals)
        if not is_whole and self._full > LEAST_ROUNDS * self._slots:
            self._seen = {}
        self._contention: Contention | None = None
        if model.shares_memory:
            kernels = [number for number, count in enumerate(columns) for _ in range(count)]
            steps = [self._context(number) for number in range(len(self._visible))]
            self._contention = Contention(model, self._partition, kernels, steps, bool(profiles))
        # Ends of the waits for the last kernel.
        self._ends: list[Ns] | None = [] if with_intervals else None

    def _lengths(self, station: Station, count: int) -> list[Ns]:
        """Length of each command of a submission."""
        chain, command_ns = self._model.chain_length, self._model.command_ns
        sizes = [min(chain, count - first) for first in range(0, count, chain)]
        return [size * station.exec_ns + (size - 1) * command_ns for size in sizes]

    def times(self) -> PassTimes:
        """Walk through the pass and return its times."""
        model, steps = self._model, self._submissions * self._kernels
        self._go()
        tails = self._submissions - self._full
        write, read = (
            sum((self._full * sum(whole) + tails * sum(tail) for whole, tail in each), slowed)
            for each, slowed in ((self._write, self._slow_writes), (self._read, self._slow_reads))
        )
        alloc = model.alloc_ns * self._submissions + self.now * 0
        launch = steps * model.launch_ns + self._queued
        return PassTimes(
            makespan_ns=self.now,
            alloc_ns=alloc,
            write_ns=write,
            launch_ns=launch,
            wait_ns=self.now - alloc - write - launch - read,
            read_ns=read,
            longest_wait_ns=self._longest_ns,
            idle_ns=self.now - reduce(self._later, self._free),
            loaded=self._last_loaded(),
            intervals_ns=None if self._ends is None else np.diff(np.array(self._ends), axis=0),
        )

    def _last_loaded(self) -> Ns:
        """The field `loaded` of `PassTimes`."""
        if not self._profiles:
            return tuple(self._loaded)
        return np.repeat(np.array(self._loaded)[:, None], self._profiles, axis=1)

    def _go(self) -> None:
        """`Executor.run`: launch what is staged, stage what fits, collect the oldest."""
        in_flight, onward, finished = deque[int](), deque[int](), bytearray(self._submissions)
        kernels, slots, submissions = self._kernels, self._slots, self._submissions
        depth, single = self._model.in_flight, kernels == 1
        staged = launched = collected = 0
        while collected < submissions:
            if onward or (launched < staged and launched - collected < depth):
                if onward:
                    step = onward.popleft()
                else:
                    step, launched = launched * kernels, launched + 1
                in_flight.append(step)
                self._launch(step)
            elif (staged < submissions and staged - collected < slots) and (
                single or staged < slots or finished[staged - slots]
            ):
                self.now = self.now + self._model.alloc_ns
                self._stage(staged, 0)
                staged += 1
            else:
                step = self._collect(in_flight)
                number, kernel = divmod(step, kernels)
                if kernel == kernels - 1:
                    finished[number], collected = True, collected + 1
                    if self._seen is None or collected % slots:
                        continue
                    begin, window = staged - slots, finished[max(0, staged - slots) : staged]
                    steps = [
                        [each - collected * kernels for each in q] for q in (in_flight, onward)
                    ]
                    state = staged - collected, launched - collected, bytes(window), str(steps)
                    if more := self._periods(state, collected, staged):
                        collected, staged, launched = (
                            each + more for each in (collected, staged, launched)
                        )
                        finished[begin + more : begin + more + slots] = window
                        for queue in (in_flight, onward):
                            for _ in range(len(queue)):
                                queue.append(queue.popleft() + more * kernels)
                else:
                    self._stage(number, kernel + 1)
                    onward.append(step + 1)

    def _periods(self, state: object, collected: int, staged: int) -> int:
        """Skip whole periods of a pass whose state recurs; returns the number of submissions.

        Times in the past are equal, because all that follows is later.
        """
        assert self._seen is not None
        now, times = self.now, (self._visible, self._free, *self._places)
        left = tuple(max(0, each - now) for part in times for each in part)
        key = state, left, tuple(self._loaded)
        sums = now, self._queued, self._slow_writes, self._slow_reads
        before = self._seen.setdefault(key, (collected, *sums))
        period = collected - before[0]
        if not period:
            if len(self._seen) > MOST_STATES:
                self._seen = None
            return 0
        count = max(0, (self._full - staged) // period)
        later_ns = count * (now - before[1])
        self.now, self._queued, self._slow_writes, self._slow_reads = (
            value + count * (value - then) for value, then in zip(sums, before[1:], strict=True)
        )
        self._visible, self._free = (
            [each + later_ns for each in part] for part in (self._visible, self._free)
        )
        self._places = [deque((x + later_ns for x in each), each.maxlen) for each in self._places]
        self._seen = None
        return count * period

    def _context(self, step: int) -> int:
        number, kernel = divmod(step, self._kernels)
        return self._first[kernel] + number % max(1, self._slots) % self._columns[kernel]

    def _stage(self, number: int, kernel: int) -> None:
        syncs = self._write[kernel][number >= self._full]
        self._slow_writes = self._slow_writes + self._sync(syncs)

    def _sync(self, syncs_ns: Sequence[Ns]) -> Ns:
        """Sync buffers; returns the time that they lose to executions beside them."""
        if not self._contention:
            self.now = self.now + sum(syncs_ns)
            return 0
        lost: Ns = 0
        for cost_ns in syncs_ns:
            device = DeviceTimes(self._free, self._loaded, self._visible, self._places)
            length_ns = self._contention.sync(cost_ns, self.now, device)
            if self._suspends and self._busy is not None:
                # Free later than now: launched in this pass.
                for free in self._free:
                    self._busy = self._busy + (free > self.now) * self._later(free - self._busy, 0)
            self.now, lost = self.now + length_ns, lost + length_ns - cost_ns
        return lost

    def _launch(self, step: int) -> None:
        """Submit the commands of a step to the queue of its context."""
        model, later = self._model, self._later
        number, kernel = divmod(step, self._kernels)
        context = self._context(step)
        partition, places = self._partition[context], self._places[context]
        self.now = self.now + model.launch_ns
        end = self._free[partition]
        for length_ns in self._commands[kernel][number >= self._full]:
            if self._may_block:
                free = later(self.now, places[0])
                self._queued, self.now = self._queued + (free - self.now), free
            start = later(self.now, end)
            if self._suspends and self._busy is not None:
                # A comparison counts as 0 or 1, for integers and for arrays.
                start = start + model.resume_ns * (self.now - self._busy > model.suspend_ns)
            if self._cold[context]:
                start, self._cold[context] = start + model.cold_ns, False
            elif self._takes_turns and self._loaded[partition] not in (NO_CONTEXT, context):
                start = start + model.switch_ns
            self._loaded[partition] = context
            end = start + length_ns
            places.append(end)
            if self._suspends:
                self._busy = end if self._busy is None else later(self._busy, end)
        self._free[partition] = end
        self._visible[step % len(self._visible)] = end + model.completion_ns

    def _collect(self, in_flight: deque[int]) -> int:
        """Wait for a step, read its outputs, and return it."""
        visible, ring, step = self._visible, len(self._visible), in_flight[0]
        if len(in_flight) > 1 and not self._model.is_ordered:
            # The first in the order of launches that is visible when any is.
            now = max(self.now, min(visible[each % ring] for each in in_flight))
            step = next(each for each in in_flight if visible[each % ring] <= now)
            in_flight.remove(step)
        else:
            in_flight.popleft()
        waited = self._later(self.now, visible[step % ring])
        self._longest_ns = self._later(self._longest_ns, waited - self.now)
        number, kernel = divmod(step, self._kernels)
        if self._ends is not None and kernel == self._kernels - 1:
            self._ends.append(waited)
        self.now = waited
        lost = self._sync(self._read[kernel][number >= self._full])
        self._slow_reads = self._slow_reads + lost
        return step
