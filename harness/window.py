"""Passes over a window of an encoder: its operations one after the other, each in calls of its kernel."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from harness.config import Config
from harness.contexts import Contexts
from harness.executor import Executor
from harness.passes import Share, Step
from harness.tiles import Tiles
from harness.timeline import Recording, Spans, Timeline
from harness.totals import Totals, added, totals_of
from harness.verify import Checker, Comparison, Kept
from harness.whisper import Operation
from harness.world import World


@dataclass(frozen=True)
class WindowPass:
    """A pass over the operations of a window. Its makespan is what they took one after the other, contexts included.

    What the host does between two of them, gathering tiles from arrays and back, is not in it: no kernel is told.
    """

    steps: tuple[Step, ...]
    opened: int
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


class WindowPasses:
    """Passes over `operations`, of each no more calls than `workload.tiles`, on tiles of its kernel.

    Every call is as long as any other, whatever it computes; so the calls that are run stand for all of them.
    """

    def __init__(
        self, config: Config, world: World, operations: Sequence[Operation], tiles: Mapping[str, Tiles]
    ) -> None:
        """tiles: by name of the kernel."""
        self._operations = [each for each in operations if each.kernel]
        self._tiles = tiles
        self._most = config.workload.tiles
        self._contexts = Contexts(config, world, [each.spec for each in tiles.values()])

    @property
    def allocations(self) -> int:
        """Bos made so far for tiles."""
        return self._contexts.allocations

    def verify(self, progress: Share) -> list[Comparison]:
        """One poisoned pass, a checker per operation."""
        checkers: list[Comparison] = []

        def run(executor: Executor, tiles: Tiles, calls: int) -> Recording:
            progress(len(checkers) / len(self._operations))
            checkers.append(checker := Checker(tiles))
            return executor.run(tiles, checker, checker.poison)

        self._each(run)
        return checkers

    def make(self, check: bool) -> tuple[WindowPass, Callable[[], list[Comparison]]]:
        """One pass at full speed; outputs of an operation are compared before the next begins, between their times."""
        checkers: list[Comparison] = []

        def run(executor: Executor, tiles: Tiles, calls: int) -> Recording:
            if not check:
                return executor.run(tiles, lambda first, outputs: None)
            checker, kept = Checker(tiles), Kept(tiles, calls)
            executor.poison(checker.poison)
            recording = executor.run(tiles, kept)
            checkers.append(kept.feed(checker))
            return recording

        return self._each(run), lambda: checkers

    def _each(self, run: Callable[[Executor, Tiles, int], Recording]) -> WindowPass:
        contexts, steps = self._contexts, list[Step]()
        opened, open_ns = contexts.opened, contexts.open_ns
        for operation in self._operations:
            assert operation.kernel  # the host's are left out
            tiles, calls = self._tiles[operation.kernel], min(operation.calls, self._most)
            recording = run(contexts.executor(tiles.spec, calls), tiles, calls)
            steps.append(Step(operation, calls, totals_of(recording.timeline()).scaled(operation.calls)))
        return WindowPass(tuple(steps), contexts.opened - opened, contexts.open_ns - open_ns)

    def wake(self) -> None:
        """Wake the device, if it may have gone to sleep."""
        self._contexts.wake()

    def close(self) -> None:
        """Give back what can be."""
        self._contexts.close()
