"""The executor: one single-threaded loop over the knobs of a strategy.

pyxrt holds the GIL in start, sync and wait, so more threads would overlap nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from harness.errors import DeviceError
from harness.kernel import Bytes
from harness.session import Session
from harness.slot import Slot
from harness.strategy import Buffers, Strategy
from harness.timeline import Recorder, Stage, Timeline


class Inputs(Protocol):
    """Where a pass takes its tiles from."""

    def window(self, first: int, count: int) -> tuple[Bytes, ...]:
        """Tiles `first` to `first + count - 1`: one (count, size_bytes) uint8 per input buffer."""


DRAIN_PATIENCE = 10
"""Timeouts that a run in flight is given when its pass has failed: dropping it would be worse than waiting."""
Group = tuple[Slot, int, int]
"""A submission: its slot, its first tile, its number of tiles."""
Sink = Callable[[int, Bytes], None]
"""Given the first tile and the outputs (count, size_bytes) of each group, in tile order; must copy what it keeps."""


class Executor:
    """Runs passes over tiles with one strategy; its slots and runs are prepared once, for any number of passes."""

    def __init__(self, session: Session, strategy: Strategy, tiles: int) -> None:
        self._session = session
        self._strategy = strategy
        self._tiles = tiles
        self._now_ns = session.world.now_ns
        batch = strategy.batch
        counts = {min(batch, tiles), tiles % batch} - {0}
        needed = min(strategy.slots, -(-tiles // batch))
        self._slots = [Slot(session, i % strategy.columns, batch, sorted(counts)) for i in range(needed)]
        self._pooled = strategy.buffers is Buffers.pooled
        if self._pooled:
            for slot in self._slots:
                slot.allocate()

    def run(self, inputs: Inputs, sink: Sink, poison: Callable[[int, int], Bytes] | None = None) -> Timeline:
        """One pass over all tiles: launch what is staged, stage what fits, collect the oldest.

        poison(first, count), if given, is what the output bos hold before those tiles are launched. DeviceError
        from the session; whatever ends the pass, no run is left in flight.
        """
        strategy, slots, tiles = self._strategy, self._slots, self._tiles
        staged: deque[Group] = deque()
        flying: deque[Group] = deque()
        recorder = Recorder()
        take_trace = self._session.world.take_trace
        if take_trace:
            take_trace()
        origin_ns = self._now_ns()
        submitted = first = 0
        try:
            while first < tiles or staged or flying:
                if staged and len(flying) < strategy.in_flight:
                    self._launch(*staged[0], recorder)
                    flying.append(staged.popleft())
                elif first < tiles and len(staged) + len(flying) < strategy.slots:
                    group = slots[submitted % len(slots)], first, min(strategy.batch, tiles - first)
                    self._stage(*group, inputs, poison, recorder)
                    staged.append(group)
                    submitted += 1
                    first += group[2]
                else:
                    self._collect(*flying[0], sink, recorder)
                    flying.popleft()
        except BaseException:
            self._drain(flying)
            raise
        if take_trace:
            recorder.add_device(take_trace(), strategy.batch, strategy.columns)
        return recorder.timeline(tiles, strategy.columns, self._session.world.clock, origin_ns)

    def _drain(self, flying: deque[Group]) -> None:
        """Wait for what is still in flight: a run dropped before its completion was seen aborts the process."""
        for slot, _, count in flying:
            with suppress(DeviceError):
                slot.wait(count, DRAIN_PATIENCE)

    def _stage(
        self,
        slot: Slot,
        first: int,
        count: int,
        inputs: Inputs,
        poison: Callable[[int, int], Bytes] | None,
        recorder: Recorder,
    ) -> None:
        now_ns = self._now_ns
        data = inputs.window(first, count)
        if not self._pooled:
            begin_ns = now_ns()
            slot.allocate()
            recorder.add(Stage.ALLOC, first, count, slot.column, begin_ns, now_ns())
        if poison:
            slot.poison(poison(first, count))
        begin_ns = now_ns()
        slot.write(data)
        recorder.add(Stage.WRITE, first, count, slot.column, begin_ns, now_ns())

    def _launch(self, slot: Slot, first: int, count: int, recorder: Recorder) -> None:
        now_ns = self._now_ns
        begin_ns = now_ns()
        slot.launch(count)
        recorder.add(Stage.LAUNCH, first, count, slot.column, begin_ns, now_ns())

    def _collect(self, slot: Slot, first: int, count: int, sink: Sink, recorder: Recorder) -> None:
        now_ns = self._now_ns
        begin_ns = now_ns()
        slot.wait(count)
        waited_ns = now_ns()
        recorder.add(Stage.WAIT, first, count, slot.column, begin_ns, waited_ns)
        outputs = slot.read(count)
        sink(first, outputs)
        recorder.add(Stage.READ, first, count, slot.column, waited_ns, now_ns())
