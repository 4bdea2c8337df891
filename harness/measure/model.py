"""Predicts how long a pass takes: the executor's loop as a recurrence over the stages of tiles.

The host's calls follow each other, and the queues of the device are in order, so every time is a
sum or a maximum of times before it:

    launched = max(host, end of the command that frees a place of the queue)
    end      = max(launched, end before it on the same columns) + execution
    waited   = max(host, end + completion)

Virtual time without noise and faults follows the same rules, so there the prediction is exact. The
rules hold for one profile or for many at once: a cost is an integer, or an array with one value for
each profile.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import fields
from functools import reduce

import numpy as np

from harness.measure.pass_model import Ns, PassModel, PassTimes, Station, taken

PROFILES_AT_ONCE = 8192
"""Profiles per walk: the arrays of a walk then fit the cache of a core."""
NO_CONTEXT = -1
"""In place of a context, where a partition has executed nothing."""
LEAST_ROUNDS, MOST_STATES = 4, 1000
"""A pass of fewer rounds of its slots is not searched for a period, nor one with more states."""


def pass_times(
    model: PassModel,
    idle_ns: Ns | None = None,
    is_cold: bool = False,
    with_intervals: bool = False,
    loaded: Ns | None = None,
) -> PassTimes:
    """The times of one pass, integers or (profiles,) int64.

    idle_ns: how long the device has been idle before the pass; None if it has executed nothing.
    is_cold: whether the contexts have executed nothing. with_intervals: return intervals_ns too.
    loaded: that of the pass before; None if no context has executed anything.
    """
    profiles = model.profiles or (len(idle_ns) if isinstance(idle_ns, np.ndarray) else 0)
    if not profiles:
        return _Walk(model, idle_ns, is_cold, with_intervals, loaded=loaded).times()
    # An order that depends on the costs is walked for each profile on its own.
    parts: list[slice | int] = list(range(profiles))
    if model.is_ordered:
        starts = range(0, profiles, PROFILES_AT_ONCE)
        parts = [slice(start, start + PROFILES_AT_ONCE) for start in starts]
    pieces = []
    for part in parts:
        own_idle_ns, length = taken(idle_ns, part), _length(part, profiles)
        own = loaded[:, part] if isinstance(loaded, np.ndarray) else loaded
        walk = _Walk(model.of(part), own_idle_ns, is_cold, with_intervals, length, own)
        pieces.append(walk.times())
    columns = {
        item.name: _joined([getattr(piece, item.name) for piece in pieces], model.is_ordered)
        for item in fields(PassTimes)
    }
    return PassTimes(**columns)


def _joined(values: list[Ns], are_arrays: bool) -> Ns:
    """The times of several walks as one array, whose last axis is the profile."""
    if values[0] is None:
        return None
    return np.concatenate(values, axis=-1) if are_arrays else np.array(values).T


def _length(part: slice | int, profiles: int) -> int:
    return len(range(profiles)[part]) if isinstance(part, slice) else 0


def _larger(first: Ns, second: Ns) -> Ns:
    return np.maximum(first, second)


class _Walk:
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
        self.now = self._queued = self._longest_ns = zero
        stations, self._kernels = model.stations, len(model.stations)
        self._full = model.tiles // model.batch
        self._submissions = -(-model.tiles // model.batch)
        self._slots = min(model.slots, self._submissions)
        tail = model.tiles % model.batch
        counts = model.batch, tail
        self._write = [[each.write_ns.get(count, 0) for count in counts] for each in stations]
        self._read = [[each.read_ns.get(count, 0) for count in counts] for each in stations]
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
        self._seen: dict[object, tuple[int, int, int]] | None = None
        is_whole = bool(profiles or self._suspends or with_intervals)
        if not is_whole and self._full > LEAST_ROUNDS * self._slots:
            self._seen = {}
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
            sum((self._full * whole + tails * tail for whole, tail in each), self.now * 0)
            for each in (self._write, self._read)
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
                self.now = self.now + self._model.alloc_ns + self._write[0][staged >= self._full]
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
                    self.now = self.now + self._write[kernel + 1][number >= self._full]
                    onward.append(step + 1)

    def _periods(self, state: object, collected: int, staged: int) -> int:
        """Skip whole periods of a pass whose state recurs; returns the number of submissions.

        Times in the past are equal, because all that follows is later.
        """
        assert self._seen is not None
        now, times = self.now, (self._visible, self._free, *self._places)
        left = tuple(max(0, each - now) for part in times for each in part)
        key = state, left, tuple(self._loaded)
        before = self._seen.setdefault(key, (collected, now, self._queued))
        period = collected - before[0]
        if not period:
            if len(self._seen) > MOST_STATES:
                self._seen = None
            return 0
        count = max(0, (self._full - staged) // period)
        later_ns = count * (now - before[1])
        self.now, self._queued = now + later_ns, self._queued + count * (self._queued - before[2])
        self._visible, self._free = (
            [each + later_ns for each in part] for part in (self._visible, self._free)
        )
        self._places = [deque((x + later_ns for x in each), each.maxlen) for each in self._places]
        self._seen = None
        return count * period

    def _launch(self, step: int) -> None:
        """Submit the commands of a step to the queue of its context."""
        model, later = self._model, self._later
        number, kernel = divmod(step, self._kernels)
        context = self._first[kernel] + number % self._slots % self._columns[kernel]
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
        self.now = waited + self._read[kernel][number >= self._full]
        return step
