"""Inputs of a kernel, cut from speech or drawn at random, and what its reference makes of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import RequestError
from harness.kernel import Array, Bytes, KernelSpec, Part, load_kernel

PERIODS = (1021, 1019, 1013)
"""Distinct tiles at the most, 12.5 MB of attention inputs; primes, of which one divides no given number of slots."""
PIECE_TILES = 4096
"""Given to a reference at once: what it makes on the way is several times as large."""
TILE_FRAMES = 64
"""From the first frame of a tile to that of the next, or more: as many as an attention tile has."""
RANDOM_AUDIO_S = 11.0
"""Seconds of audio that random tiles stand for, as long as the guide's clip."""


@dataclass(frozen=True)
class Tiles:
    """Packed inputs, one (period, size_bytes) uint8 per input buffer; tile i has row i modulo the period.

    audio_s: seconds of audio they stand for. host_ns: measured time of loading and preprocessing.
    """

    spec: KernelSpec
    packed: tuple[Bytes, ...]
    audio_s: float
    host_ns: int

    def __post_init__(self) -> None:
        for packed in self.packed:
            packed.setflags(write=False)

    @property
    def period(self) -> int:
        """Number of distinct tiles."""
        return len(self.packed[0])

    @cached_property
    def expected(self) -> Bytes:
        """The reference's outputs, (period, size_bytes) uint8."""
        try:
            return np.concatenate(
                [
                    self.spec.compute(
                        *(packed[first : first + PIECE_TILES] for packed in self.packed)
                    )
                    for first in range(0, self.period, PIECE_TILES)
                ]
            )
        except Exception as error:
            raise RequestError(
                f"kernel {self.spec.name}: its reference fails ({type(error).__name__}: {error}); "
                "it takes the input parts as read-only arrays (tiles, *shape) and returns one (tiles, *shape)"
            ) from error

    @cached_property
    def _staged(self) -> tuple[memoryview, ...]:
        """All distinct tiles as bos hold them, one flat piece per input buffer: each tile on cache lines of its own."""
        padded = (
            np.pad(packed, ((0, 0), (0, buffer.stride_bytes - buffer.size_bytes)))
            for packed, buffer in zip(self.packed, self.spec.inputs, strict=True)
        )
        return tuple(np.ascontiguousarray(each).reshape(-1).data for each in padded)

    def _rows(self, first: int, count: int) -> tuple[memoryview, ...]:
        """Tiles modulo the period, per input buffer."""
        strides = [buffer.stride_bytes for buffer in self.spec.inputs]
        if first + count <= self.period:
            return tuple(
                flat[first * s : (first + count) * s]
                for flat, s in zip(self._staged, strides, strict=True)
            )
        rows = np.arange(first, first + count) % self.period
        flats = (np.frombuffer(flat, np.uint8).reshape(self.period, -1) for flat in self._staged)
        return tuple(flat[rows].reshape(-1).data for flat in flats)

    @cached_property
    def constants(self) -> tuple[Bytes, ...]:
        """The constants' bytes, per input buffer."""
        return tuple(
            packed[0, buffer.varying_bytes :]
            for packed, buffer in zip(self.packed, self.spec.inputs, strict=True)
        )

    def batches(self, count: int, varying: bool = False) -> Callable[[int], tuple[Any, ...]]:
        """A function of the first tile: `count` tiles' inputs from it on, count * stride_bytes bytes per buffer.

        varying: (count, varying_bytes) uint8 of each buffer that has any, as slots with resident constants stage it.
        """
        period = self.period
        if varying:
            cuts = [
                packed[:, : buffer.varying_bytes]
                for packed, buffer in zip(self.packed, self.spec.inputs, strict=True)
                if buffer.varying_bytes
            ]
            return lambda first: tuple(
                cut[np.arange(first, first + count) % period] for cut in cuts
            )
        if count > 1:
            return lambda first: self._rows(first % period, count)
        single = [self._rows(tile, 1) for tile in range(period)]
        return lambda first: single[first % period]

    def expect(self, first: int, count: int) -> Bytes:
        """The reference's outputs of those tiles, (count, size_bytes) uint8."""
        return self.expected[np.arange(first, first + count) % self.period]


@cache
def check_source(kernel: str, source: str) -> None:
    """RequestError for an unknown kernel, or a source that tiles can't be cut from; quiet and quick the next time."""
    load_kernel(kernel)
    if source != "random":
        _samples(source)


@lru_cache(maxsize=8)
def make_tiles(
    kernel: str, tiles: int, source: str, seed: int, now_ns: Callable[[], int], most: int
) -> Tiles:
    """Inputs for `tiles` tiles of `kernel`, `most` of them distinct.

    RequestError for an unknown kernel, or audio that can't be read or has nothing in it. Cached: the jobs of a sweep
    share them, and the host time, by the clock `now_ns`, is that of the first making.
    """
    spec = load_kernel(kernel)
    period = max(1, min(tiles, most))
    for part in spec.parts:
        if part.dtype != "int8":
            raise RequestError(
                f"kernel {kernel}: its input {part.name} is {part.dtype}; tiles are cut as int8"
            )
    if all(part.constant for part in spec.parts):
        raise RequestError(
            f"kernel {kernel}: all its inputs are constant; tiles need one that differs"
        )
    if source == "random":
        return Tiles(spec, _random(spec, period, seed), RANDOM_AUDIO_S, 0)
    tiles_of_speech = _speech(spec, period, source, seed, now_ns)
    if period > 1 and all((packed == packed[0]).all() for packed in tiles_of_speech.packed):
        raise RequestError(
            f"workload.source={source}: all its tiles are alike (silence?), so no mix-up would show"
        )
    return tiles_of_speech


def make_activations(frames: int, width: int, source: str, seed: int) -> Array:
    """What an encoder's layer works on, (frames, width) int8: frames of log-mel, projected; a short clip repeats.

    RequestError for audio that can't be read.
    """
    if source == "random":
        return np.random.default_rng(seed).integers(-64, 64, (frames, width), np.int8)
    from harness.inputs.audio import log_mel, project

    mel = log_mel(_samples(source))
    (projected,) = project(np.resize(mel, (frames, mel.shape[1])), [width], seed, 0)
    return projected


def _random(spec: KernelSpec, period: int, seed: int) -> tuple[Bytes, ...]:
    """Uniform int8 in [-64, 63], as the guide's own tests draw them."""
    generator = np.random.default_rng(seed)
    return _pack(
        spec, period, seed, lambda part: generator.integers(-64, 64, (period, *part.shape), np.int8)
    )


def _pack(
    spec: KernelSpec, period: int, seed: int, cut: Callable[[Part], Array]
) -> tuple[Bytes, ...]:
    """Tiles of what `cut` gives for each part that varies, (period, *shape) int8, and of constants.

    Constants are uniform int8 in [-64, 63], from a stream of their own: neither `period` nor what varies changes them.
    """
    constants = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(0,)))

    def array(part: Part) -> Array:
        if not part.constant:
            return cut(part)
        return np.broadcast_to(
            constants.integers(-64, 64, part.shape, np.int8), (period, *part.shape)
        )

    return tuple(buffer.pack(*map(array, buffer.parts)) for buffer in spec.inputs)


def _speech(
    spec: KernelSpec, period: int, source: str, seed: int, now_ns: Callable[[], int]
) -> Tiles:
    """The rows of each part that varies are consecutive frames of log-mel, projected to the part's width.

    A clip that is out of tiles begins again under another projection (the next head). The host time is that of
    reading, log-mel and one head: what the clip costs, however many tiles are asked for.
    """
    from harness.inputs.audio import SAMPLE_RATE_HZ, log_mel, project

    parts = [part for part in spec.parts if not part.constant]
    rows = [int(np.prod(part.shape[:-1], dtype=int)) for part in parts]
    widths = [part.shape[-1] for part in parts]
    _samples(source)  # once unmeasured: its imports are no preprocessing
    begin_ns = now_ns()
    samples = _samples(source)
    mel = log_mel(samples)
    project(mel, widths, seed, 0)
    taken_ns = now_ns() - begin_ns
    mel = np.resize(
        mel, (max(len(mel), TILE_FRAMES, *rows), mel.shape[1])
    )  # a clip shorter than a tile repeats
    starts = _starts(mel, max(rows))
    pieces: list[list[Bytes]] = [[] for _ in parts]
    for head in range(-(-period // len(starts))):
        frames = project(mel, widths, seed, head)
        for piece, part, count, projected in zip(pieces, parts, rows, frames, strict=True):
            cut = projected[starts[:, None] + np.arange(count)]
            piece.append(cut.reshape(len(starts), *part.shape))
    arrays = iter([np.concatenate(piece)[:period] for piece in pieces])
    packed = _pack(spec, period, seed, lambda part: next(arrays))
    return Tiles(spec, packed, len(samples) / SAMPLE_RATE_HZ, taken_ns)


def _starts(mel: NDArray[np.float32], count: int) -> NDArray[np.intp]:
    """First frames of one head's tiles of `count` frames; of short ones only those that differ: silence is alike."""
    step = max(TILE_FRAMES, count)
    starts = np.arange(len(mel) // step) * step
    if count < TILE_FRAMES:
        cuts = mel[starts[:, None] + np.arange(count)].reshape(len(starts), -1)
        starts = np.sort(starts[np.unique(cuts, axis=0, return_index=True)[1]])
    return starts


def _samples(source: str) -> NDArray[np.float32]:
    from harness.inputs.audio import CLIP, load_audio

    return load_audio(CLIP if source == "speech" else Path(source))
