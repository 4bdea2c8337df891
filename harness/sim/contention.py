"""Host and device share the memory: bandwidth limits executions, and syncs slow them down.

A sync that begins at t, while columns execute or have work queued, takes longer for the part of it
that falls into that work:

    length = cost + min(cost, free - t) * sync_slower

Of several columns, the largest such time counts. The work of a column is slower meanwhile, so its
events at e > t move to

    e + min((e - t) * exec_slower, length * exec_slower / (1 + exec_slower))

No work is submitted during a sync, so all of it is known at t. Both factors are those of the
kernel launched last on the column (`SharedMemory.slowdowns`). Products round down to whole
nanoseconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heapify
from typing import TYPE_CHECKING, Any

from harness.config.execution_time import data_ns
from harness.sim.launch import Launch
from harness.units import PERMILLE

if TYPE_CHECKING:
    from harness.sim.machine import Machine
    from harness.sim.queue import Context, Partition


@dataclass
class _Command:
    """A submitted command that the host has not seen to end."""

    column: Partition
    end_ns: int
    completion_ns: int
    launches: Sequence[Launch]

    @property
    def visible_ns(self) -> int:
        return self.end_ns + self.completion_ns


class Contention:
    """Changes the times of a machine whose profile has a shared memory.

    `prepare` and `add` are called around each submission, `sync_ns` before each sync.
    """

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._commands: list[_Command] = []

    def longest_ns(self, exec_ns: int, moved_bytes: int, columns: int) -> int:
        """Longest execution of a kernel, when all columns of the device are open."""
        profile = self._machine.profile
        moving: int = data_ns(profile, moved_bytes, profile.columns, columns)
        return max(exec_ns, moving)

    def prepare(self, context: Context, launches: Sequence[Launch]) -> None:
        """Set the time of each launch, and the slowdowns while its columns execute it."""
        machine, column, profile = self._machine, context.column, self._machine.profile
        open_columns = sum(each.columns for each in machine.partitions)
        for launch in launches:
            moving = data_ns(profile, launch.moved_bytes, open_columns, column.columns)
            launch.exec_ns = max(launch.alone_ns, moving)
            column.slowdowns = profile.memory.slowdowns(launch.exec_ns, moving)

    def add(
        self, column: Partition, end_ns: int, completion_ns: int, launches: Sequence[Launch]
    ) -> None:
        """Remember a command that has been submitted."""
        now_ns = self._machine.clock.now_ns
        self._commands = [each for each in self._commands if each.visible_ns > now_ns]
        self._commands.append(_Command(column, end_ns, completion_ns, tuple(launches)))

    def sync_ns(self, cost_ns: int) -> int:
        """Return the length of a sync that begins now, and delay the work beside it."""
        machine = self._machine
        now_ns = machine.clock.now_ns
        busy = [each for each in machine.partitions if each.free_ns > now_ns]
        extra_ns = max(
            (min(cost_ns, each.free_ns - now_ns) * each.slowdowns[1] // PERMILLE for each in busy),
            default=0,
        )
        for column in busy:
            self._delay(column, now_ns, cost_ns + extra_ns)
        return cost_ns + extra_ns

    def _delay(self, column: Partition, now_ns: int, length_ns: int) -> None:
        """Move all later events of a partition."""
        slower, _ = column.slowdowns
        most_ns = length_ns * slower // (PERMILLE + slower)
        if not most_ns:
            return
        machine = self._machine

        def later(time_ns: int) -> int:
            if time_ns <= now_ns:
                return time_ns
            return time_ns + min((time_ns - now_ns) * slower // PERMILLE, most_ns)

        column.free_ns = later(column.free_ns)
        for context in machine.contexts:
            if context.column is column:
                context.delay(later, now_ns)
        for command in self._commands:
            if command.column is column:
                command.end_ns = later(command.end_ns)
                for launch in command.launches:
                    launch.visible_ns = command.visible_ns
        machine.completions_ns[:] = sorted(each.visible_ns for each in self._commands)
        # Effects are methods of launches.
        machine.effects = [
            (later(time_ns) if _launch(effect).context.column is column else time_ns, order, effect)
            for time_ns, order, effect in machine.effects
        ]
        heapify(machine.effects)


def _launch(effect: Any) -> Launch:
    launch: Launch = effect.__self__
    return launch
