"""Passes over one layer of an encoder with real data: each operation uses the results before it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property, partial

import numpy as np

from harness.config.schema import Config
from harness.device.backend import Backend
from harness.execution.encoder_passes import MOST_SHOWN, EncoderPass
from harness.execution.session_pool import SessionPool
from harness.execution.tile_passes import Share, Step
from harness.execution.verify import Checker, Comparison, OutputCopies, Result
from harness.inputs.chain import Chain
from harness.inputs.tiles import Tiles
from harness.kernel import Bytes, Int8
from harness.measure.joined import first_calls
from harness.measure.timeline import Timeline
from harness.measure.totals import totals_of
from harness.models.layer import LayerData, layer_operations
from harness.models.layer_reference import layer_reference
from harness.models.tiling import Tiling
from harness.models.whisper import Encoder

RunTiles = Callable[[Tiles, int, Checker], tuple[Timeline, Bytes]]
"""run(tiles, calls, checker): runs and checks the calls of an operation.

Returns their timeline and their outputs, (calls, size_bytes) uint8.
"""


def check_result(result: Int8, expected: Int8) -> Result:
    """Compare the layer's result with that of its reference, (frames, d_model) int8 each."""
    wrong = np.argwhere(result != expected)
    if not len(wrong):
        return Result(1, 0, "")
    frame, value = map(int, wrong[0])
    return Result(
        1,
        1,
        f"the layer's result: frame {frame}, value {value} is {result[frame, value]}, "
        f"expected {expected[frame, value]}",
    )


class LayerPasses:
    """Passes over layer `number` of an encoder, on x, (frames, d_model) int8.

    Every call and the layer's result are compared with their references. Host work between two
    operations, gathering arrays and cutting them into tiles, is not timed.
    """

    def __init__(
        self,
        config: Config,
        backend: Backend,
        columns: Mapping[str, int],
        encoder: Encoder,
        tiling: Tiling,
        number: int,
        x: Int8,
        weights: Mapping[str, Int8],
    ) -> None:
        self._operations = layer_operations(encoder, tiling, number)
        self._specs = {spec.name: spec for spec in tiling.specs}
        self._begin = partial(LayerData, encoder, tiling, x, weights)
        self._refer = partial(layer_reference, encoder, tiling, x, weights)
        self._pool = SessionPool(config, backend, columns)

    # The reference is slow, and the same for every pass.
    @cached_property
    def _expected(self) -> Int8:
        return self._refer()

    @property
    def allocations(self) -> int:
        """Number of bos allocated so far for tiles."""
        return self._pool.allocations

    def verify(self, progress: Share) -> list[Comparison]:
        """Run one pass with poisoned outputs.

        Returns a comparison for each operation on the device and one for the layer's result.
        """
        calls = sum(operation.calls for operation in self._operations)
        done = 0

        def run_poisoned(tiles: Tiles, count: int, checker: Checker) -> tuple[Timeline, Bytes]:
            nonlocal done
            copies = OutputCopies(tiles, count)

            def sink(first: int, outputs: Bytes) -> None:
                checker(first, outputs)
                # The outputs are the inputs of the next operation.
                copies(first, outputs)

            marks = self._pool.executor(tiles.spec, count).run(tiles, sink, checker.poison)
            done += count
            progress(done / calls)
            return marks.timeline(), copies.outputs

        return self._run_operations(run_poisoned)[1]

    def run(self, check: bool) -> tuple[EncoderPass, Callable[[], list[Comparison]]]:
        """Run one pass at full speed.

        The outputs of an operation are compared before the next one starts, outside of both times.
        """
        # Without real outputs the next operation would have no inputs.
        assert check

        def run_timed(tiles: Tiles, count: int, checker: Checker) -> tuple[Timeline, Bytes]:
            executor, copies = self._pool.executor(tiles.spec, count), OutputCopies(tiles, count)
            executor.poison(checker.poison)
            timeline = executor.run(tiles, copies).timeline()
            copies.feed(checker)
            return timeline, copies.outputs

        result, comparisons = self._run_operations(run_timed)
        return result, lambda: comparisons

    def _run_operations(self, run: RunTiles) -> tuple[EncoderPass, list[Comparison]]:
        """Run every operation on the results before it.

        run: runs the operations of the device; those of the host run here.
        """
        data, steps, comparisons = self._begin(), list[Step](), list[Comparison]()
        shown = list[tuple[str, Timeline]]()
        open_ns = self._pool.open_ns
        for operation in self._operations:
            if not operation.kernel:
                data.host(operation)
                continue
            tiles = Tiles(Chain((self._specs[operation.kernel],)), data.stage(operation), 0.0, 0)
            checker = Checker(tiles, operation=str(operation))
            comparisons.append(checker)
            timeline, outputs = run(tiles, operation.calls, checker)
            steps.append(Step(operation, operation.calls, totals_of(timeline)))
            shown.append((str(operation), first_calls(timeline, MOST_SHOWN)))
            data.take(operation, outputs)
        # The calls may all be right and the layer wrong, if arrays were cut or gathered wrongly.
        comparisons.append(check_result(data.result, self._expected))
        result = EncoderPass(tuple(steps), self._pool.open_ns - open_ns, tuple(shown))
        return result, comparisons

    def run_one_input(self) -> None:
        """None: each input is the result of the operation before."""

    def wake(self) -> None:
        """Warm the device up if it may have been suspended."""
        self._pool.wake()

    def close(self) -> None:
        """Close the contexts, except those that a run in flight may use."""
        self._pool.close()
