"""The pipeline as SimPy processes: an oracle for the simulator that shares no code with it.

One process is the host, one more stands for each column. Time is whole nanoseconds.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Sequence
from dataclasses import dataclass

import simpy

from harness.config.device import Simulator
from harness.config.strategy import Buffers, Strategy

MIB = 1 << 20

Steps = Generator[simpy.Event, int, None]
Execution = tuple[int, int, int, int]
"""Tile, column, start_ns, end_ns."""


@dataclass(frozen=True)
class ModelResult:
    """From the host's first step to its last; what the columns executed, in the order it ended."""

    makespan_ns: int
    executions: list[Execution]


@dataclass(frozen=True)
class Command:
    """A chain of tiles in a column's queue. At its end `place` is given back and `ended` fires.

    times: start and end of each tile, which syncs of the host move.
    """

    tiles: range
    place: simpy.resources.resource.Request
    ended: simpy.Event | None
    times: list[list[int]]


class Column:
    """A context's in-order queue and the column behind it."""

    def __init__(
        self,
        env: simpy.Environment,
        index: int,
        profile: Simulator,
        exec_ns: int,
        cold: bool,
        executions: list[Execution],
    ) -> None:
        self.places = simpy.Resource(env, profile.queue_depth)
        self.queue = simpy.Store(env)
        self._env = env
        self._index = index
        self._exec_ns = exec_ns
        self._chain_command_ns = profile.chain_command_ns
        self._cold_start_ns = profile.cold_start_ns if cold else 0
        self._executions = executions
        self._free_ns = 0
        self._commands: list[Command] = []
        env.process(self._work())

    @property
    def rest_ns(self) -> int:
        """Time until all work that is queued has ended."""
        return max(0, self._free_ns - self._env.now)

    def submit(
        self, tiles: range, place: simpy.resources.resource.Request, ended: simpy.Event | None
    ) -> None:
        """Queue a command, and compute its times."""
        time_ns = max(self._env.now, self._free_ns) + self._cold_start_ns
        self._cold_start_ns, between_ns, times = 0, 0, []
        for _ in tiles:
            times.append([time_ns, time_ns + between_ns + self._exec_ns])
            time_ns, between_ns = times[-1][1], self._chain_command_ns
        self._free_ns = time_ns
        self._commands.append(Command(tiles, place, ended, times))
        self.queue.put(self._commands[-1])

    def slow(self, length_ns: int, slower: int) -> None:
        """Move all that is still to happen: a sync of this length begins, `slower` is per mille."""
        now_ns, most_ns = self._env.now, length_ns * slower // (1000 + slower)

        def moved(time_ns: int) -> int:
            return time_ns + min(max(0, time_ns - now_ns) * slower // 1000, most_ns)

        self._free_ns = moved(self._free_ns)
        for command in self._commands:
            command.times[:] = [[moved(time_ns) for time_ns in each] for each in command.times]

    def _work(self) -> Steps:
        env = self._env
        while True:
            command = yield self.queue.get()
            for number, tile in enumerate(command.tiles):
                # Ends only become later.
                while (end_ns := command.times[number][1]) > env.now:
                    yield env.timeout(end_ns - env.now)
                self._executions.append((tile, self._index, *command.times[number]))
            self._commands.remove(command)
            self.places.release(command.place)
            if command.ended:
                command.ended.succeed(env.now)


@dataclass(frozen=True)
class Group:
    """Consecutive tiles submitted together. `ended` fires when the last has been executed."""

    tiles: range
    column: Column
    ended: simpy.Event


class Host:
    """The serial host loop: launch what is staged, or stage what fits, or collect the oldest."""

    def __init__(
        self,
        env: simpy.Environment,
        profile: Simulator,
        strategy: Strategy,
        groups: deque[Group],
        columns: list[Column],
        slower: tuple[int, int],
        bos: int,
        inputs: Sequence[int],
        outputs: Sequence[int],
    ) -> None:
        self._env = env
        self._profile = profile
        self._strategy = strategy
        self._groups = groups
        self._columns = columns
        self._slower = slower
        self._bos = bos
        self._inputs = inputs
        self._outputs = outputs

    def work(self) -> Steps:
        strategy = self._strategy
        most_flying = strategy.depth * strategy.columns
        most_held = most_flying + strategy.prefetch * strategy.columns
        staged: deque[Group] = deque()
        flying: deque[Group] = deque()
        while self._groups or staged or flying:
            if staged and len(flying) < most_flying:
                group = staged.popleft()
                yield from self._launch(group)
                flying.append(group)
            elif self._groups and len(staged) + len(flying) < most_held:
                group = self._groups.popleft()
                yield from self._stage(group)
                staged.append(group)
            else:
                yield from self._collect(flying.popleft())

    def _stage(self, group: Group) -> Steps:
        if self._strategy.buffers is Buffers.per_tile:
            yield self._env.timeout(self._bos * self._profile.alloc_ns)
        for size_bytes in self._inputs:
            yield from self._sync(self._profile.write_fixed_ns + self._moving_ns(group, size_bytes))

    def _launch(self, group: Group) -> Steps:
        yield self._env.timeout(self._profile.launch_ns)
        length = self._profile.chain_length
        chains = [
            group.tiles[start : start + length] for start in range(0, len(group.tiles), length)
        ]
        for chain in chains:
            place = group.column.places.request()
            yield place
            group.column.submit(chain, place, group.ended if chain is chains[-1] else None)

    def _collect(self, group: Group) -> Steps:
        seen_ns = (yield group.ended) + self._profile.completion_ns
        if seen_ns > self._env.now:
            yield self._env.timeout(seen_ns - self._env.now)
        for size_bytes in self._outputs:
            yield from self._sync(self._profile.read_fixed_ns + self._moving_ns(group, size_bytes))

    def _sync(self, cost_ns: int) -> Steps:
        """A sync, slower by the part that falls into the rest of the columns' work."""
        exec_slower, sync_slower = self._slower
        rest_ns = max(column.rest_ns for column in self._columns)
        length_ns = cost_ns + min(cost_ns, rest_ns) * sync_slower // 1000
        for column in self._columns:
            column.slow(length_ns, exec_slower)
        yield self._env.timeout(length_ns)

    def _moving_ns(self, group: Group, tile_bytes: int) -> int:
        """Time for the group's bytes, each tile on its own cache lines; half a ns rounds up."""
        lines = len(group.tiles) * ((tile_bytes + 63) // 64)
        return (2 * lines * 64 * self._profile.sync_ns_per_mib + MIB) // (2 * MIB)


def with_memory(
    profile: Simulator, columns: int, moved_bytes: int, exec_ns: int
) -> tuple[int, tuple[int, int]]:
    """The time of an execution with its data, and the slowdowns in thousandths.

    Times are rounded up to whole nanoseconds. The clock is the calibrated one.
    """
    memory = profile.memory
    limits = memory.channel_ns_per_mib, memory.array_ns_per_mib * columns
    data_ns = max((moved_bytes * each + MIB - 1) // MIB for each in limits)
    exec_ns = max(exec_ns, data_ns)
    share = 1000 * data_ns // exec_ns if exec_ns else 0
    if not any(limits):
        share = 1000
    return exec_ns, (
        memory.exec_slower_pct * share // 100,
        memory.sync_slower_pct * share // 100,
    )


def simulate(
    profile: Simulator,
    strategy: Strategy,
    tiles: int,
    inputs: Sequence[int],
    outputs: Sequence[int],
    exec_ns: int,
    cold: bool,
    bos: int = 2,
) -> ModelResult:
    """One pass of `tiles` tiles with `strategy`; cold: no context has executed anything before.

    inputs, outputs: bytes of a tile in each bo that the host writes, and reads. bos: their number.
    """
    env = simpy.Environment()
    moved_bytes = max(sum(inputs), sum(outputs))
    exec_ns, slower = with_memory(profile, strategy.columns, moved_bytes, exec_ns)
    executions: list[Execution] = []
    columns = [
        Column(env, index, profile, exec_ns, cold, executions) for index in range(strategy.columns)
    ]
    firsts = range(0, tiles, strategy.batch)
    groups = deque(
        Group(
            range(first, min(first + strategy.batch, tiles)),
            columns[number % len(columns)],
            env.event(),
        )
        for number, first in enumerate(firsts)
    )
    host = Host(env, profile, strategy, groups, columns, slower, bos, inputs, outputs)
    env.run(env.process(host.work()))
    return ModelResult(int(env.now), executions)
