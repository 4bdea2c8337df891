"""Tiles of a chain: inputs of its first kernel, constants of the others, and what each of them gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from harness.inputs.chain import Chain
from harness.inputs.tiles import Tiles, make_tiles
from harness.kernel import Bytes, KernelSpec


@dataclass(frozen=True)
class ChainTiles:
    """`tiles` of the first kernel; constants: of each kernel, the bytes per input buffer."""

    chain: Chain
    tiles: Tiles
    constants: tuple[tuple[Bytes, ...], ...]

    @property
    def spec(self) -> KernelSpec:
        """The last kernel, whose outputs are the chain's."""
        return self.chain.kernels[-1]

    @property
    def period(self) -> int:
        """Number of distinct tiles."""
        return self.tiles.period

    @property
    def audio_s(self) -> float:
        """Seconds of audio that the tiles stand for."""
        return self.tiles.audio_s

    @property
    def host_ns(self) -> int:
        """Measured time of loading and preprocessing."""
        return self.tiles.host_ns

    def batches(self, count: int, varying: bool = False) -> Callable[[int], tuple[Any, ...]]:
        """Inputs of the first kernel, as `Tiles.windows`."""
        return self.tiles.batches(count, varying)

    @cached_property
    def expected(self) -> tuple[Bytes, ...]:
        """The references' outputs, of each kernel (period, size_bytes) uint8."""
        outputs = [self.tiles.expected]
        for station, spec in list(enumerate(self.chain.kernels))[1:]:
            varying = self.chain.glue(station, outputs[-1])
            constants = np.broadcast_to(
                self.constants[station][0], (len(varying), len(self.constants[station][0]))
            )
            outputs.append(spec.compute(np.concatenate([varying, constants], axis=1)))
        return tuple(outputs)

    def expect(self, first: int, count: int, station: int = -1) -> Bytes:
        """What a kernel gives of those tiles, (count, size_bytes) uint8; by default the last one."""
        return self.expected[station][np.arange(first, first + count) % self.period]

    def poison(self, station: int, first: int, count: int) -> Bytes:
        """What the output bos of a kernel hold before launch: the complement of what is right."""
        return ~self.expect(first, count, station)


def make_chain_tiles(
    chain: Chain, tiles: int, source: str, seed: int, now_ns: Callable[[], int], most: int
) -> ChainTiles:
    """Tiles as `make_tiles` cuts them for the first kernel, and the constants that every kernel has by itself."""
    first, *others = chain.kernels
    made = make_tiles(first.name, tiles, source, seed, now_ns, most)
    constants = [make_tiles(spec.name, 1, "random", seed, now_ns, 1).constants for spec in others]
    return ChainTiles(chain, made, (made.constants, *constants))
