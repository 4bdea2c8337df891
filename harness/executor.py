"""The executor: one single-threaded loop over the knobs of a strategy.

pyxrt holds the GIL in start, sync and wait, so more threads would overlap nothing.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from harness.errors import DeviceError
from harness.kernel import Bytes
from harness.session import Session
from harness.slot import Slot
from harness.strategy import Buffers, Strategy
from harness.timeline import (
    ALLOC,
    ALLOCATED,
    LAUNCH,
    LAUNCHED,
    MARKS,
    READ,
    WAIT,
    WAITED,
    WRITE,
    WRITTEN,
    Marks,
    Timeline,
    blank_marks,
    marked_timeline,
)

DRAIN_PATIENCE = 10
"""Timeouts that a run in flight is given when its pass has failed: dropping it would be worse than waiting."""
Sink = Callable[[int, Bytes], None]
"""Given the first tile and the outputs (count, size_bytes) of each submission, in tile order; copies what it keeps."""
Poison = Callable[[int, int], Bytes]
"""Given the first tile and their number: what the output bos of those tiles hold before launch, (count, size_bytes)."""


class Inputs(Protocol):
    """Where a pass takes its tiles from."""

    def window(self, first: int, count: int) -> tuple[Bytes, ...]:
        """Tiles `first` to `first + count - 1`: one (count, size_bytes) uint8 per input buffer."""


class Executor:
    """Runs passes over tiles with one strategy; its slots and runs are prepared once, for any number of passes.

    Submission s carries tiles s * batch and following, on column s % columns, in slot s % slots: slots are a multiple
    of the columns, and submissions are staged, launched and collected in order, so three counters say it all.
    """

    def __init__(self, session: Session, strategy: Strategy, tiles: int) -> None:
        self._session = session
        self._strategy = strategy
        self._tiles = tiles
        self._now_ns = session.world.now_ns
        self._batch = batch = strategy.batch
        self._full, self._tail = divmod(tiles, batch)
        self._submissions = self._full + bool(self._tail)
        counts = [batch] * bool(self._full) + [self._tail] * bool(self._tail)
        needed = min(strategy.slots, self._submissions)
        self._slots = [Slot(session, i % strategy.columns, batch, counts) for i in range(needed)]
        self._pooled = strategy.buffers is Buffers.pooled
        if self._pooled:
            for slot in self._slots:
                slot.allocate()

    def run(self, inputs: Inputs, sink: Sink, poison: Poison | None = None) -> Timeline:
        """One pass over all tiles: launch what is staged, stage what fits, collect the oldest.

        DeviceError from the session; whatever ends the pass, no run is left in flight.
        """
        strategy, world, submissions = self._strategy, self._session.world, self._submissions
        in_flight, slots = strategy.in_flight, strategy.slots
        marks = blank_marks(submissions)
        if world.take_trace:
            world.take_trace()
        origin_ns = self._now_ns()
        staged = launched = collected = 0
        collecting = gc.isenabled()
        gc.disable()  # a collection would land in some tile's time
        try:
            while collected < submissions:
                if launched < staged and launched - collected < in_flight:
                    self._launch(launched, marks)
                    launched += 1
                elif staged < submissions and staged - collected < slots:
                    self._stage(staged, marks, inputs, poison)
                    staged += 1
                else:
                    self._collect(collected, marks, sink)
                    collected += 1
        except BaseException:
            self._drain(range(collected, launched))
            raise
        finally:
            if collecting:
                gc.enable()
        trace = world.take_trace() if world.take_trace else None
        return marked_timeline(marks, self._tiles, self._batch, strategy.columns, origin_ns, world.clock, trace)

    def _stage(self, submission: int, marks: Marks, inputs: Inputs, poison: Poison | None) -> None:
        slots, batch, now_ns = self._slots, self._batch, self._now_ns
        slot, first = slots[submission % len(slots)], submission * batch
        data = inputs.window(first, batch if submission < self._full else self._tail)
        at = submission * MARKS
        if not self._pooled:
            marks[at + ALLOC] = now_ns()
            slot.allocate()
            marks[at + ALLOCATED] = now_ns()
        if poison:
            slot.poison(poison(first, len(data[0])))
        marks[at + WRITE] = now_ns()
        slot.write(data)
        marks[at + WRITTEN] = now_ns()

    def _launch(self, submission: int, marks: Marks) -> None:
        slots, now_ns = self._slots, self._now_ns
        at = submission * MARKS
        marks[at + LAUNCH] = now_ns()
        slots[submission % len(slots)].launch(self._batch if submission < self._full else self._tail)
        marks[at + LAUNCHED] = now_ns()

    def _collect(self, submission: int, marks: Marks, sink: Sink) -> None:
        slots, now_ns = self._slots, self._now_ns
        slot, count = slots[submission % len(slots)], self._batch if submission < self._full else self._tail
        at = submission * MARKS
        marks[at + WAIT] = now_ns()
        slot.wait(count)
        marks[at + WAITED] = now_ns()
        sink(submission * self._batch, slot.read(count))
        marks[at + READ] = now_ns()

    def _drain(self, submissions: range) -> None:
        """Wait for what is still in flight: a run dropped before its completion was seen aborts the process."""
        for submission in submissions:
            with suppress(DeviceError):
                count = self._batch if submission < self._full else self._tail
                self._slots[submission % len(self._slots)].wait(count, DRAIN_PATIENCE)
