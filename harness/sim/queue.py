"""Partitions of columns, and the hardware contexts whose commands execute on them.

Queues are in order, so the start and the end of a command are known at its submission. They are
computed there, and there is no event loop. Only the effects of kernels on memory are scheduled.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Callable, Sequence
from heapq import heappush, heapreplace
from typing import TYPE_CHECKING

from harness.config.disturbance import Faults
from harness.sim.enums import ert_cmd_state
from harness.sim.launch import NEVER_NS, Launch

if TYPE_CHECKING:
    from harness.sim.machine import Machine

_COMPLETED, _ERROR = ert_cmd_state.ERT_CMD_STATE_COMPLETED, ert_cmd_state.ERT_CMD_STATE_ERROR
_ABORT, _TIMEOUT = ert_cmd_state.ERT_CMD_STATE_ABORT, ert_cmd_state.ERT_CMD_STATE_TIMEOUT

NEVER_USED_NS = -1
"""End of the last execution on columns that have executed nothing."""


class Partition:
    """Adjacent columns. They execute one command at a time, in the order of submission.

    start, columns: first column, and number of columns. free_ns: end of the last command.
    contexts: number of open contexts on it. loaded: the context that executed last. slowdowns:
    of its executions, and of syncs beside them, in thousandths (`harness.sim.contention`).
    """

    def __init__(self, start: int, columns: int) -> None:
        self.start = start
        self.columns = columns
        self.free_ns = NEVER_USED_NS
        self.contexts = 0
        self.loaded: Context | None = None
        self.slowdowns = 0, 0


class Context:
    """One hardware context: an in-order queue onto a partition, cold until its first command.

    column: its partition
    slot: its number on the device, which a later context uses again after it is closed
    serial: its number among all contexts of the machine
    handle: its number in group ids, from 1; the driver does not use one again at once
    commands: number of commands submitted so far
    last_visible_ns: when the host can see the end of the latest of them
    longest_ns: execution time of its longest kernel
    submitted, retired: number of the last launch, and of the last launch whose end the program saw
    in_flight_launches: the launches in between, if there is a sanitizer
    """

    def __init__(self, machine: Machine, column: Partition, slot: int, longest_ns: int) -> None:
        profile = machine.profile
        self._machine = machine
        self.column = column
        self.slot = slot
        self.serial = machine.openings
        self.handle = machine.next_handle()
        self._cold = True
        # Times at which the places of the queue become free, the earliest first.
        self._places = deque([0] * profile.queue_depth, maxlen=profile.queue_depth)
        self._idle_ns = profile.idle_suspend_ns
        self._completion_ns = profile.completion_ns
        self._dispatch_ns = profile.chain_command_ns
        self._reset_ns = 0
        self._watchdog_ns = profile.watchdog_ns or NEVER_NS
        # Without noise, faults and timeouts, `submit` needs none of their checks.
        self._regular = (
            not machine.noise
            and profile.faults == Faults(slow_factor=profile.faults.slow_factor)
            and longest_ns + profile.chain_command_ns < self._watchdog_ns
        )
        self.commands = self.last_visible_ns = 0
        self.submitted = 0
        self.retired = 0
        self.in_flight_launches: deque[Launch] = deque()
        self._spans = array("q")
        machine.spans.append((self, self._spans))
        self._span = self._spans.append

    def submit(self, launches: Sequence[Launch]) -> None:
        """Submit one command of chained executions; set `final` and `visible_ns` of each launch.

        Blocks, as `run.start()` does, while the queue is full. A command occupies its place in the
        queue until its end.
        """
        machine, column = self._machine, self.column
        now_ns, place_ns = machine.clock.now_ns, self._places[0]
        if place_ns > now_ns:
            machine.wait_until(place_ns)
            now_ns = place_ns
        # A command before this one hangs, and the watchdog has not reset the context yet.
        if now_ns < self._reset_ns:
            self._abort(launches)
            return
        if machine.contention:
            machine.contention.prepare(self, launches)
        time_ns, completion_ns = column.free_ns, self._completion_ns
        # The columns are idle, so the command starts now, or after a resume.
        if time_ns < now_ns:
            time_ns = now_ns if now_ns - time_ns <= self._idle_ns else self._resume(now_ns)
        if self._cold or column.loaded is not self:
            time_ns = self._take_columns(time_ns)
        if self._regular:
            span, dispatch_ns = self._span, 0
            for launch in launches:
                span(time_ns)
                end_ns = time_ns + dispatch_ns + launch.exec_ns
                span(end_ns)
                launch.final = _COMPLETED
                if launch.computing:
                    machine.at(time_ns, launch.begin)
                    machine.at(end_ns, launch.finish)
                time_ns, dispatch_ns = end_ns, self._dispatch_ns
        else:
            time_ns, completion_ns = self._execute_irregular(time_ns, launches)
        column.free_ns = time_ns
        self._places.append(time_ns)
        if machine.contention:
            machine.contention.add(column, time_ns, completion_ns, launches)
        time_ns += completion_ns
        pending = machine.completions_ns
        # An entry that is already visible is not needed any more.
        if pending and pending[0] <= now_ns:
            heapreplace(pending, time_ns)
        else:
            heappush(pending, time_ns)
        self._number(launches, time_ns)

    def _number(self, launches: Sequence[Launch], visible_ns: int) -> None:
        """Note the number of a command in its launches, and when its end is visible."""
        for launch in launches:
            launch.visible_ns = visible_ns
            launch.command = self.commands
        self.last_visible_ns = visible_ns
        self.commands += 1

    def _abort(self, launches: Sequence[Launch]) -> None:
        """End launches that were submitted behind a command that hangs: they never execute."""
        self._machine.executions += len(launches)
        self._places.append(self._reset_ns)
        visible_ns = self._reset_ns + self._completion_ns
        if self._machine.contention:
            self._machine.contention.add(self.column, self._reset_ns, self._completion_ns, launches)
        heappush(self._machine.completions_ns, visible_ns)
        for launch in launches:
            launch.final = _ABORT
        self._number(launches, visible_ns)

    def delay(self, later: Callable[[int], int], now_ns: int) -> None:
        """Move the events after `now_ns`; `later` returns the new time of each."""
        self._reset_ns = later(self._reset_ns)
        self._places = deque(map(later, self._places), maxlen=self._places.maxlen)
        spans = self._spans
        for end in range(len(spans) - 1, 0, -2):
            if spans[end] <= now_ns:
                break
            start_ns = spans[end - 1]
            spans[end] = later(spans[end])
            # The start of a load is stored as its complement.
            spans[end - 1] = ~later(~start_ns) if start_ns < 0 else later(start_ns)

    def _resume(self, now_ns: int) -> int:
        """Return when execution can begin on idle columns: later if the device was suspended.

        The device is suspended when all of its columns have been idle long enough.
        """
        machine = self._machine
        busy_ns = max(machine.busy_ns, *(partition.free_ns for partition in machine.partitions))
        if busy_ns == NEVER_USED_NS or now_ns - busy_ns <= self._idle_ns:
            return now_ns
        return self._load(now_ns, machine.profile.resume_ns)

    def _take_columns(self, time_ns: int) -> int:
        """Load the context onto its columns, and return when its execution can begin.

        The first load takes the time of a cold start; a later one, after another context has used
        the columns, that of a switch.
        """
        profile, other, self.column.loaded = self._machine.profile, self.column.loaded, self
        load_ns = profile.cold_start_ns if self._cold else profile.switch_ns if other else 0
        self._cold = False
        return self._load(time_ns, load_ns) if load_ns else time_ns

    def _load(self, start_ns: int, length_ns: int) -> int:
        """Occupy the columns with a load (cold start, switch, resume), and return its end."""
        # The complement of a time is negative, and marks the span as a load.
        self._span(~start_ns)
        self._span(start_ns + length_ns)
        return start_ns + length_ns

    def _execute_irregular(self, time_ns: int, launches: Sequence[Launch]) -> tuple[int, int]:
        """Execute with noise, faults and the watchdog.

        Returns the end, and the time from there until the host can see it.
        """
        machine, faults = self._machine, self._machine.profile.faults
        completion_ns, failed = self._completion_ns, False
        for index, launch in enumerate(launches):
            number = machine.executions
            machine.executions += 1
            if number == faults.lost:
                machine.lost_ns = time_ns
            # The rest of a chain does not execute after a failure.
            if failed or time_ns >= machine.lost_ns:
                launch.final, failed = _ABORT, True
                continue
            factor = machine.noise() if machine.noise else 1.0
            if number in faults.slow:
                factor *= faults.slow_factor
            duration_ns = round(((self._dispatch_ns if index else 0) + launch.exec_ns) * factor)
            completion_ns = round(self._completion_ns * factor)
            if number in faults.error:
                launch.final = _ERROR
            elif number in faults.abort:
                launch.final = _ABORT
            else:
                launch.final = _COMPLETED
            if number in faults.hang or duration_ns >= self._watchdog_ns:
                # The watchdog resets the context, which has to be loaded again.
                duration_ns, launch.final = self._watchdog_ns, _TIMEOUT
                self._reset_ns = time_ns + duration_ns
                self._cold = True
            end_ns = time_ns + duration_ns
            self._span(time_ns)
            self._span(end_ns)
            if launch.computing:
                machine.at(time_ns, launch.begin)
                if launch.final is _COMPLETED:
                    corrupt = number in faults.corrupt
                    machine.at(end_ns, launch.finish_corrupt if corrupt else launch.finish)
            failed = launch.final is not _COMPLETED
            time_ns = end_ns
        return time_ns, completion_ns
