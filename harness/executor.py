"""The executor: one single-threaded loop over the knobs of a strategy.

pyxrt holds the GIL in start, sync and wait, so more threads would overlap nothing.
"""

from __future__ import annotations

import gc
import logging
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Protocol

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


_never_dropped: list[Slot] = []
"""Slots whose runs may still be in flight: XRT aborts the process when such a run is dropped."""
log = logging.getLogger(__name__)


class Interrupted:
    """Holds Ctrl-C back until it is asked for, where signals can be handled at all: in the main thread."""

    def __init__(self) -> None:
        self._heard = False
        self._main = threading.current_thread() is threading.main_thread()
        if self._main:
            self._before = signal.signal(signal.SIGINT, self._hear)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        self._heard = True

    def check(self) -> None:
        """KeyboardInterrupt if Ctrl-C was pressed."""
        if self._heard:
            raise KeyboardInterrupt

    def close(self) -> None:
        """Let Ctrl-C through again."""
        if self._main:
            signal.signal(signal.SIGINT, self._before)


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

    def poison(self, poison: Poison) -> None:
        """Fill the output bo of every pooled slot as before the first tiles it will carry."""
        for submission, slot in enumerate(self._slots if self._pooled else []):
            count = self._batch if submission < self._full else self._tail
            slot.poison(poison(submission * self._batch, count))

    def run(self, inputs: Inputs, sink: Sink, poison: Poison | None = None) -> Timeline:
        """One pass over all tiles: launch what is staged, stage what fits, collect the oldest.

        DeviceError from the session, RuntimeError from pyxrt; whatever ends the pass, no run is left in flight.
        Ctrl-C is heard between two steps, so that no run is started and not counted.
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
        interrupted = Interrupted()
        try:
            while collected < submissions:
                interrupted.check()
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
            interrupted.close()
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
            slot = self._slots[submission % len(self._slots)]
            try:
                slot.wait(self._batch if submission < self._full else self._tail, DRAIN_PATIENCE)
            except Exception:
                log.debug("a run was not seen to complete", exc_info=True)
                _never_dropped.append(slot)
