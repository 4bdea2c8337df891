"""Passes over a window of an encoder: its operations one after the other, each in calls of its kernel."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from harness.config.schema import Config
from harness.device.backend import Backend
from harness.inputs.tiles import Tiles
from harness.measure.timeline import Spans, Timeline
from harness.measure.totals import Totals, added, totals_of
from harness.models.operations import Operation
from harness.run.session_pool import SessionPool
from harness.run.tile_passes import Share, Step
from harness.run.verify import Checker, Comparison, OutputCopies


@dataclass(frozen=True)
class EncoderPass:
    """A pass over the operations of a window. Its makespan is what they took one after the other, contexts included.

    What the host does between two of them, gathering tiles from arrays and back, is not in it: no kernel is told.
    """

    steps: tuple[Step, ...]
    open_ns: int

    @property
    def makespan_ns(self) -> int:
        """Sum over the operations, and of opening contexts."""
        return self.totals.makespan_ns

    @property
    def intervals_ns(self) -> Spans:
        """None: they are of calls, and there are fewer of those than are counted."""
        return np.zeros(0, np.int64)

    @property
    def totals(self) -> Totals:
        """Sums over the operations."""
        whole = added([step.totals for step in self.steps])
        return replace(whole, open_ns=self.open_ns, makespan_ns=whole.makespan_ns + self.open_ns)

    def timeline(self) -> Timeline | None:
        """None: its spans are millions."""
        return None


class EncoderPasses:
    """Passes over `operations`, of each about `workload.tiles` calls, on tiles of its kernel.

    A call takes as long as any other, whatever it computes; so what is not run goes on at the rate of what is: by two
    passes of an operation, one of half as many calls as the other, both in whole rounds of a batch for each column, and
    no fewer than fill all slots.
    """

    def __init__(
        self,
        config: Config,
        backend: Backend,
        operations: Sequence[Operation],
        tiles: Mapping[str, Tiles],
    ) -> None:
        """tiles: by name of the kernel."""
        self._operations = [each for each in operations if each.kernel]
        self._tiles = tiles
        dealt = config.strategy.batch * config.strategy.columns
        wanted, filled = config.workload.tiles, config.strategy.slots * config.strategy.batch
        self._half = -(-max(dealt, filled, (wanted + 1) // 2) // dealt) * dealt
        self._most = 2 * self._half if wanted else 0
        self._pool = SessionPool(config, backend, [each.spec for each in tiles.values()])

    @property
    def allocations(self) -> int:
        """Bos made so far for tiles."""
        return self._pool.allocations

    def verify(self, progress: Share) -> list[Comparison]:
        """One poisoned pass, a checker per operation."""
        checkers: list[Comparison] = []
        for number, (operation, tiles, calls) in enumerate(self._runs()):
            progress(number / len(self._operations))
            checker = Checker(tiles, of=str(operation))
            self._pool.executor(tiles.spec, calls).run(tiles, checker, checker.poison)
            checkers.append(checker)
        return checkers

    def make(self, check: bool) -> tuple[EncoderPass, Callable[[], list[Comparison]]]:
        """One pass at full speed; outputs of an operation are compared before the next begins, between their times."""
        contexts, steps, checkers = self._pool, list[Step](), list[Comparison]()
        open_ns = contexts.open_ns

        def run(operation: Operation, tiles: Tiles, calls: int) -> Totals:
            executor = contexts.executor(tiles.spec, calls)
            if not check:
                return totals_of(executor.run(tiles, lambda first, outputs: None).timeline())
            checker, kept = Checker(tiles, of=str(operation)), OutputCopies(tiles, calls)
            executor.poison(checker.poison)
            totals = totals_of(executor.run(tiles, kept).timeline())
            checkers.append(kept.feed(checker))
            return totals

        for operation, tiles, calls in self._runs():
            shorter = run(operation, tiles, self._half) if 0 < calls < operation.calls else None
            totals = run(operation, tiles, calls)
            steps.append(
                Step(
                    operation,
                    calls,
                    totals.extrapolated(shorter, operation.calls) if shorter else totals,
                )
            )
        made = EncoderPass(tuple(steps), contexts.open_ns - open_ns)
        return made, lambda: checkers

    def _runs(self) -> Iterator[tuple[Operation, Tiles, int]]:
        """Of each operation: its kernel's tiles, and how many calls are run."""
        for operation in self._operations:
            assert operation.kernel  # the host's are left out
            yield operation, self._tiles[operation.kernel], min(operation.calls, self._most)

    def wake(self) -> None:
        """Wake the device, if it may have gone to sleep."""
        self._pool.wake()

    def close(self) -> None:
        """Give back what can be."""
        self._pool.close()
