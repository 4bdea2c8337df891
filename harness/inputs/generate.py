"""Makes tiles: inputs taken from speech or drawn at random, and how many of them differ."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache, lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.errors import RequestError
from harness.inputs.chain import Chain
from harness.inputs.tiles import Tiles
from harness.kernel import Array, Bytes, KernelSpec, Part, load_kernel
from harness.units import BYTES_PER_MIB

PRIMES = tuple(
    number for number in range(2, 1022) if all(number % each for each in range(2, number))
)
"""Numbers of distinct tiles: primes, as few numbers are multiples of a prime."""
MOST_DISTINCT_BYTES = 64 * BYTES_PER_MIB
"""Of the inputs and expected outputs of all distinct tiles, unless the slots alone need more."""
TILE_FRAMES = 64
"""From the first frame of a tile to that of the next, or more: as many as an attention tile has."""
RANDOM_AUDIO_S = 11.0
"""Seconds of audio that random tiles stand for, as long as the guide's clip."""


def distinct_tiles(tile_bytes: int, between: int) -> int:
    """How many tiles differ, of `tile_bytes` each: about a thousand, or what fits MOST_DISTINCT_BYTES.

    between: tiles from one use of a slot to the next. It is no multiple of the result, or a slot would meet the inputs
    that it had before, and a stale output would be right. The result is more than `between`, whatever the bytes, up to
    about a thousand.
    """
    usable = [period for period in PRIMES if between % period]
    fitting = [period for period in usable if period * tile_bytes <= MOST_DISTINCT_BYTES]
    larger = [period for period in usable if period > between]
    if fitting and (fitting[-1] > between or not larger):
        return fitting[-1]
    return larger[0] if larger else usable[-1]


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
        return Tiles(Chain((spec,)), _random(spec, period, seed), RANDOM_AUDIO_S, 0)
    tiles_of_speech = _speech(spec, period, source, seed, now_ns)
    if period > 1 and all((packed == packed[0]).all() for packed in tiles_of_speech.packed):
        raise RequestError(
            f"workload.source={source}: all its tiles are alike (silence?), so no mix-up would show"
        )
    return tiles_of_speech


def make_chain_tiles(
    chain: Chain, tiles: int, source: str, seed: int, now_ns: Callable[[], int], most: int
) -> Tiles:
    """Tiles as `make_tiles` makes them for the first kernel, with constants of the other kernels' own."""
    first, *later = chain.kernels
    made = make_tiles(first.name, tiles, source, seed, now_ns, most)
    if not later:
        return made
    others = [make_tiles(spec.name, 1, "random", seed, now_ns, 1) for spec in later]
    return replace(made, chain=chain, later_constants=tuple(each.constants[0] for each in others))


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
    return Tiles(Chain((spec,)), packed, len(samples) / SAMPLE_RATE_HZ, taken_ns)


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
