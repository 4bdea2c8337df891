"""Checks what tiles are made from, before a run: the source, the range, the files of arrays."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from harness.errors import RequestError
from harness.inputs.array_file import (
    CONSTANTS,
    SOURCE,
    check_constants,
    constants_from,
    is_array_file,
    read_arrays,
    tiles_from,
)
from harness.inputs.draw import DEFAULT_DRAW, Draw
from harness.inputs.speech import SPEECH, samples_of
from harness.kernel import KernelSpec

RANDOM, ZEROS = "random", "zeros"
"""Sources that need no file."""
States = tuple[tuple[int, int], ...]


def states_of(*paths: str) -> States:
    """Time of change and size of each path that is a file, for caches."""
    found = [Path(each).stat() for each in paths if each and Path(each).is_file()]
    return tuple((state.st_mtime_ns, state.st_size) for state in found)


def is_audio(source: str) -> bool:
    """Whether tiles of `source` are made from audio."""
    return source not in (RANDOM, ZEROS) and not is_array_file(source)


def input_files(source: str, constants: str = "") -> tuple[str, ...]:
    """Paths of the files that tiles are made from, besides the packaged clip."""
    named = (constants, "" if source in (RANDOM, ZEROS, SPEECH) else source)
    return tuple(each for each in named if each)


def check_inputs(
    specs: Sequence[KernelSpec], source: str, draw: Draw = DEFAULT_DRAW, constants: str = ""
) -> None:
    """RequestError for a source, a range or a file of constants that does not fit the kernels.

    specs: the kernels of a chain, in order.
    """
    first = specs[0]
    varying = [part for part in first.parts if not part.constant]
    if not varying:
        raise RequestError(
            f"kernel {first.name}: all its inputs are constant; tiles need one that differs"
        )
    for part in varying:
        draw.check(part.name, part.dtype)
    if is_audio(source):
        _check_audio(source, states_of(source))
    if is_array_file(source) or constants:
        _check_files(tuple(specs), source, constants, states_of(source, constants))


@lru_cache(maxsize=8)
def _check_audio(source: str, _: States) -> None:
    """Cached, because every job of a sweep calls it."""
    samples_of(source)


@lru_cache(maxsize=8)
def _check_files(specs: tuple[KernelSpec, ...], source: str, constants: str, _: States) -> None:
    """Cached as `_check_audio`."""
    if is_array_file(source):
        arrays = read_arrays(SOURCE, source)
        tiles_from(arrays, source, specs[0])
        constants_from(SOURCE, source, arrays, specs[0])
    if constants:
        check_constants(constants, read_arrays(CONSTANTS, constants), specs)
