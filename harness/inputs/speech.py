"""Cuts tiles from speech: rows of an array are frames of log-mel, projected to its width."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.inputs.draw import from_int8
from harness.kernel import Array, Part

SPEECH = "speech"
"""The source that is the packaged clip; others are paths."""
TILE_FRAMES = 64
"""Least distance in frames between the begins of two tiles: the frames of an attention tile."""


@dataclass(frozen=True)
class Cut:
    """Arrays (tiles, *shape), one for each part; seconds of audio; time to preprocess it."""

    arrays: list[Array]
    audio_s: float
    host_ns: int


def cut_speech(
    parts: Sequence[Part], tiles: int, source: str, seed: int, now_ns: Callable[[], int]
) -> Cut:
    """Arrays of `tiles` tiles for parts; a part without dimensions has a row of one value.

    The projection has int8 values in units of 1/32; `from_int8` converts them to other types. When
    the clip ends, it begins again with another projection (the next head). The measured host time
    is that of reading, log-mel and one head, whatever the number of tiles.
    """
    from harness.inputs.audio import SAMPLE_RATE_HZ, log_mel, project

    rows = [int(np.prod(part.shape[:-1], dtype=int)) for part in parts]
    widths = [part.shape[-1] if part.shape else 1 for part in parts]
    # The first call imports modules, which is not preprocessing.
    samples_of(source)
    begin_ns = now_ns()
    samples = samples_of(source)
    mel = log_mel(samples)
    project(mel, widths, seed, 0)
    host_ns = now_ns() - begin_ns
    # A clip shorter than a tile repeats.
    mel = np.resize(mel, (max(len(mel), TILE_FRAMES, *rows), mel.shape[1]))
    starts = _starts(mel, max(rows))
    pieces: list[list[Array]] = [[] for _ in parts]
    for head in range(-(-tiles // len(starts))):
        frames = project(mel, widths, seed, head)
        for piece, part, count, projected in zip(pieces, parts, rows, frames, strict=True):
            cut = projected[starts[:, None] + np.arange(count)]
            piece.append(from_int8(cut.reshape(len(starts), *part.shape), part.dtype))
    arrays = [np.concatenate(piece)[:tiles] for piece in pieces]
    return Cut(arrays, len(samples) / SAMPLE_RATE_HZ, host_ns)


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


def samples_of(source: str) -> NDArray[np.float32]:
    """The audio of a source, as `harness.inputs.audio.load_audio` returns it."""
    from harness.inputs.audio import CLIP, load_audio

    return load_audio(CLIP if source == SPEECH else Path(source))
