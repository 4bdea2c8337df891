"""Passes over the operations of an encoder, one after the other, each as calls of its kernel.

A window is 30 s of audio, the unit that a Whisper encoder works on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import ceil

import numpy as np

from harness.config.schema import Config
from harness.device.backend import Backend
from harness.execution.oracle import SERIAL, SerialOutputs
from harness.execution.session_pool import SessionPool
from harness.execution.tile_passes import Share, Step
from harness.execution.verify import Checker, Comparison, OutputCopies
from harness.inputs.tiles import Tiles
from harness.measure.joined import first_calls, joined
from harness.measure.timeline import Spans, Timeline
from harness.measure.totals import Totals, sum_totals, totals_of
from harness.models.operations import Operation

MOST_SHOWN = 16
"""Calls of an operation whose spans a pass keeps: 5 KB, in each of up to thousands of passes."""


@dataclass(frozen=True)
class EncoderPass:
    """A finished pass over the operations of a window; implements `Pass`.

    steps: what each operation took. open_ns: time to open contexts during the pass. Host work
    between two operations, cutting arrays into tiles and gathering them again, is not timed.
    shown: the first calls of each operation by its name; empty if they are not stored.
    """

    steps: tuple[Step, ...]
    open_ns: int
    shown: tuple[tuple[str, Timeline], ...] = ()

    @property
    def makespan_ns(self) -> int:
        """Sum of the operations' makespans and of the time to open contexts."""
        return self.totals.makespan_ns

    @property
    def intervals_ns(self) -> Spans:
        """Empty: only part of the calls run, so their intervals are not those of the window."""
        return np.zeros(0, np.int64)

    @property
    def totals(self) -> Totals:
        """Sums over the operations, and the time to open contexts."""
        whole = sum_totals([step.totals for step in self.steps])
        return replace(whole, open_ns=self.open_ns, makespan_ns=whole.makespan_ns + self.open_ns)

    def timeline(self) -> Timeline | None:
        """The first calls of each operation, one operation after the other."""
        return joined(self.shown)


class EncoderPasses:
    """Runs about `workload.tiles` calls of each operation, and extrapolates to all its calls.

    All calls of a kernel take the same time, whatever their data. So each operation runs twice,
    once with half as many calls as the other time, and the remaining calls count at the rate
    between the two runs. Both runs are whole rounds, a round being one batch for each column, and
    both fill all slots.
    """

    def __init__(
        self,
        config: Config,
        backend: Backend,
        columns: Mapping[str, int],
        operations: Sequence[Operation],
        tiles: Mapping[str, Tiles],
        expected: Mapping[str, Tiles | SerialOutputs],
    ) -> None:
        """columns, tiles: by name of the kernel. expected: what its outputs are compared with.

        The host's own operations are left out.
        """
        self._operations = [each for each in operations if each.kernel]
        self._tiles = tiles
        self._expected = expected
        self._open_serial = partial(
            SessionPool, replace(config, strategy=SERIAL), backend, dict.fromkeys(columns, 1)
        )
        strategy = config.strategy
        round_calls = strategy.batch * strategy.columns
        slot_calls = strategy.slots * strategy.batch
        # Whole rounds use every column, and full slots give the rate of the whole window.
        at_least = max(round_calls, slot_calls, (config.workload.tiles + 1) // 2)
        self._half = ceil(at_least / round_calls) * round_calls
        self._most = 2 * self._half
        self._pool = SessionPool(config, backend, columns)

    @property
    def allocations(self) -> int:
        """Number of bos allocated so far for tiles."""
        return self._pool.allocations

    def verify(self, progress: Share) -> list[Comparison]:
        """Run one pass with poisoned outputs; returns a comparison per operation."""
        self._take_serial_outputs()
        checkers: list[Comparison] = []
        for number, (operation, tiles, calls) in enumerate(self._runs(self._tiles)):
            progress(number / len(self._operations))
            checker = Checker(self._expected[tiles.spec.name], operation=str(operation))
            # The pool keeps executors by kernel and calls: most operations open no context.
            self._pool.executor(tiles.spec, calls).run(tiles, checker, checker.poison)
            checkers.append(checker)
        return checkers

    def _take_serial_outputs(self) -> None:
        """Run the serial pass of each kernel whose outputs are compared with its own."""
        serial = [each for each in self._expected.values() if isinstance(each, SerialOutputs)]
        pool = self._open_serial()
        for each in serial:
            if not each.is_taken:
                (spec,) = each.chain.kernels
                each.take(pool.executor(spec, self._tiles[spec.name].period))
        pool.close()

    def run(self, check: bool) -> tuple[EncoderPass, Callable[[], list[Comparison]]]:
        """Run one pass at full speed.

        The outputs of an operation are compared before the next one starts, outside of both times.
        """
        return self._run(self._tiles, check)

    def run_one_input(self) -> EncoderPass | None:
        """Run one pass in which all calls of a kernel have the same input; None if all have."""
        if all(each.period == 1 for each in self._tiles.values()):
            return None
        tiles = {name: each.of_one_input for name, each in self._tiles.items()}
        return self._run(tiles, check=False)[0]

    def _run(
        self, all_tiles: Mapping[str, Tiles], check: bool
    ) -> tuple[EncoderPass, Callable[[], list[Comparison]]]:
        steps, checkers = list[Step](), list[Comparison]()
        shown = list[tuple[str, Timeline]]()
        open_ns = self._pool.open_ns

        def run_calls(operation: Operation, tiles: Tiles, calls: int) -> Timeline:
            executor = self._pool.executor(tiles.spec, calls)
            if not check:
                return executor.run(tiles, lambda first, outputs: None).timeline()
            expected, copies = self._expected[tiles.spec.name], OutputCopies(tiles, calls)
            checker = Checker(expected, operation=str(operation))
            executor.poison(checker.poison)
            timeline = executor.run(tiles, copies).timeline()
            checkers.append(copies.feed(checker))
            return timeline

        for operation, tiles, calls in self._runs(all_tiles):
            # If all calls run, there is nothing to extrapolate.
            is_part = calls < operation.calls
            shorter = run_calls(operation, tiles, self._half) if is_part else None
            timeline = run_calls(operation, tiles, calls)
            totals = totals_of(timeline)
            if shorter:
                totals = totals.extrapolated(totals_of(shorter), operation.calls)
            steps.append(Step(operation, calls, totals))
            shown.append((str(operation), first_calls(timeline, MOST_SHOWN)))
        result = EncoderPass(tuple(steps), self._pool.open_ns - open_ns, tuple(shown))
        return result, lambda: checkers

    def _runs(self, tiles: Mapping[str, Tiles]) -> Iterator[tuple[Operation, Tiles, int]]:
        """Each operation with its kernel's tiles and the number of calls to run."""
        for operation in self._operations:
            # The constructor leaves out operations without a kernel.
            assert operation.kernel
            yield operation, tiles[operation.kernel], min(operation.calls, self._most)

    def wake(self) -> None:
        """Warm the device up if it may have been suspended."""
        self._pool.wake()

    def close(self) -> None:
        """Close the contexts, except those that a run in flight may use."""
        self._pool.close()
