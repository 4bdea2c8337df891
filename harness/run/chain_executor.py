"""The executor of a chain: tiles go through its kernels as through stations, and none waits for another's.

The same loop as `harness.run.executor`'s, over (submission, station) in place of submissions: what a kernel gave is glued
to the next one's input by the host as soon as it is seen to have ended, whichever tile's that is. Runlists can't be
looked at: batches are taken in the order of their launches.
"""

from __future__ import annotations

import gc
from collections import deque
from collections.abc import Callable, Sequence

import numpy as np

from harness.config.strategy import Buffers, Strategy
from harness.device.backend import Session, Submission
from harness.inputs.chain import Chain
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
from harness.run.executor import Inputs, Sink
from harness.run.in_flight import InFlight, drain

StationPoison = Callable[[int, int, int], Bytes]
"""Given station, first tile and number of tiles: what that kernel's output bos hold before launch."""

StationSink = Callable[[int, int, Bytes], None]
"""Given station, first tile and that kernel's outputs (count, size_bytes)."""


class ChainExecutor:
    """Runs passes over the tiles of a chain; a session per kernel, and in each slot a set of bos for each of them.

    `depth` counts tiles in flight, whatever station they are at. Launches of started tiles come before new ones. A slot
    has a column of each session; a session may have fewer than the strategy's.
    """

    def __init__(
        self,
        sessions: Sequence[Session],
        chain: Chain,
        strategy: Strategy,
        tiles: int,
        constants: Sequence[Sequence[Bytes]],
    ) -> None:
        """constants: of each kernel, per input buffer."""
        self._sessions = sessions
        self._chain = chain
        self._strategy = strategy
        self._tiles = tiles
        self._batch = batch = strategy.batch
        self._full, self._tail = divmod(tiles, batch)
        self._submissions = self._full + bool(self._tail)
        counts = [batch] * bool(self._full) + [self._tail] * bool(self._tail)
        self._constants = [np.concatenate(each) for each in constants]
        needed = min(strategy.slots, self._submissions)
        self._slots = [
            [
                session.slot(
                    number % session.columns,
                    batch,
                    counts,
                    kept if strategy.resident else None,
                )
                for session, kept in zip(sessions, constants, strict=True)
            ]
            for number in range(needed)
        ]
        self._pooled = strategy.buffers is Buffers.pooled
        if self._pooled:
            for slots in self._slots:
                for slot in slots:
                    slot.allocate()

    @property
    def allocations(self) -> int:
        """Bos made so far for tiles."""
        return sum(session.allocations for session in self._sessions)

    def wake(self) -> None:
        """Wake the device, if it may have gone to sleep."""
        for session in self._sessions:
            session.wake()

    def close(self) -> None:
        """Let go of the slots and the sessions' contexts, but for what must be kept."""
        if self.release():
            for session in self._sessions:
                session.close()

    def release(self) -> bool:
        """Let go of the slots, but for what must be kept; returns whether it was all of them."""
        return not any([slot.close() for slots in self._slots for slot in slots])  # noqa: C419 - all of them

    def _group(self, submission: int, station: int) -> Submission:
        slot = self._slots[submission % len(self._slots)][station]
        return slot.submissions[self._batch if submission < self._full else self._tail]

    def poison(self, poison: StationPoison) -> None:
        """Fill the output bos of every pooled slot as before the first tiles it will carry."""
        for submission in range(len(self._slots) if self._pooled else 0):
            for station in range(len(self._sessions)):
                group = self._group(submission, station)
                group.poison(poison(station, submission * self._batch, len(group.outputs)))

    def run(
        self,
        inputs: Inputs,
        sink: Sink,
        poison: StationPoison | None = None,
        look: StationSink | None = None,
    ) -> PassMarks:
        """One pass over all tiles, as `Executor.run`; the sink gets submissions in the order they end.

        look: given what every kernel gave, before it is taken on.
        """
        world, strategy, stations = self._sessions[0].backend, self._strategy, len(self._sessions)
        clock, slots, submissions = world.clock, len(self._slots), self._submissions
        whole, rest = (
            inputs.batches(count, strategy.resident) for count in (self._batch, self._tail)
        )
        marks = blank_marks(submissions * stations)
        fresh: deque[tuple[int, int]] = deque()
        onward: deque[tuple[int, int]] = deque()
        flying: list[tuple[int, int]] = []
        done = bytearray(submissions)
        begun = entered = ended = origin_ns = 0
        launching: tuple[int, int] | None = None
        interrupt, collecting = world.interrupt, gc.isenabled()
        gc.disable()  # a collection would land in some tile's time

        def stage(submission: int, station: int, data: tuple[object, ...]) -> None:
            at, group = (submission * stations + station) * MARKS, self._group(submission, station)
            if poison:
                group.poison(poison(station, submission * self._batch, len(group.outputs)))
            marks[at + WRITE] = clock.now_ns
            group.stage(data)
            marks[at + WRITTEN] = clock.now_ns

        with interrupt.held():
            try:
                self.wake()
                world.take_trace()
                origin_ns = clock.now_ns
                while ended < submissions:
                    interrupt.check()
                    if onward or (fresh and entered - ended < strategy.in_flight):
                        entered += not onward
                        launching = submission, station = (onward or fresh).popleft()
                        at = (submission * stations + station) * MARKS
                        marks[at + LAUNCH] = clock.now_ns
                        self._group(submission, station).launch()
                        flying.append(launching)
                        launching = None
                        marks[at + LAUNCHED] = clock.now_ns
                    elif begun < submissions and (begun < slots or done[begun - slots]):
                        data = (
                            whole(begun * self._batch)
                            if begun < self._full
                            else rest(begun * self._batch)
                        )
                        if not self._pooled:
                            marks[begun * stations * MARKS + ALLOC] = clock.now_ns
                            for slot in self._slots[begun % slots]:
                                slot.allocate()
                            marks[begun * stations * MARKS + ALLOCATED] = clock.now_ns
                        stage(begun, 0, data)
                        fresh.append((begun, 0))
                        begun += 1
                    else:
                        wait_ns = clock.now_ns
                        submission, station = flying[self._ended(flying)]
                        at, group = (
                            (submission * stations + station) * MARKS,
                            self._group(submission, station),
                        )
                        marks[at + WAIT] = wait_ns
                        group.wait(1)
                        flying.remove((submission, station))
                        marks[at + WAITED] = clock.now_ns
                        group.collect()
                        if look:
                            look(station, submission * self._batch, group.outputs)
                        if station + 1 < stations:
                            data = (self._glued(station + 1, group.outputs),)
                            marks[at + READ] = clock.now_ns
                            stage(submission, station + 1, data)
                            onward.append((submission, station + 1))
                        else:
                            sink(submission * self._batch, group.outputs)
                            marks[at + READ] = clock.now_ns
                            done[submission] = True
                            ended += 1
            except BaseException as error:
                heard, interrupt.heard = interrupt.heard, False
                drain(
                    [self._flying(*each) for each in flying],
                    launching is not None and self._flying(*launching),
                )
                if (heard or interrupt.heard) and not isinstance(error, KeyboardInterrupt):
                    raise KeyboardInterrupt from error
                raise
            finally:
                if collecting:
                    gc.enable()
        for session in self._sessions:
            session.used_ns = clock.now_ns
        trace = world.take_trace()
        times = np.frombuffer(marks, np.int64).reshape(-1, MARKS)
        names = tuple(kernel.name for kernel in self._chain.kernels)
        columns = tuple(session.columns for session in self._sessions)
        return PassMarks(
            times,
            trace,
            self._tiles,
            self._batch,
            columns,
            slots,
            origin_ns,
            world.capabilities.clock,
            names,
        )

    def _ended(self, flying: Sequence[tuple[int, int]]) -> int:
        """Place of a submission that has ended, or else of the one to wait for.

        A runlist can't be looked at: if there is one, it is the one launched first.
        """
        session = self._sessions[0]
        return session.backend.next_ended(
            [self._group(*each) for each in flying], session.timeout_ns
        )

    def _glued(self, station: int, outputs: Bytes) -> object:
        """The next kernel's input as its slots stage it: what varies, or whole flat buffers with the constants."""
        varying = self._chain.glue(station, outputs)
        if self._strategy.resident:
            return varying
        buffer, count = self._chain.kernels[station].inputs[0], len(outputs)
        whole = np.zeros((count, buffer.stride_bytes), np.uint8)
        whole[:, : buffer.varying_bytes] = varying
        whole[:, buffer.varying_bytes : buffer.size_bytes] = self._constants[station]
        return whole.reshape(-1).data

    def _flying(self, submission: int, station: int) -> InFlight:
        slot = self._slots[submission % len(self._slots)][station]
        column = submission % len(self._slots) % self._sessions[station].columns
        return InFlight(
            slot, self._group(submission, station), station * self._strategy.columns + column
        )
