"""The executor: one single-threaded loop over the knobs of a strategy.

pyxrt holds the GIL in start, sync and wait, so more threads would overlap nothing.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from harness.config.strategy import Buffers, Strategy
from harness.device.backend import Session, Submission
from harness.kernel import Bytes
from harness.measure.timeline import (
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
    PassMarks,
    blank_marks,
)
from harness.run.in_flight import InFlight, drain

Sink = Callable[[int, Bytes], None]
"""Given the first tile and the outputs (count, size_bytes) of each submission, in tile order; copies what it keeps."""
Poison = Callable[[int, int], Bytes]
"""Given the first tile and their number: what the output bos of those tiles hold before launch, (count, size_bytes)."""


class Inputs(Protocol):
    """Where a pass takes its tiles from."""

    def batches(self, count: int, varying: bool = False) -> Callable[[int], tuple[Any, ...]]:
        """A function of the first tile: `count` tiles' inputs from it on, as a slot's group stages them.

        Whole flat buffers; varying: only what differs between tiles.
        """


class Executor:
    """Runs passes over tiles with one strategy; its slots and runs are prepared once, for any number of passes.

    Submission s carries tiles s * batch and following, on column s % columns, in slot s % slots: slots are a multiple
    of the columns, and submissions are staged, launched and collected in order, so three counters say it all.
    """

    def __init__(
        self,
        session: Session,
        strategy: Strategy,
        tiles: int,
        constants: Sequence[Bytes] | None = None,
    ) -> None:
        """constants: per input buffer, as `Slot` takes them; needed where the strategy keeps them resident."""
        self._session = session
        self._strategy = strategy
        self._tiles = tiles
        self._batch = batch = strategy.batch
        self._full, self._tail = divmod(tiles, batch)
        self._submissions = self._full + bool(self._tail)
        counts = [batch] * bool(self._full) + [self._tail] * bool(self._tail)
        needed = min(strategy.slots, self._submissions)
        kept = constants if strategy.resident else None
        self._slots = [
            session.slot(i % strategy.columns, batch, counts, kept) for i in range(needed)
        ]
        self._ready: dict[int, Submission] = {}  # by slot: the group it was staged for
        self._pooled = strategy.buffers is Buffers.pooled
        if self._pooled:
            for slot in self._slots:
                slot.allocate()

    def poison(self, poison: Poison) -> None:
        """Fill the output bo of every pooled slot as before the first tiles it will carry."""
        for submission, slot in enumerate(self._slots if self._pooled else []):
            group = slot.submissions[self._batch if submission < self._full else self._tail]
            group.poison(poison(submission * self._batch, len(group.outputs)))

    def run(self, inputs: Inputs, sink: Sink, poison: Poison | None = None) -> PassMarks:
        """One pass over all tiles: launch what is staged, stage what fits, collect the oldest.

        A device that may have gone to sleep is woken before. DeviceError from the session, RuntimeError from pyxrt;
        whatever ends the pass, no run in flight is dropped. Ctrl-C is heard between two steps and in waits, so that no
        run is started and not counted; a second one, while runs in flight are waited for, leaves them in flight.
        """
        strategy, world, submissions, batch = (
            self._strategy,
            self._session.backend,
            self._submissions,
            self._batch,
        )
        in_flight, slots, pooled = strategy.in_flight, len(self._slots), self._pooled
        clock, own, ready, full, tail = (
            world.clock,
            self._slots,
            self._ready,
            self._full,
            self._tail,
        )
        whole, rest = (inputs.batches(count, strategy.resident) for count in (batch, tail))
        marks = blank_marks(submissions)
        origin_ns = staged = launched = collected = 0
        interrupt, collecting, launching = world.interrupt, gc.isenabled(), False
        gc.disable()  # a collection would land in some tile's time
        with interrupt.held():
            try:
                self._session.wake()
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
                            ready[staged % slots] = own[staged % slots].submissions[
                                batch if staged < full else tail
                            ]
                        group = ready[staged % slots]
                        if poison:
                            group.poison(poison(first, len(group.outputs)))
                        marks[at + WRITE] = clock.now_ns
                        group.stage(data)
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
                drain(
                    [self._flying(number) for number in range(collected, launched)],
                    launching and self._flying(launched),
                )
                if (heard or interrupt.heard) and not isinstance(error, KeyboardInterrupt):
                    raise KeyboardInterrupt from error
                raise
            finally:
                if collecting:
                    gc.enable()
        self._session.used_ns = clock.now_ns
        trace = world.take_trace()
        times = np.frombuffer(marks, np.int64).reshape(-1, MARKS)
        return PassMarks(
            times,
            trace,
            self._tiles,
            batch,
            (strategy.columns,),
            slots,
            origin_ns,
            world.capabilities.clock,
        )

    @property
    def allocations(self) -> int:
        """Bos made so far for tiles."""
        return self._session.allocations

    def wake(self) -> None:
        """Wake the device, if it may have gone to sleep."""
        self._session.wake()

    def _flying(self, submission: int) -> InFlight:
        slot = submission % len(self._slots)
        return InFlight(self._slots[slot], self._ready[slot], submission % self._strategy.columns)

    def close(self) -> None:
        """Let go of the slots and the session's contexts, but for what must be kept."""
        if self.release():
            self._session.close()

    def release(self) -> bool:
        """Let go of the slots, but for what must be kept; returns whether it was all of them."""
        self._ready = {}
        return not any([slot.close() for slot in self._slots])  # noqa: C419 - all of them, not up to the first
