"""Partitions of the array, and the hardware contexts whose commands run on them.

Everything a submission will cost is known when it is made, because queues are in order: so a command's start
and end are computed at once, and no event loop runs. Only the effects of kernels on memory wait for their time.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Sequence
from heapq import heappush, heapreplace
from typing import TYPE_CHECKING

from harness.config.device import Faults
from harness.sim.enums import ert_cmd_state
from harness.sim.launch import NEVER_NS, Launch

if TYPE_CHECKING:
    from harness.sim.machine import Machine

_COMPLETED, _ERROR = ert_cmd_state.ERT_CMD_STATE_COMPLETED, ert_cmd_state.ERT_CMD_STATE_ERROR
_ABORT, _TIMEOUT = ert_cmd_state.ERT_CMD_STATE_ABORT, ert_cmd_state.ERT_CMD_STATE_TIMEOUT


NEVER_USED_NS = -1


class Partition:
    """Neighbouring columns of the array: executes one command at a time, in order of submission."""

    def __init__(self, start: int, width: int) -> None:
        self.start = start
        self.width = width
        self.free_ns = NEVER_USED_NS
        self.contexts = 0


class Context:
    """One hardware context: an in-order queue onto a partition, cold until its first command.

    longest_ns: execution time of its longest kernel. slot: its number on the device, used again
    after it is closed. serial: its number among all contexts ever opened. _places: when each place
    of the queue is free again, the next one first. submitted, retired: numbers of the last launch,
    and of the last launch whose end the program has seen. in_flight_launches: those in between,
    while a sanitizer watches.
    """

    def __init__(self, machine: Machine, column: Partition, slot: int, longest_ns: int) -> None:
        profile = machine.profile
        self._machine = machine
        self.column = column
        self.slot = slot
        self.serial = machine.openings
        self._cold = profile.cold_start_ns > 0
        self._places = deque([0] * profile.queue_depth, maxlen=profile.queue_depth)
        self._idle_ns = profile.idle_suspend_ns
        self._completion_ns = profile.completion_ns
        self._dispatch_ns = profile.chain_command_ns
        self._reset_ns = 0
        self._watchdog_ns = profile.watchdog_ns or NEVER_NS
        self._regular = (
            not machine.noise
            and profile.faults == Faults(slow_factor=profile.faults.slow_factor)
            and longest_ns + profile.chain_command_ns < self._watchdog_ns
        )
        self.submitted = 0
        self.retired = 0
        self.in_flight_launches: deque[Launch] = deque()
        self._spans = array("q")
        machine.spans.append((self, self._spans))
        self._span = self._spans.append

    def submit(self, launches: Sequence[Launch]) -> None:
        """Submit one command of chained executions; each launch is told when and as what its end will be seen.

        Blocks, as `start()` does, while the queue is full: a place is free when its command has ended.
        """
        machine, column = self._machine, self.column
        now_ns, place_ns = machine.clock.now_ns, self._places[0]
        if place_ns > now_ns:
            machine.wait_until(place_ns)
            now_ns = place_ns
        if now_ns < self._reset_ns:
            self._abort(launches)
            return
        time_ns, completion_ns = column.free_ns, self._completion_ns
        if time_ns < now_ns:
            time_ns = now_ns if now_ns - time_ns <= self._idle_ns else self._resume(now_ns)
        if self._cold:
            self._cold = False
            time_ns = self._load(time_ns, machine.profile.cold_start_ns)
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
        time_ns += completion_ns
        pending = machine.completions_ns
        if pending and pending[0] <= now_ns:  # already visible: makes way
            heapreplace(pending, time_ns)
        else:
            heappush(pending, time_ns)
        for launch in launches:
            launch.visible_ns = time_ns

    def _abort(self, launches: Sequence[Launch]) -> None:
        """What is submitted behind a command that hangs ends with it, and never reaches the column."""
        self._machine.executions += len(launches)
        self._places.append(self._reset_ns)
        visible_ns = self._reset_ns + self._completion_ns
        heappush(self._machine.completions_ns, visible_ns)
        for launch in launches:
            launch.final, launch.visible_ns = _ABORT, visible_ns

    def _resume(self, now_ns: int) -> int:
        """When execution can begin on a column that has been idle: later, if the whole device was suspended."""
        machine = self._machine
        busy_ns = max(machine.busy_ns, *(partition.free_ns for partition in machine.partitions))
        if busy_ns == NEVER_USED_NS or now_ns - busy_ns <= self._idle_ns:
            return now_ns
        return self._load(now_ns, machine.profile.resume_ns)

    def _load(self, start_ns: int, length_ns: int) -> int:
        """Have the column load; returns the end. Marked by a complement, which no time is."""
        self._span(~start_ns)
        self._span(start_ns + length_ns)
        return start_ns + length_ns

    def _execute_irregular(self, time_ns: int, launches: Sequence[Launch]) -> tuple[int, int]:
        """The same with noise, faults and the watchdog; returns its end, and how long that takes to be seen."""
        machine, faults = self._machine, self._machine.profile.faults
        completion_ns, failed = self._completion_ns, False
        for index, launch in enumerate(launches):
            number = machine.executions
            machine.executions += 1
            if number == faults.lost:
                machine.lost_ns = time_ns
            if failed or time_ns >= machine.lost_ns:
                launch.final, failed = _ABORT, True
                continue
            factor = machine.noise() if machine.noise else 1.0
            if number in faults.slow:
                factor *= faults.slow_factor
            took_ns = round(((self._dispatch_ns if index else 0) + launch.exec_ns) * factor)
            completion_ns = round(self._completion_ns * factor)
            launch.final = (
                _ERROR
                if number in faults.error
                else _ABORT
                if number in faults.abort
                else _COMPLETED
            )
            if number in faults.hang or took_ns >= self._watchdog_ns:
                took_ns, launch.final = self._watchdog_ns, _TIMEOUT
                self._reset_ns, self._cold = time_ns + took_ns, machine.profile.cold_start_ns > 0
            end_ns = time_ns + took_ns
            self._span(time_ns)
            self._span(end_ns)
            if launch.computing:
                machine.at(time_ns, launch.begin)
                if launch.final is _COMPLETED:
                    machine.at(
                        end_ns, launch.finish_corrupt if number in faults.corrupt else launch.finish
                    )
            failed = launch.final is not _COMPLETED
            time_ns = end_ns
        return time_ns, completion_ns
