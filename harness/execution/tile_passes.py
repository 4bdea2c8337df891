"""Passes over the tiles of a kernel or a chain, and the Protocols of all kinds of passes.

A pass runs all tiles of the workload once, from the first stage-in to the last collect. An
experiment repeats it: once with poisoned outputs to verify them, then to warm up, then timed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from harness.config.schema import Config
from harness.device.backend import Backend, Session
from harness.execution.executor import Executor
from harness.execution.oracle import SERIAL, SerialOutputs, blind_spots
from harness.execution.verify import Checker, Comparison, OutputCopies, Result
from harness.inputs.chain import Chain
from harness.inputs.tiles import Tiles
from harness.kernel import Bytes
from harness.measure.timeline import PassMarks, Spans, Timeline
from harness.measure.totals import Totals, totals_of
from harness.models.operations import Operation

Share = Callable[[float], None]
"""progress(share): called with the share of a pass that is done, 0 to 1."""


@dataclass(frozen=True)
class Step:
    """One operation of an encoder in a pass.

    run: how many of its calls were run. totals: of all its calls, extrapolated if not all ran.
    """

    operation: Operation
    run: int
    totals: Totals


class Pass(Protocol):
    """The times of one finished pass."""

    @property
    def makespan_ns(self) -> int:
        """Time from the first stage-in to the last collect."""

    @property
    def intervals_ns(self) -> Spans:
        """Times from one completion to the next, (submissions - 1,) int64; empty if not stored."""

    @property
    def totals(self) -> Totals:
        """Sums over the whole pass."""

    @property
    def steps(self) -> tuple[Step, ...]:
        """Sums for each operation of an encoder; empty for other workloads."""

    def timeline(self) -> Timeline | None:
        """All spans of the pass; None if they are not stored."""


class Passes(Protocol):
    """Runs passes of one workload, any number of times, on the same contexts and bos.

    comparisons = passes.verify(lambda share: None)
    timed, compare = passes.run(check=True)
    comparisons = compare()
    passes.close()
    """

    @property
    def allocations(self) -> int:
        """Number of bos allocated so far for tiles."""

    def verify(self, progress: Share) -> list[Comparison]:
        """Run one pass and compare its outputs; output bos are poisoned before every launch."""

    def run(self, check: bool) -> tuple[Pass, Callable[[], list[Comparison]]]:
        """Run one pass at full speed.

        check: copy the outputs. Returns the pass, and a function that compares the copies; it is
        separate so that the comparison is not timed.
        """

    def run_one_input(self) -> Pass | None:
        """Run one pass over one input again and again, as `run(False)`.

        None if the inputs of a pass cannot be chosen, or are all the same.
        """

    def wake(self) -> None:
        """Warm the device up if it may have been suspended."""

    def close(self) -> None:
        """Close the contexts, except those that a run in flight may use."""


@dataclass(frozen=True)
class TilesPass:
    """A finished pass over tiles; implements `Pass`.

    It stores marks and expands them to spans on demand, because spans take three times the memory.
    """

    marks: PassMarks

    @property
    def makespan_ns(self) -> int:
        """Time from the first stage-in to the last collect."""
        return self.marks.makespan_ns

    @property
    def intervals_ns(self) -> Spans:
        """Times from one completion to the next."""
        return self.marks.intervals_ns

    @property
    def totals(self) -> Totals:
        """Sums over the whole pass."""
        return totals_of(self._timeline)

    @property
    def steps(self) -> tuple[Step, ...]:
        """Empty: a pass over tiles has no operations of an encoder."""
        return ()

    def timeline(self) -> Timeline:
        """All spans of the pass."""
        return self._timeline

    @cached_property
    def _timeline(self) -> Timeline:
        return self.marks.timeline()


class TilePasses:
    """Runs passes over the tiles of a kernel or a chain, with a session per kernel."""

    def __init__(
        self,
        config: Config,
        chain: Chain,
        columns: Sequence[int],
        backend: Backend,
        tiles: Tiles,
        expected: Tiles | SerialOutputs,
    ) -> None:
        """columns: number of columns of each kernel. expected: what outputs are compared with.

        DeviceError if contexts or bos run out.
        """
        self._tiles = tiles
        self._expected = expected
        self._count = count = config.workload.tiles
        strategy, sessions = config.strategy, list[Session]()
        self._between = strategy.slots * strategy.batch
        self._sessions = sessions
        try:
            for spec, each in zip(chain.kernels, columns, strict=True):
                # In the order of the chain: `PassMarks` assigns the device's spans by the order of
                # opening.
                sessions.append(backend.open_session(spec, each, config.device.timeout_ms))
            constants = tiles.constants_to_hold(strategy.resident)
            self._executor = Executor(sessions, strategy, count, constants, chain.links)
        # Also after Ctrl-C: open contexts count against the device's limit.
        except BaseException:
            for session in sessions:
                session.close()
            raise

    @property
    def allocations(self) -> int:
        """Number of bos allocated so far for tiles."""
        return self._executor.allocations

    def verify(self, progress: Share) -> list[Comparison]:
        """Run one pass with poisoned outputs and compare the outputs of every kernel of the chain.

        Returns one comparison: that of the first kernel with a wrong output, else the last one's.
        """
        tiles, chain = self._tiles, self._tiles.chain
        if isinstance(self._expected, SerialOutputs) and not self._expected.is_taken:
            constants = tiles.constants_to_hold(resident=False)
            serial = Executor(self._sessions, SERIAL, tiles.period, constants, chain.links)
            self._expected.take(serial)
        last = len(chain.kernels) - 1
        checkers = [Checker(self._expected, kernel_index) for kernel_index in range(last + 1)]

        def sink(first: int, outputs: Bytes) -> None:
            checkers[last](first, outputs)
            progress(checkers[last].compared / self._count)

        def inspect(kernel_index: int, first: int, outputs: Bytes) -> None:
            # `sink` receives the outputs of the last kernel.
            if kernel_index < last:
                checkers[kernel_index](first, outputs)

        # Any checker's `poison` serves all kernels: it takes the kernel's index.
        self._executor.run(tiles, sink, checkers[last].poison, inspect)
        shown = next((each for each in checkers if each.mismatches), checkers[last])
        extremes = [extreme for each in checkers for extreme in each.extremes]
        lines = blind_spots(self._expected, self._between, self._count, tiles.period)
        return [Result(shown.compared, shown.mismatches, shown.first_mismatch, extremes, lines)]

    def run(self, check: bool) -> tuple[Pass, Callable[[], list[Comparison]]]:
        """Run one pass at full speed; with `check`, outputs are copied to be compared afterwards.

        Comparing them here too finds races that only occur at full speed.
        """
        if not check:
            return TilesPass(self._executor.run(self._tiles, lambda first, outputs: None)), list
        checker, copies = Checker(self._expected), OutputCopies(self._tiles, self._count)
        # Once before the pass, because between launches it would take timed time.
        self._executor.poison(checker.poison)
        marks = self._executor.run(self._tiles, copies)
        return TilesPass(marks), lambda: [copies.feed(checker)]

    def run_one_input(self) -> Pass | None:
        """Run one pass over one input again and again; None if there is only one."""
        if self._tiles.period == 1:
            return None
        tiles = self._tiles.of_one_input
        return TilesPass(self._executor.run(tiles, lambda first, outputs: None))

    def wake(self) -> None:
        """Warm the device up if it may have been suspended."""
        self._executor.wake()

    def close(self) -> None:
        """Close the contexts, except those that a run in flight may use."""
        self._executor.close()
