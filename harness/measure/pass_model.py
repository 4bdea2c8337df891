"""The costs and the order of a pass's calls, and the predicted times, of one profile or of many."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np

from harness.units import PERMILLE

Ns: TypeAlias = Any
"""Nanoseconds: an int, or (profiles,) int64."""


@dataclass(frozen=True)
class Station:
    """One kernel of a chain.

    partitions: for each of its columns, the number of the device's columns that its context has;
    contexts with the same number take turns. exec_ns: one execution. write_ns, read_ns: staging and
    collecting a submission, by its number of tiles. slowdowns: how much longer an execution, and a
    sync beside it, take at once, in thousandths. syncs_ns, reads_ns: the syncs that make up
    write_ns and read_ns, which are then slowed one by one.
    """

    partitions: tuple[int, ...]
    exec_ns: Ns
    write_ns: Mapping[int, Ns]
    read_ns: Mapping[int, Ns]
    slowdowns: tuple[Ns, Ns] = (0, 0)
    syncs_ns: Mapping[int, tuple[Ns, ...]] = field(default_factory=dict)
    reads_ns: Mapping[int, tuple[Ns, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class PassModel:
    """The costs and the order of a pass's calls.

        station = Station((0,), exec_ns=np.array([900, 1000]), write_ns={1: 10}, read_ns={1: 5})
        model = PassModel((station,), tiles=10, in_flight=2, slots=2, launch_ns=20)
        pass_times(model).makespan_ns  # of both profiles

    in_flight: most submissions launched and not collected. slots: most staged and not collected.
    alloc_ns: allocation for a submission. command_ns: each execution of a command after the first.
    cold_ns: before the first execution on a context. switch_ns: before an execution on columns
    that another context has used since. resume_ns: before an execution after the device was idle
    for longer than suspend_ns. queue_depth: commands that a context holds. chain_length: most
    executions of a command.
    """

    stations: tuple[Station, ...]
    tiles: int
    batch: int = 1
    in_flight: int = 1
    slots: int = 1
    alloc_ns: Ns = 0
    launch_ns: Ns = 0
    completion_ns: Ns = 0
    command_ns: Ns = 0
    cold_ns: Ns = 0
    switch_ns: Ns = 0
    resume_ns: Ns = 0
    suspend_ns: Ns = 0
    queue_depth: int = 4
    chain_length: int = 24

    @cached_property
    def profiles(self) -> int:
        """Number of profiles; 0 if all costs are integers."""
        return max((len(each) for each in _arrays(self)), default=0)

    @property
    def is_ordered(self) -> bool:
        """Whether the order of the calls does not depend on the costs.

        It does if several tiles of a chain are in flight as single runs: the executor then collects
        the one that ends first.
        """
        return len(self.stations) == 1 or self.batch > 1 or self.in_flight == 1

    @property
    def takes_turns(self) -> bool:
        """Whether contexts share columns, and loading one of them again takes time."""
        used = [number for each in self.stations for number in each.partitions]
        return len(used) > len(set(used)) and bool(np.any(self.switch_ns > 0))

    @property
    def shares_memory(self) -> bool:
        """Whether executions and syncs slow each other down."""
        return any(bool(np.any(slower)) for each in self.stations for slower in each.slowdowns)

    def longest_syncs_ns(self, syncs_ns: Ns) -> Ns:
        """Syncs with the longest time that they can take beside executions."""
        slower: Ns = 0
        for each in self.stations:
            slower = np.maximum(slower, each.slowdowns[1])
        return syncs_ns + syncs_ns * slower // PERMILLE

    def of(self, which: slice | int) -> PassModel:
        """The model of some profiles, or of a single one."""
        model: PassModel = taken(self, which)
        return model

    def may_suspend(self, idle_ns: Ns) -> bool:
        """Whether any launch may find the device suspended; idle_ns: idle time before the pass.

        While the device is idle, the host sees every completion, stages at most every slot and
        collects at most every submission in flight before it launches again.
        """
        staged: Ns = sum(_largest(each.write_ns) for each in self.stations)
        read: Ns = sum(_largest(each.read_ns) for each in self.stations)
        syncs: Ns = self.longest_syncs_ns(self.slots * staged + self.in_flight * read)
        host: Ns = self.slots * self.alloc_ns + syncs
        longest_ns = idle_ns + host + self.completion_ns + self.launch_ns
        return bool(np.any((longest_ns > self.suspend_ns) & (self.resume_ns > 0)))


@dataclass(frozen=True)
class PassTimes:
    """The predicted times of a pass, sums over all submissions.

    launch_ns: with the time that launches wait for a place in a queue. longest_wait_ns: of a single
    submission. idle_ns: how long the device has been idle at the end of the pass. loaded: for each
    partition, the context that has used it last, or -1; (partitions,) or (partitions, profiles).
    intervals_ns: times between the ends of successive waits for the last kernel, (submissions - 1,)
    or (submissions - 1, profiles); None unless asked for.
    """

    makespan_ns: Ns
    alloc_ns: Ns
    write_ns: Ns
    launch_ns: Ns
    wait_ns: Ns
    read_ns: Ns
    longest_wait_ns: Ns
    idle_ns: Ns
    loaded: Ns
    intervals_ns: Ns | None = None


def _arrays(value: Any) -> list[Any]:
    """All arrays in a model."""
    if isinstance(value, np.ndarray):
        return [value]
    if isinstance(value, Mapping):
        return [array for each in value.values() for array in _arrays(each)]
    if isinstance(value, tuple):
        return [array for each in value for array in _arrays(each)]
    if is_dataclass(value):
        return [array for item in fields(value) for array in _arrays(getattr(value, item.name))]
    return []


def taken(value: Any, which: slice | int) -> Any:
    """A model with only some elements of its arrays."""
    if isinstance(value, np.ndarray):
        return value[which] if isinstance(which, slice) else int(value[which])
    if isinstance(value, Mapping):
        return {key: taken(each, which) for key, each in value.items()}
    if isinstance(value, tuple):
        return tuple(taken(each, which) for each in value)
    if is_dataclass(value) and not isinstance(value, type):
        changes = {item.name: taken(getattr(value, item.name), which) for item in fields(value)}
        return replace(value, **changes)
    return value


def _largest(costs: Mapping[int, Ns]) -> Ns:
    largest: Ns = 0
    for each in costs.values():
        largest = np.maximum(largest, each)
    return largest
