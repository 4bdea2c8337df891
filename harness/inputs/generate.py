"""Creates tiles from speech, numbers or files, and decides how many distinct ones a run needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache

import numpy as np

from harness.errors import RequestError
from harness.inputs.array_file import (
    CONSTANTS,
    SOURCE,
    Arrays,
    constants_from,
    is_array_file,
    read_arrays,
    tiles_from,
)
from harness.inputs.chain import Chain
from harness.inputs.check import States, check_inputs, states_of
from harness.inputs.draw import DEFAULT_DRAW, Draw
from harness.inputs.speech import cut_speech, samples_of
from harness.inputs.tiles import Tiles
from harness.kernel import Array, Bytes, KernelSpec, Part, load_kernel
from harness.kernel.dtypes import array_dtype
from harness.units import BYTES_PER_MIB

PRIMES = tuple(
    number for number in range(2, 1022) if all(number % each for each in range(2, number))
)
"""Possible numbers of distinct tiles; primes, because few numbers are multiples of a prime."""
MOST_DISTINCT_BYTES = 64 * BYTES_PER_MIB
"""Memory for inputs and expected outputs of all distinct tiles; more only if the slots need it."""
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


def make_tiles(
    kernel: str,
    tiles: int,
    source: str,
    seed: int,
    now_ns: Callable[[], int],
    most: int,
    *,
    draw: Draw = DEFAULT_DRAW,
    constants: str = "",
    between: int = 1,
) -> Tiles:
    """Inputs for `tiles` tiles of `kernel`, at most `most` of them distinct.

    source: speech, random, zeros, or path of an audio file or of a file of arrays
    (`harness.inputs.array_file`). now_ns: clock for the preprocessing time. draw: how random tiles
    are drawn. constants: path of a file of arrays for the constants, which are drawn from the seed
    otherwise. between: as in `distinct_tiles`. RequestError for an unknown kernel, a file that
    cannot be read or does not fit, and for audio that is silent. Cached until a file changes: the
    jobs of a sweep share the tiles and the measured time.
    """
    # By spec and not by name: a kernel may be declared anew in the same process.
    return _make_tiles(
        load_kernel(kernel),
        tiles,
        source,
        seed,
        now_ns,
        most,
        draw,
        constants,
        between,
        states_of(source, constants),
    )


@lru_cache(maxsize=8)
def _make_tiles(
    spec: KernelSpec,
    tiles: int,
    source: str,
    seed: int,
    now_ns: Callable[[], int],
    most: int,
    draw: Draw,
    constants: str,
    between: int,
    _: States,
) -> Tiles:
    # A period of 0 would have no modulo.
    period = max(1, min(tiles, most))
    check_inputs((spec,), "random", draw)
    known = _known_constants(spec, source, constants)
    varying = [part for part in spec.parts if not part.constant]
    if source == "random":
        return Tiles(Chain((spec,)), _random(spec, period, seed, draw, known), RANDOM_AUDIO_S, 0)
    if source == "zeros":
        packed = _pack(spec, 1, seed, known, _zeros)
        return Tiles(Chain((spec,)), packed, 0.0, 0, remarks=_equal_tiles(source, tiles))
    if is_array_file(source):
        return _of_file(spec, tiles, source, seed, period, between, known)
    cut = cut_speech(varying, period, source, seed, now_ns)
    # `_pack` asks for each varying part once, in order.
    arrays = iter(cut.arrays)
    packed = _pack(spec, period, seed, known, lambda part: next(arrays))
    if period > 1 and all((each == each[0]).all() for each in packed):
        raise RequestError(
            f"workload.source={source}: all its tiles are the same (silence?), "
            "so swapped tiles could not be detected; give other audio"
        )
    return Tiles(Chain((spec,)), packed, cut.audio_s, cut.host_ns)


def make_chain_tiles(
    chain: Chain,
    tiles: int,
    source: str,
    seed: int,
    now_ns: Callable[[], int],
    most: int,
    *,
    draw: Draw = DEFAULT_DRAW,
    constants: str = "",
    between: int = 1,
) -> Tiles:
    """Inputs for the first kernel of a chain as in `make_tiles`, and constants for the others.

    RequestError also for an array in the file of constants that no kernel takes.
    """
    first, *later = chain.kernels
    # Of the whole chain: `make_tiles` sees one kernel, and an array may be for another.
    check_inputs(chain.kernels, "random", draw, constants)
    first_tiles = make_tiles(
        first.name,
        *(tiles, source, seed, now_ns, most),
        draw=draw,
        constants=constants,
        between=between,
    )
    if not later:
        return first_tiles
    # One tile is enough: only its constants are used.
    others = [
        make_tiles(spec.name, 1, "random", seed, now_ns, 1, constants=constants) for spec in later
    ]
    later_constants = tuple(each.constants[0] for each in others)
    return replace(first_tiles, chain=chain, later_constants=later_constants)


def make_activations(frames: int, width: int, source: str, seed: int) -> Array:
    """The input of an encoder's layer, (frames, width) int8: frames of log-mel, projected.

    A clip with fewer frames repeats. RequestError for audio that cannot be read.
    """
    if source == "random":
        return np.random.default_rng(seed).integers(-64, 64, (frames, width), np.int8)
    from harness.inputs.audio import log_mel, project

    mel = log_mel(samples_of(source))
    (projected,) = project(np.resize(mel, (frames, mel.shape[1])), [width], seed, 0)
    return projected


def _known_constants(spec: KernelSpec, source: str, constants: str) -> Arrays:
    """The constants of a kernel that files have, by name of the part.

    Those of `workload.constants` count more than those of `workload.source`.
    """
    known: dict[str, Array] = {}
    if is_array_file(source):
        known |= constants_from(SOURCE, source, read_arrays(SOURCE, source), spec)
    if constants:
        known |= constants_from(CONSTANTS, constants, read_arrays(CONSTANTS, constants), spec)
    return known


def _equal_tiles(source: str, tiles: int) -> tuple[str, ...]:
    """The remark about tiles that are all the same; none for a single tile."""
    if tiles == 1:
        return ()
    return (
        f"workload.source={source}: all tiles are the same, so an output in the place of another "
        "tile's is not detected",
    )


def _of_file(
    spec: KernelSpec, tiles: int, source: str, seed: int, period: int, between: int, known: Arrays
) -> Tiles:
    """Tiles of a file of arrays, from its first on; they repeat if the file has too few."""
    arrays = tiles_from(read_arrays(SOURCE, source), source, spec)
    available = len(next(iter(arrays.values())))
    period = min(period, available)
    if period < tiles:
        # A slot must not get the same inputs again: a stale output would look right.
        period = next((each for each in range(period, 1, -1) if between % each), period)
    try:
        packed = _pack(spec, period, seed, known, lambda part: arrays[part.name][:period])
    # An int4 out of its range: only the values of the used tiles are read.
    except RequestError as error:
        raise RequestError(f"workload.source={source}: {error}") from error
    remarks = list[str]()
    if available < tiles:
        used = "they repeat" if period == available else f"the first {period} of them repeat"
        remarks.append(
            f"workload.source={source}: has {available} tile{'s' * (available > 1)}, fewer than "
            f"workload.tiles={tiles}; {used}"
        )
    if all((each == each[0]).all() for each in packed):
        remarks += _equal_tiles(source, tiles)
    return Tiles(Chain((spec,)), packed, 0.0, 0, remarks=tuple(remarks))


def _zeros(part: Part) -> Array:
    return np.zeros((1, *part.shape), array_dtype(part.dtype))


def _random(
    spec: KernelSpec, period: int, seed: int, draw: Draw, known: Arrays
) -> tuple[Bytes, ...]:
    generator = np.random.default_rng(seed)
    return _pack(
        spec,
        period,
        seed,
        known,
        lambda part: draw.array(generator, part.dtype, (period, *part.shape)),
    )


def _pack(
    spec: KernelSpec, period: int, seed: int, known: Arrays, cut: Callable[[Part], Array]
) -> tuple[Bytes, ...]:
    """Pack the arrays of all parts into one (period, size_bytes) uint8 per input buffer.

    cut: returns (period, *shape) for a varying part. known: constants by name; the others are drawn
    as `DEFAULT_DRAW` says, from their own random stream, so neither `period` nor the varying parts
    change them.
    """
    constants = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(0,)))

    def array(part: Part) -> Array:
        if not part.constant:
            return cut(part)
        # Drawn even if it is known: the others must not depend on the file.
        drawn = DEFAULT_DRAW.array(constants, part.dtype, part.shape)
        return np.broadcast_to(known.get(part.name, drawn), (period, *part.shape))

    return tuple(buffer.pack(*map(array, buffer.parts)) for buffer in spec.inputs)
