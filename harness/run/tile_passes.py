"""What an experiment repeats: passes over the tiles of a kernel or a chain, and their outputs compared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from harness.config.schema import Config
from harness.device.backend import Backend, Session
from harness.inputs.chain import Chain
from harness.inputs.tiles import Tiles
from harness.kernel import Bytes
from harness.measure.timeline import PassMarks, Spans, Timeline
from harness.measure.totals import Totals, totals_of
from harness.models.operations import Operation
from harness.run.executor import Executor
from harness.run.verify import Checker, Comparison, OutputCopies

Share = Callable[[float], None]
"""Told the share of a pass that is done."""


@dataclass(frozen=True)
class Step:
    """What an operation took, by the calls of it that were run; totals: of all its calls."""

    operation: Operation
    run: int
    totals: Totals


class Pass(Protocol):
    """A pass that was made."""

    @property
    def makespan_ns(self) -> int:
        """First stage-in to last collect."""

    @property
    def intervals_ns(self) -> Spans:
        """Completion to completion."""

    @property
    def totals(self) -> Totals:
        """What it adds up to."""

    @property
    def steps(self) -> tuple[Step, ...]:
        """Of a window, what each operation adds up to."""

    def timeline(self) -> Timeline | None:
        """Its spans; None where they are not kept."""


class Passes(Protocol):
    """Passes of one kind, with contexts and bos that last from one to the next."""

    @property
    def allocations(self) -> int:
        """Bos made so far for tiles."""

    def verify(self, progress: Share) -> list[Comparison]:
        """One pass whose output bos are poisoned before every launch; returns what compared its outputs."""

    def make(self, check: bool) -> tuple[Pass, Callable[[], list[Comparison]]]:
        """One pass at full speed; check: its outputs are kept. Returns what compares them, to be called after it."""

    def wake(self) -> None:
        """Wake the device, if it may have gone to sleep."""

    def close(self) -> None:
        """Give back what can be."""


@dataclass(frozen=True)
class TilesPass:
    """A pass over tiles, which is expanded to its spans when they are asked for: they take three times the memory."""

    recording: PassMarks

    @property
    def makespan_ns(self) -> int:
        """First stage-in to last collect."""
        return self.recording.makespan_ns

    @property
    def intervals_ns(self) -> Spans:
        """Completion to completion."""
        return self.recording.intervals_ns

    @property
    def totals(self) -> Totals:
        """What it adds up to."""
        return totals_of(self._expanded)

    @property
    def steps(self) -> tuple[Step, ...]:
        """None."""
        return ()

    def timeline(self) -> Timeline:
        """Its spans."""
        return self._expanded

    @cached_property
    def _expanded(self) -> Timeline:
        return self.recording.timeline()


class TilePasses:
    """Passes over the tiles of a kernel or a chain: a session per kernel, and one executor."""

    def __init__(
        self,
        config: Config,
        chain: Chain,
        columns: Sequence[int],
        backend: Backend,
        tiles: Tiles,
    ) -> None:
        """columns: of each kernel of the chain. DeviceError where contexts or bos cannot be had."""
        self._tiles = tiles
        self._count = count = config.workload.tiles
        strategy, sessions = config.strategy, list[Session]()
        try:
            for spec, width in zip(chain.kernels, columns, strict=True):
                sessions.append(backend.open_session(spec, width, config.device.timeout_ms))
            constants = tiles.constants_to_hold(strategy.resident)
            self._executor = Executor(sessions, strategy, count, constants, chain.links)
        except BaseException:
            for session in sessions:
                session.close()
            raise

    @property
    def allocations(self) -> int:
        """Bos made so far for tiles."""
        return self._executor.allocations

    def verify(self, progress: Share) -> list[Comparison]:
        """One poisoned pass; what is returned is of the first kernel of the chain that is wrong, or of the last."""
        last = len(self._tiles.chain.kernels) - 1
        checkers = [Checker(self._tiles, kernel_index) for kernel_index in range(last + 1)]

        def sink(first: int, outputs: Bytes) -> None:
            checkers[last](first, outputs)
            progress(checkers[last].compared / self._count)

        def inspect(kernel_index: int, first: int, outputs: Bytes) -> None:
            if kernel_index < last:
                checkers[kernel_index](first, outputs)

        self._executor.run(self._tiles, sink, checkers[last].poison, inspect)
        return [next((each for each in checkers if each.mismatches), checkers[last])]

    def make(self, check: bool) -> tuple[Pass, Callable[[], list[Comparison]]]:
        """One pass at full speed; its outputs are compared after it, for some races exist only then."""
        if not check:
            return TilesPass(self._executor.run(self._tiles, lambda first, outputs: None)), list
        checker, kept = Checker(self._tiles), OutputCopies(self._tiles, self._count)
        self._executor.poison(checker.poison)
        recording = self._executor.run(self._tiles, kept)
        return TilesPass(recording), lambda: [kept.feed(checker)]

    def wake(self) -> None:
        """Wake the device, if it may have gone to sleep."""
        self._executor.wake()

    def close(self) -> None:
        """Give back what can be."""
        self._executor.close()
