"""The executor: one single-threaded loop that runs tiles through a chain with any strategy.

pyxrt holds the GIL in start, sync and wait, so more threads would not overlap anything.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from harness.config.strategy import Buffers, Strategy
from harness.device.backend import Session, Submission
from harness.execution.garbage import no_garbage_collection
from harness.execution.in_flight import InFlight, finish_in_flight
from harness.inputs.chain import Chain, Link
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

Sink = Callable[[int, Bytes], None]
"""sink(first, outputs): receives the outputs (count, size_bytes) of tiles `first` and following.

It must copy what it needs later. The calls are in tile order for a single kernel; for a longer
chain, in the order in which the submissions of the last kernel end.
"""
Poison = Callable[[int, int, int], Bytes]
"""poison(kernel_index, first, count): content (count, size_bytes) of output bos before launch."""
Inspect = Callable[[int, int, Bytes], None]
"""inspect(kernel_index, first, outputs): receives each kernel's outputs before they are used."""
NO_STEP = -1


class Inputs(Protocol):
    """The source of a pass's tiles."""

    def batches(self, count: int, varying: bool = False) -> Callable[[int], tuple[Any, ...]]:
        """A function that returns the inputs of `count` tiles from a first tile on.

        They are whole flat buffers, or, with `varying`, the varying parts only, as
        `Submission.stage` takes them.
        """


class Executor:
    """Runs passes over tiles with one strategy.

        executor = Executor([session], Strategy(depth=2), tiles=48)
        timeline = executor.run(tiles, sink).timeline()
        executor.close()

    Slots and runs are prepared once, for any number of passes. Submission s carries tiles s * batch
    and following through all kernels, in slot s % slots. A slot has a set of bos for each kernel,
    on column slot % columns of the kernel's session. Step s * kernels + k is submission s at
    kernel k. `depth` limits the submissions in flight, no matter at which kernel they are.
    """

    def __init__(
        self,
        sessions: Sequence[Session],
        strategy: Strategy,
        tiles: int,
        constants: Sequence[Sequence[Bytes]] = (),
        links: Sequence[Link] = (),
    ) -> None:
        """sessions: one per kernel, each on no more columns than the strategy has.

        links: from each kernel to the next. constants: for each kernel, one array per input buffer
        as `Session.slot` takes them; required for chains, and for a strategy with resident
        constants.
        """
        self._sessions = sessions
        self._chain = Chain(tuple(session.spec for session in sessions), tuple(links))
        self._strategy = strategy
        self._tiles = tiles
        self._batch = batch = strategy.batch
        self._full, self._tail = divmod(tiles, batch)
        self._submissions = self._full + bool(self._tail)
        self._constants = constants
        self._pooled = strategy.buffers is Buffers.pooled
        counts = [batch] * bool(self._full) + [self._tail] * bool(self._tail)
        resident = constants if strategy.resident else [None] * len(sessions)
        self._slots = [
            [
                session.slot(number % session.columns, batch, counts, parts)
                for session, parts in zip(sessions, resident, strict=True)
            ]
            for number in range(min(strategy.slots, self._submissions))
        ]
        self._ring = len(self._slots) * len(sessions)
        # The submission that carries a step, by step modulo the ring.
        self._ready: dict[int, Submission] = {}
        if self._pooled:
            for slot in self._slots:
                for each in slot:
                    each.allocate()

    @property
    def allocations(self) -> int:
        """Number of bos allocated so far for tiles."""
        return sum(session.allocations for session in self._sessions)

    def wake(self) -> None:
        """Warm the sessions up if the device may have been suspended."""
        for session in self._sessions:
            session.wake()

    def close(self) -> None:
        """Free the slots and the sessions, except those that a run in flight may use."""
        if self.release():
            for session in self._sessions:
                session.close()

    def release(self) -> bool:
        """Free the slots, except those a run in flight may use; returns whether all are free."""
        self._ready = {}
        # A list, because any() of a generator would stop at the first slot that is kept.
        is_kept = [each.close() for slot in self._slots for each in slot]
        return not any(is_kept)

    def poison(self, poison: Poison) -> None:
        """Fill the output bos of every pooled slot with the poison of its first tiles."""
        for number in range(len(self._slots) if self._pooled else 0):
            for kernel_index, each in enumerate(self._submission(number)):
                each.poison(poison(kernel_index, number * self._batch, len(each.outputs)))

    def run(
        self,
        inputs: Inputs,
        sink: Sink,
        poison: Poison | None = None,
        inspect: Inspect | None = None,
    ) -> PassMarks:
        """Run one pass over all tiles and return its time stamps.

        Each turn of the loop launches a staged step if the depth allows it, else stages the next
        submission if a slot is free, else waits for a step and collects it.

        poison: content of the output bos before every launch. inspect: called with the outputs of
        every kernel. A device that may have been suspended is warmed up before the pass.

        DeviceError if the device fails. Ctrl-C is noticed between two turns and in waits, so every
        run that was started is counted. After an error or Ctrl-C, the pass waits for the runs in
        flight; a second Ctrl-C stops that wait and leaves them in flight, with their buffers.
        """
        backend, strategy, batch = self._sessions[0].backend, self._strategy, self._batch
        kernels, slots, submissions = len(self._sessions), len(self._slots), self._submissions
        full, depth, pooled = self._full, strategy.in_flight, self._pooled
        clock, interrupt, last = backend.clock, backend.interrupt, kernels - 1
        # A single kernel's steps end in order, so two counters replace the queue of steps in
        # flight. That keeps the loop's own time, which is part of the pass, short.
        in_order = kernels == 1
        full_batch, last_batch = (
            inputs.batches(count, strategy.resident) for count in (batch, self._tail)
        )
        marks = blank_marks(submissions * kernels)
        ready, ring = self._ready, self._ring
        # Steps in flight, in the order of launches; and steps staged from the outputs before them.
        in_flight: deque[int] = deque()
        onward: deque[int] = deque()
        finished = bytearray(submissions)
        # Submissions staged and launched at the first kernel, and collected from the last one.
        origin_ns = staged = launched = collected = 0
        launching = NO_STEP
        with interrupt.held(), no_garbage_collection():
            try:
                self.wake()
                backend.take_trace()
                origin_ns = clock.now_ns
                while collected < submissions:
                    if interrupt.pending:
                        raise KeyboardInterrupt
                    if onward or (launched < staged and launched - collected < depth):
                        if onward:
                            step = onward.popleft()
                        else:
                            step = launched * kernels
                            launched += 1
                        # Before the call: XRT treats a run whose launch raised as in flight.
                        launching, at = step, step * MARKS
                        marks[at + LAUNCH] = clock.now_ns
                        ready[step % ring].launch()
                        launching = NO_STEP
                        if not in_order:
                            in_flight.append(step)
                        marks[at + LAUNCHED] = clock.now_ns
                        continue
                    if (staged < submissions and staged - collected < slots) and (
                        in_order or staged < slots or finished[staged - slots]
                    ):
                        step, first = staged * kernels, staged * batch
                        at = step * MARKS
                        data = full_batch(first) if staged < full else last_batch(first)
                        if not pooled:
                            marks[at + ALLOC] = clock.now_ns
                            for slot in self._slots[staged % slots]:
                                slot.allocate()
                            marks[at + ALLOCATED] = clock.now_ns
                        if not pooled or staged < slots or staged == full:
                            for kernel_index, submission in enumerate(self._submission(staged)):
                                ready[step % ring + kernel_index] = submission
                        staged += 1
                    else:
                        wait_ns = clock.now_ns
                        step, timeouts = collected, 1
                        if not in_order:
                            step, timeouts = self._next_ended(in_flight)
                        at, submission = step * MARKS, ready[step % ring]
                        marks[at + WAIT] = wait_ns
                        submission.wait(timeouts)
                        marks[at + WAITED] = clock.now_ns
                        submission.collect()
                        if in_order:
                            number, kernel_index = step, 0
                        else:
                            in_flight.remove(step)
                            number, kernel_index = divmod(step, kernels)
                        first = number * batch
                        if inspect:
                            inspect(kernel_index, first, submission.outputs)
                        if kernel_index == last:
                            sink(first, submission.outputs)
                            marks[at + READ] = clock.now_ns
                            finished[number] = True
                            collected += 1
                            continue
                        data = self._glue_input(kernel_index + 1, submission.outputs)
                        marks[at + READ] = clock.now_ns
                        step, at = step + 1, at + MARKS
                        onward.append(step)
                    submission = ready[step % ring]
                    if poison:
                        count = len(submission.outputs)
                        submission.poison(poison(step % kernels, first, count))
                    marks[at + WRITE] = clock.now_ns
                    submission.stage(data)
                    marks[at + WRITTEN] = clock.now_ns
            except BaseException as error:
                # Reset `pending`, so that the wait below notices a second Ctrl-C.
                interrupted, interrupt.pending = interrupt.pending, False
                failed = [launching] if launching != NO_STEP else []
                steps = range(collected, launched - len(failed)) if in_order else in_flight
                finish_in_flight(map(self._in_flight, steps), map(self._in_flight, failed))
                interrupted |= interrupt.pending
                if interrupted and not isinstance(error, KeyboardInterrupt):
                    raise KeyboardInterrupt from error
                raise
        for session in self._sessions:
            session.used_ns = clock.now_ns
        return PassMarks(
            np.frombuffer(marks, np.int64).reshape(-1, MARKS),
            backend.take_trace(),
            self._tiles,
            batch,
            tuple(session.columns for session in self._sessions),
            slots,
            origin_ns,
            backend.capabilities.clock,
            tuple(session.spec.name for session in self._sessions),
        )

    def _submission(self, number: int) -> list[Submission]:
        """The slot's objects that carry a submission, one per kernel."""
        count = self._batch if number < self._full else self._tail
        return [slot.submissions[count] for slot in self._slots[number % len(self._slots)]]

    def _next_ended(self, in_flight: Sequence[int]) -> tuple[int, int]:
        """The step to collect next, and the timeouts to wait for it."""
        session = self._sessions[0]
        submissions = [self._ready[step % self._ring] for step in in_flight]
        index = session.backend.next_ended(submissions, session.timeout_ns)
        # The timeout has passed in `next_ended`, so only check the first step once more.
        return (in_flight[0], 0) if index is None else (in_flight[index], 1)

    def _glue_input(self, kernel_index: int, outputs: Bytes) -> tuple[object, ...]:
        """A kernel's inputs from the outputs before it, in the form that its slots stage."""
        if self._strategy.resident:
            return (self._chain.glue(kernel_index, outputs),)
        whole = self._chain.glue_whole(kernel_index, outputs, self._constants[kernel_index])
        return tuple(each.reshape(-1).data for each in whole)

    def _in_flight(self, step: int) -> InFlight:
        number, kernel_index = divmod(step, len(self._sessions))
        slot = number % len(self._slots)
        queue = kernel_index, slot % self._sessions[kernel_index].columns
        return InFlight(self._slots[slot][kernel_index], self._ready[step % self._ring], queue)
