"""The executor: one single-threaded loop over the knobs of a strategy.

pyxrt holds the GIL in start, sync and wait, so more threads would overlap nothing.
"""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable
from typing import Protocol

import numpy as np

from harness.errors import DeviceError, DeviceTimeoutError
from harness.kernel import Bytes
from harness.session import Session
from harness.slot import Group, Slot
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
    Recording,
    blank_marks,
)

DRAIN_PATIENCE = 10
"""Timeouts that a run in flight is given when its pass has failed: dropping it would be worse than waiting."""
Sink = Callable[[int, Bytes], None]
"""Given the first tile and the outputs (count, size_bytes) of each submission, in tile order; copies what it keeps."""
Poison = Callable[[int, int], Bytes]
"""Given the first tile and their number: what the output bos of those tiles hold before launch, (count, size_bytes)."""

log = logging.getLogger(__name__)


class Inputs(Protocol):
    """Where a pass takes its tiles from."""

    def windows(self, count: int) -> Callable[[int], tuple[memoryview, ...]]:
        """A function of the first tile: `count` tiles' inputs from it on, count * stride_bytes bytes per buffer."""


class Executor:
    """Runs passes over tiles with one strategy; its slots and runs are prepared once, for any number of passes.

    Submission s carries tiles s * batch and following, on column s % columns, in slot s % slots: slots are a multiple
    of the columns, and submissions are staged, launched and collected in order, so three counters say it all.
    """

    def __init__(self, session: Session, strategy: Strategy, tiles: int) -> None:
        self._session = session
        self._strategy = strategy
        self._tiles = tiles
        self._batch = batch = strategy.batch
        self._full, self._tail = divmod(tiles, batch)
        self._submissions = self._full + bool(self._tail)
        counts = [batch] * bool(self._full) + [self._tail] * bool(self._tail)
        needed = min(strategy.slots, self._submissions)
        self._slots = [Slot(session, i % strategy.columns, batch, counts) for i in range(needed)]
        self._ready: dict[int, Group] = {}  # by slot: the group it was staged for
        self._pooled = strategy.buffers is Buffers.pooled
        if self._pooled:
            for slot in self._slots:
                slot.allocate()

    def poison(self, poison: Poison) -> None:
        """Fill the output bo of every pooled slot as before the first tiles it will carry."""
        for submission, slot in enumerate(self._slots if self._pooled else []):
            group = slot.groups[self._batch if submission < self._full else self._tail]
            group.poison(poison(submission * self._batch, len(group.outputs)))

    def run(self, inputs: Inputs, sink: Sink, poison: Poison | None = None) -> Recording:
        """One pass over all tiles: launch what is staged, stage what fits, collect the oldest.

        A device that may have gone to sleep is woken before. DeviceError from the session, RuntimeError from pyxrt;
        whatever ends the pass, no run in flight is dropped. Ctrl-C is heard between two steps and in waits, so that no
        run is started and not counted; a second one, while runs in flight are waited for, leaves them in flight.
        """
        strategy, world, submissions, batch = self._strategy, self._session.world, self._submissions, self._batch
        in_flight, slots, pooled = strategy.in_flight, len(self._slots), self._pooled
        clock, own, ready, full, tail = world.clock, self._slots, self._ready, self._full, self._tail
        whole, rest = inputs.windows(batch), inputs.windows(tail)
        marks = blank_marks(submissions)
        origin_ns = staged = launched = collected = 0
        interrupt, collecting, launching = world.interrupt, gc.isenabled(), False
        gc.disable()  # a collection would land in some tile's time
        with interrupt.held():
            try:
                self._session.wake()
                if world.take_trace:
                    world.take_trace()
                origin_ns = clock.now_ns
                while collected < submissions:
                    if interrupt.heard:
                        raise KeyboardInterrupt
                    if launched < staged and launched - collected < in_flight:
                        at = launched * MARKS
                        marks[at + LAUNCH] = clock.now_ns
                        launching = True
                        ready[launched % slots].launch()
                        launching = False
                        launched += 1
                        marks[at + LAUNCHED] = clock.now_ns
                    elif staged < submissions and staged - collected < slots:
                        at, first = staged * MARKS, staged * batch
                        data = whole(first) if staged < full else rest(first)
                        if not pooled:
                            marks[at + ALLOC] = clock.now_ns
                            own[staged % slots].allocate()
                            marks[at + ALLOCATED] = clock.now_ns
                        if not pooled or staged < slots or staged == full:
                            ready[staged % slots] = own[staged % slots].groups[batch if staged < full else tail]
                        group = ready[staged % slots]
                        if poison:
                            group.poison(poison(first, len(group.outputs)))
                        marks[at + WRITE] = clock.now_ns
                        for (target, sync), content in zip(group.stage, data, strict=True):
                            target[:] = content
                            sync()
                        marks[at + WRITTEN] = clock.now_ns
                        staged += 1
                    else:
                        at, group = collected * MARKS, ready[collected % slots]
                        marks[at + WAIT] = clock.now_ns
                        group.wait(1)
                        marks[at + WAITED] = clock.now_ns
                        group.collect()
                        sink(collected * batch, group.outputs)
                        marks[at + READ] = clock.now_ns
                        collected += 1
            except BaseException as error:
                heard, interrupt.heard = interrupt.heard, False
                self._drain(range(collected, launched), launched if launching else None)
                if (heard or interrupt.heard) and not isinstance(error, KeyboardInterrupt):
                    raise KeyboardInterrupt from error
                raise
            finally:
                if collecting:
                    gc.enable()
        self._session.used_ns = clock.now_ns
        trace = world.take_trace() if world.take_trace else None
        times = np.frombuffer(marks, np.int64).reshape(-1, MARKS)
        return Recording(times, trace, self._tiles, batch, strategy.columns, origin_ns, world.clock_name)

    def close(self) -> None:
        """Let go of the slots and the session's contexts, but for what must be kept."""
        self._ready = {}
        kept = [slot.close() for slot in self._slots]
        if not any(kept):
            self._session.close()

    def _drain(self, in_flight: range, refused: int | None) -> None:
        """Wait for the submissions in flight; what is not seen to end is kept for ever.

        refused: a submission whose launch raised. XRT counts it as in flight, but it may never have begun.
        """
        stuck: set[int] = set()
        for submission in in_flight:
            slot, column = submission % len(self._slots), submission % self._strategy.columns
            try:
                self._await(self._ready[slot], 0 if column in stuck else DRAIN_PATIENCE, len(in_flight))
            except DeviceError as error:
                log.debug("a run in flight failed too", exc_info=True)
                if isinstance(error, DeviceTimeoutError):  # what follows it on its column is behind it
                    self._slots[slot].keep()
                    stuck.add(column)
            except BaseException as error:
                log.debug("a run was not seen to end", exc_info=True)
                self._slots[slot].keep()
                if not isinstance(error, RuntimeError):  # somebody has no patience any more
                    stuck.update(range(self._strategy.columns))
        if refused is not None:
            slot = refused % len(self._slots)
            try:
                self._ready[slot].wait(0)
            except DeviceTimeoutError:
                self._slots[slot].keep()
            except DeviceError:
                log.debug("a submission failed at its launch", exc_info=True)
            except BaseException:
                log.debug("a submission was not seen to end", exc_info=True)
                self._slots[slot].keep()

    @staticmethod
    def _await(group: Group, patience: int, runs: int) -> None:
        try:
            group.wait(min(patience, 1))
        except DeviceTimeoutError:
            if patience <= 1:
                raise
            log.warning("%d submissions are in flight and waited for; Ctrl-C leaves them to the driver", runs)
            group.wait(patience - 1)
