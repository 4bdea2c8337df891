"""Creates tiles: from speech or random numbers, and decides how many distinct ones a run needs."""

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
"""Possible numbers of distinct tiles; primes, because few numbers are multiples of a prime."""
MOST_DISTINCT_BYTES = 64 * BYTES_PER_MIB
"""Memory for inputs and expected outputs of all distinct tiles; more only if the slots need it."""
TILE_FRAMES = 64
"""Least distance in frames between the begins of two tiles: the frames of an attention tile."""
RANDOM_AUDIO_S = 11.0
"""Seconds of audio that random tiles represent: the length of the guide's clip."""


def distinct_tiles(tile_bytes: int, between: int) -> int:
    """Number of distinct tiles: about a thousand, or as many as fit MOST_DISTINCT_BYTES.

    tile_bytes: inputs and expected outputs of one tile. between: tiles from one use of a slot to
    the next. `between` must not be a multiple of the result: a slot would then get the same inputs
    again, and a stale output would look right. The result is larger than `between` even if that
    takes more memory, up to about a thousand.
    """
    usable = [period for period in PRIMES if between % period]
    fitting = [period for period in usable if period * tile_bytes <= MOST_DISTINCT_BYTES]
    larger = [period for period in usable if period > between]
    if fitting and (fitting[-1] > between or not larger):
        return fitting[-1]
    return larger[0] if larger else usable[-1]


@cache
def check_source(kernel: str, source: str) -> None:
    """RequestError for an unknown kernel, or a source that cannot be read.

    Cached, because every job of a sweep calls it.
    """
    load_kernel(kernel)
    if source != "random":
        _samples(source)


@lru_cache(maxsize=8)
def make_tiles(
    kernel: str, tiles: int, source: str, seed: int, now_ns: Callable[[], int], most: int
) -> Tiles:
    """Inputs for `tiles` tiles of `kernel`, at most `most` of them distinct.

    source: speech, random, or path of an audio file. now_ns: clock for the preprocessing time.
    RequestError for an unknown kernel, and for audio that cannot be read or is silent. Cached: the
    jobs of a sweep share the tiles and the measured time.
    """
    spec = load_kernel(kernel)
    # A period of 0 would have no modulo.
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
            f"workload.source={source}: all its tiles are the same (silence?), "
            "so swapped tiles could not be detected; give other audio"
        )
    return tiles_of_speech


def make_chain_tiles(
    chain: Chain, tiles: int, source: str, seed: int, now_ns: Callable[[], int], most: int
) -> Tiles:
    """Inputs for the first kernel of a chain as in `make_tiles`, and constants for the others."""
    first, *later = chain.kernels
    first_tiles = make_tiles(first.name, tiles, source, seed, now_ns, most)
    if not later:
        return first_tiles
    # One tile is enough: only its constants are used.
    others = [make_tiles(spec.name, 1, "random", seed, now_ns, 1) for spec in later]
    constants = tuple(each.constants[0] for each in others)
    return replace(first_tiles, chain=chain, later_constants=constants)


def make_activations(frames: int, width: int, source: str, seed: int) -> Array:
    """The input of an encoder's layer, (frames, width) int8: frames of log-mel, projected.

    A clip with fewer frames repeats. RequestError for audio that cannot be read.
    """
    if source == "random":
        return np.random.default_rng(seed).integers(-64, 64, (frames, width), np.int8)
    from harness.inputs.audio import log_mel, project

    mel = log_mel(_samples(source))
    (projected,) = project(np.resize(mel, (frames, mel.shape[1])), [width], seed, 0)
    return projected


def _random(spec: KernelSpec, period: int, seed: int) -> tuple[Bytes, ...]:
    """Uniform int8 in [-64, 63], the range of the guide's own tests."""
    generator = np.random.default_rng(seed)

    def draw(part: Part) -> Array:
        return generator.integers(-64, 64, (period, *part.shape), np.int8)

    return _pack(spec, period, seed, draw)


def _pack(
    spec: KernelSpec, period: int, seed: int, cut: Callable[[Part], Array]
) -> tuple[Bytes, ...]:
    """Pack the arrays of all parts into one (period, size_bytes) uint8 per input buffer.

    cut: returns (period, *shape) int8 for a varying part. Constants are uniform int8 in [-64, 63].
    They have their own random stream, so neither `period` nor the varying parts change them.
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
    """Tiles of speech: rows of a varying part are frames of log-mel, projected to its width.

    When the clip ends, it begins again with another projection (the next head). The measured host
    time is that of reading, log-mel and one head, whatever the number of tiles.
    """
    from harness.inputs.audio import SAMPLE_RATE_HZ, log_mel, project

    parts = [part for part in spec.parts if not part.constant]
    rows = [int(np.prod(part.shape[:-1], dtype=int)) for part in parts]
    widths = [part.shape[-1] for part in parts]
    # The first call imports modules, which is not preprocessing.
    _samples(source)
    begin_ns = now_ns()
    samples = _samples(source)
    mel = log_mel(samples)
    project(mel, widths, seed, 0)
    host_ns = now_ns() - begin_ns
    # A clip shorter than a tile repeats.
    mel = np.resize(mel, (max(len(mel), TILE_FRAMES, *rows), mel.shape[1]))
    starts = _starts(mel, max(rows))
    pieces: list[list[Bytes]] = [[] for _ in parts]
    for head in range(-(-period // len(starts))):
        frames = project(mel, widths, seed, head)
        for piece, part, count, projected in zip(pieces, parts, rows, frames, strict=True):
            cut = projected[starts[:, None] + np.arange(count)]
            piece.append(cut.reshape(len(starts), *part.shape))
    arrays = iter([np.concatenate(piece)[:period] for piece in pieces])
    # `_pack` calls this once for each varying part, in the order of `arrays`.
    packed = _pack(spec, period, seed, lambda part: next(arrays))
    return Tiles(Chain((spec,)), packed, len(samples) / SAMPLE_RATE_HZ, host_ns)


def _starts(mel: NDArray[np.float32], count: int) -> NDArray[np.intp]:
    """First frames of the tiles of one head, each `count` frames long.

    Short tiles of silence are equal, so of equal tiles only one is used.
    """
    # Tiles of few rows begin as far apart as those of attention, or neighbours would be nearly
    # equal.
    step = max(TILE_FRAMES, count)
    starts = np.arange(len(mel) // step) * step
    if count < TILE_FRAMES:
        cuts = mel[starts[:, None] + np.arange(count)].reshape(len(starts), -1)
        starts = np.sort(starts[np.unique(cuts, axis=0, return_index=True)[1]])
    return starts


def _samples(source: str) -> NDArray[np.float32]:
    from harness.inputs.audio import CLIP, load_audio

    return load_audio(CLIP if source == "speech" else Path(source))
