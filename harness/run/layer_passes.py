"""Passes over one layer of an encoder with its data: every call, and what it gives passed on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property, partial

import numpy as np

from harness.config.schema import Config
from harness.device.backend import Backend
from harness.inputs.chain import Chain
from harness.inputs.tiles import Tiles
from harness.kernel import Bytes, Int8
from harness.measure.totals import Totals, totals_of
from harness.models.layer import LayerData, layer_operations
from harness.models.layer_reference import layer_reference
from harness.models.tiling import Tiling
from harness.models.whisper import Encoder
from harness.run.encoder_passes import EncoderPass
from harness.run.session_pool import SessionPool
from harness.run.tile_passes import Share, Step
from harness.run.verify import Checker, Comparison, OutputCopies

RunTiles = Callable[[Tiles, int, Checker], tuple[Totals, Bytes]]
"""Runs an operation's calls; returns what they took and gave, (calls, size_bytes) uint8, compared by the checker."""


class ResultCheck:
    """The layer's result against the reference of the whole layer."""

    def __init__(self, result: Int8, expected: Int8) -> None:
        """(frames, d_model) int8 each."""
        wrong = np.argwhere(result != expected)
        self.compared = 1
        self.mismatches = int(len(wrong) > 0)
        self.first_mismatch = ""
        if len(wrong):
            frame, value = map(int, wrong[0])
            self.first_mismatch = (
                f"the layer's result: frame {frame}, value {value} is {result[frame, value]}, the reference says "
                f"{expected[frame, value]}"
            )


class LayerPasses:
    """Passes over layer `number` of an encoder, on x, (frames, d_model) int8. Every call is compared, and the result.

    What the host does between two operations, gathering arrays and cutting them again, is in no time.
    """

    def __init__(
        self,
        config: Config,
        backend: Backend,
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
        self._pool = SessionPool(config, backend, tiling.specs)

    @cached_property
    def _expected(self) -> Int8:
        return self._refer()

    @property
    def allocations(self) -> int:
        """Bos made so far for tiles."""
        return self._pool.allocations

    def verify(self, progress: Share) -> list[Comparison]:
        """One pass with poisoned outputs."""
        calls = sum(operation.calls for operation in self._operations)
        done = 0

        def run(tiles: Tiles, count: int, checker: Checker) -> tuple[Totals, Bytes]:
            nonlocal done
            kept = OutputCopies(tiles, count)

            def sink(first: int, outputs: Bytes) -> None:
                checker(first, outputs)
                kept(first, outputs)

            recording = self._pool.executor(tiles.spec, count).run(tiles, sink, checker.poison)
            done += count
            progress(done / calls)
            return totals_of(recording.timeline()), kept.outputs

        return self._each(run)[1]

    def make(self, check: bool) -> tuple[EncoderPass, Callable[[], list[Comparison]]]:
        """One pass at full speed; outputs of an operation are compared before the next begins, between their times."""
        assert check  # nothing to pass on otherwise

        def run(tiles: Tiles, count: int, checker: Checker) -> tuple[Totals, Bytes]:
            executor, kept = self._pool.executor(tiles.spec, count), OutputCopies(tiles, count)
            executor.poison(checker.poison)
            totals = totals_of(executor.run(tiles, kept).timeline())
            kept.feed(checker)
            return totals, kept.outputs

        made, compared = self._each(run)
        return made, lambda: compared

    def _each(self, run: RunTiles) -> tuple[EncoderPass, list[Comparison]]:
        contexts, data, steps, compared = (
            self._pool,
            self._begin(),
            list[Step](),
            list[Comparison](),
        )
        open_ns = contexts.open_ns
        for operation in self._operations:
            if not operation.kernel:
                data.host(operation)
                continue
            tiles = Tiles(Chain((self._specs[operation.kernel],)), data.stage(operation), 0.0, 0)
            compared.append(checker := Checker(tiles, of=str(operation)))
            totals, outputs = run(tiles, operation.calls, checker)
            steps.append(Step(operation, operation.calls, totals))
            data.take(operation, outputs)
        compared.append(ResultCheck(data.result, self._expected))
        return EncoderPass(tuple(steps), contexts.open_ns - open_ns), compared

    def wake(self) -> None:
        """Wake the device, if it may have gone to sleep."""
        self._pool.wake()

    def close(self) -> None:
        """Give back what can be."""
        self._pool.close()
