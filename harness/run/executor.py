"""The executor: one single-threaded loop over the knobs of a strategy, for a chain of one kernel or more.

pyxrt holds the GIL in start, sync and wait, so more threads would overlap nothing.
"""

from __future__ import annotations

import gc
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np

from harness.config.strategy import Buffers, Strategy
from harness.device.backend import Session, Submission
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
from harness.run.in_flight import InFlight, finish_in_flight

Sink = Callable[[int, Bytes], None]
"""Takes the first tile and the outputs (count, size_bytes) of each submission; copies what it keeps.

Of a single kernel in tile order; of a longer chain in the order in which the last kernel's submissions end.
"""
Poison = Callable[[int, int, int], Bytes]
"""Of kernel index, first tile and number of tiles: what the output bos hold before launch, (count, size_bytes)."""
Inspect = Callable[[int, int, Bytes], None]
"""Takes kernel index, first tile and that kernel's outputs (count, size_bytes), before the next kernel gets them."""
NO_STEP = -1


class Inputs(Protocol):
    """Where a pass takes its tiles from."""

    def batches(self, count: int, varying: bool = False) -> Callable[[int], tuple[Any, ...]]:
        """A function of the first tile: `count` tiles' inputs from it on, as a slot's submission stages them.

        Whole flat buffers; varying: only what differs between tiles.
        """


class Executor:
    """Runs passes over tiles with one strategy; its slots and runs are prepared once, for any number of passes.

    Submission s carries tiles s * batch and following through all kernels, in slot s % slots; that has a set of bos for
    each kernel, on column slot % columns of the kernel's session. Step s * kernels + k is submission s at kernel k.
    `depth` counts submissions in flight, whatever kernel they are at.
    """

    def __init__(
        self,
        sessions: Sequence[Session],
        strategy: Strategy,
        tiles: int,
        constants: Sequence[Sequence[Bytes]] = (),
        links: Sequence[Link] = (),
    ) -> None:
        """A session per kernel, on as many columns as the strategy or fewer; links: of each kernel to the next.

        constants: of each kernel, per input buffer, as `Session.slot` takes them; needed for chains, and where the
        strategy keeps them resident.
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
        self._ready: dict[int, Submission] = {}  # by step modulo the ring: what it is staged in
        if self._pooled:
            for slot in self._slots:
                for each in slot:
                    each.allocate()

    @property
    def allocations(self) -> int:
        """Bos allocated so far for tiles."""
        return sum(session.allocations for session in self._sessions)

    def wake(self) -> None:
        """Wake the device, if it may have gone to sleep."""
        for session in self._sessions:
            session.wake()

    def close(self) -> None:
        """Free the slots and the sessions, except what a run in flight may use."""
        if self.release():
            for session in self._sessions:
                session.close()

    def release(self) -> bool:
        """Free the slots, except what a run in flight may use; returns whether all are free."""
        self._ready = {}
        return not any([each.close() for slot in self._slots for each in slot])  # noqa: C419 - all of them

    def poison(self, poison: Poison) -> None:
        """Fill the output bos of every pooled slot as before the first tiles it will carry."""
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
        """One pass over all tiles: launch what is staged, stage what fits, collect what has ended.

        A device that may have gone to sleep is woken before. DeviceError from the backend; whatever ends the pass, no
        run in flight is dropped. Ctrl-C is noticed between two steps and in waits, so that no run is started and not
        counted; a second one, while runs in flight are waited for, leaves them in flight.
        """
        backend, strategy, batch = self._sessions[0].backend, self._strategy, self._batch
        kernels, slots, submissions = len(self._sessions), len(self._slots), self._submissions
        full, depth, pooled = self._full, strategy.in_flight, self._pooled
        clock, interrupt, last = backend.clock, backend.interrupt, kernels - 1
        in_order = kernels == 1  # then counters say which steps are in flight, at less cost
        whole, rest = (inputs.batches(count, strategy.resident) for count in (batch, self._tail))
        marks = blank_marks(submissions * kernels)
        ready, ring = self._ready, self._ring
        flying: deque[int] = deque()  # steps launched and not seen to end
        onward: deque[int] = deque()  # steps staged after another kernel
        finished = bytearray(submissions)
        origin_ns = staged = launched = collected = 0  # submissions at the first and last kernel
        launching = NO_STEP
        with interrupt.held(), _no_garbage_collection():
            try:
                self.wake()
                backend.take_trace()
                origin_ns = clock.now_ns
                while collected < submissions:
                    if interrupt.heard:
                        raise KeyboardInterrupt
                    if onward or (launched < staged and launched - collected < depth):
                        if onward:
                            step = onward.popleft()
                        else:
                            step = launched * kernels
                            launched += 1
                        launching, at = step, step * MARKS
                        marks[at + LAUNCH] = clock.now_ns
                        ready[step % ring].launch()
                        launching = NO_STEP
                        if not in_order:
                            flying.append(step)
                        marks[at + LAUNCHED] = clock.now_ns
                        continue
                    if (staged < submissions and staged - collected < slots) and (
                        in_order or staged < slots or finished[staged - slots]
                    ):
                        step, first = staged * kernels, staged * batch
                        at = step * MARKS
                        data = whole(first) if staged < full else rest(first)
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
                        step = collected if in_order else flying[self._next_ended(flying)]
                        at, submission = step * MARKS, ready[step % ring]
                        marks[at + WAIT] = wait_ns
                        submission.wait(1)
                        marks[at + WAITED] = clock.now_ns
                        submission.collect()
                        if in_order:
                            number, kernel_index = step, 0
                        else:
                            flying.remove(step)
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
                        data = (self._glued(kernel_index + 1, submission.outputs),)
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
                heard, interrupt.heard = interrupt.heard, False
                refused = [launching] if launching != NO_STEP else []
                steps = range(collected, launched - len(refused)) if in_order else flying
                finish_in_flight(map(self._in_flight, steps), map(self._in_flight, refused))
                if (heard or interrupt.heard) and not isinstance(error, KeyboardInterrupt):
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
        """What carries a submission, by kernel."""
        count = self._batch if number < self._full else self._tail
        return [slot.submissions[count] for slot in self._slots[number % len(self._slots)]]

    def _next_ended(self, flying: Sequence[int]) -> int:
        """Place of the step to collect next."""
        session = self._sessions[0]
        submissions = [self._ready[step % self._ring] for step in flying]
        return session.backend.next_ended(submissions, session.timeout_ns)

    def _glued(self, kernel_index: int, outputs: Bytes) -> object:
        """A kernel's input from the outputs before it, as its slots stage it: what varies, or whole flat buffers."""
        varying = self._chain.glue(kernel_index, outputs)
        if self._strategy.resident:
            return varying
        buffer, count = self._chain.kernels[kernel_index].inputs[0], len(outputs)
        whole = np.zeros((count, buffer.stride_bytes), np.uint8)
        whole[:, : buffer.varying_bytes] = varying
        (constants,) = self._constants[kernel_index]
        whole[:, buffer.varying_bytes : buffer.size_bytes] = constants
        return whole.reshape(-1).data

    def _in_flight(self, step: int) -> InFlight:
        number, kernel_index = divmod(step, len(self._sessions))
        slot = number % len(self._slots)
        queue = kernel_index, slot % self._sessions[kernel_index].columns
        return InFlight(self._slots[slot][kernel_index], self._ready[step % self._ring], queue)


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """A collection would land in some tile's time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
