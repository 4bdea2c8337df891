"""Converts an audio file to the int8 matrices that tiles are cut from.

A tile contains frames of 10 ms of the log-mel spectrum, projected with random weights. There are no
trained weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from math import gcd
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.errors import RequestError

CLIP = Path(__file__).parent / "data" / "speech.flac"
SAMPLE_RATE_HZ = 16_000
HOP_SAMPLES = 160
WINDOW_SAMPLES = 400
MEL_BANDS = 80

_REMEDY = (
    "give speech, random, zeros, an audio file that libsndfile reads (wav, flac, ogg, mp3), or a "
    "file of arrays (.npy, .npz, .safetensors)"
)


def load_audio(path: Path) -> NDArray[np.float32]:
    """Read an audio file as mono float32 at 16 kHz, clipped to [-1, 1]; at least one sample.

    Channels are averaged. Other sample rates (1 kHz to 768 kHz) are resampled to
    ceil(samples * 16000 / rate) samples. RequestError if the file is missing, unreadable, not
    audio, empty, or contains NaN or infinity.
    """
    frames, rate_hz = _read(path)
    if not frames.size:
        raise _refusal(path, "holds no samples")
    if not np.isfinite(frames).all():
        raise _refusal(path, "holds NaN or infinite samples")
    if not 1_000 <= rate_hz <= 768_000:
        raise _refusal(path, f"has a sample rate of {rate_hz} Hz; allowed: 1000 to 768000")
    # The sum of two of the largest float32 numbers overflows float32.
    samples = frames.mean(axis=1, dtype=np.float64)
    if rate_hz != SAMPLE_RATE_HZ:
        from scipy.signal import resample_poly

        common = gcd(SAMPLE_RATE_HZ, rate_hz)
        samples = resample_poly(samples, SAMPLE_RATE_HZ // common, rate_hz // common)
    mono: NDArray[np.float32] = np.clip(samples, -1, 1).astype(np.float32)
    return mono


def _read(path: Path) -> tuple[NDArray[np.float32], int]:
    """Samples (frames, channels) and the sample rate in Hz."""
    import soundfile

    try:
        # Open the file here: libsndfile reports a missing file as "System error", and chooses the
        # format of a path by its suffix.
        with path.open("rb") as file:
            frames, rate_hz = soundfile.read(
                file.fileno(), dtype="float32", always_2d=True, closefd=False
            )
            return frames, rate_hz
    except OSError as error:
        raise _refusal(path, (error.strerror or str(error)).lower()) from error
    except MemoryError as error:
        raise _refusal(
            path, "too long for this machine's memory, or its header is damaged"
        ) from error
    except soundfile.SoundFileError as error:
        raise _refusal(path, "not audio that libsndfile can read") from error


def _refusal(path: Path, fault: str) -> RequestError:
    return RequestError(f"workload.source={path}: {fault}; {_REMEDY}")


def log_mel(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Whisper's log-mel spectrum of 16 kHz samples, (frames, 80) float32.

    The number of frames is max(1, samples // 160).
    Frame i is centred on sample 160 i and has 400 samples under a periodic Hann window. The clip is
    mirrored at its ends (repeatedly if it is shorter than the window). The result is power, then 80
    mel bands, then log10 of at least 1e-10, at most 8 below the largest value, then (x + 4) / 4.
    Unlike Whisper's, the clip is not padded to 30 s; a clip shorter than a hop is padded to a hop
    with zeros. ValueError if there are no samples.

    Source: Radford et al., Robust Speech Recognition via Large-Scale Weak Supervision, 2022,
    section 2.2, and the feature extraction published with it.
    """
    if not samples.size:
        raise ValueError("log_mel: no samples; give at least one")
    clip = np.pad(samples, (0, max(0, HOP_SAMPLES - len(samples))))
    frames = len(clip) // HOP_SAMPLES
    mirrored = np.pad(clip.astype(np.float64), WINDOW_SAMPLES // 2, mode="reflect")
    cut = np.lib.stride_tricks.sliding_window_view(mirrored, WINDOW_SAMPLES)[::HOP_SAMPLES][:frames]
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW_SAMPLES) / WINDOW_SAMPLES)
    spectrum = np.fft.rfft(cut * hann)
    # abs() would take a square root only to square it again.
    power = spectrum.real**2 + spectrum.imag**2
    log = np.log10(np.maximum(power @ mel_filters().T, 1e-10))
    scaled: NDArray[np.float32] = ((np.maximum(log, log.max() - 8) + 4) / 4).astype(np.float32)
    return scaled


@cache
def mel_filters() -> NDArray[np.float64]:
    """Weights (80 bands, 201 bins): triangles of area 1, of equal width in mel, from 0 to 8000 Hz.

    Slaney's mel scale: 200/3 Hz per mel up to 1000 Hz, then 27 mels per factor of 6.4. Source:
    Slaney, Auditory Toolbox, Interval Research report 1998-010.
    """
    top_mel = 15 + 27 * np.log(8) / np.log(6.4)
    mel = np.linspace(0, top_mel, MEL_BANDS + 2)
    edges_hz = np.where(mel < 15, mel * 200 / 3, 1000 * 6.4 ** ((mel - 15) / 27))
    low, peak, high = (edges_hz[i : i + MEL_BANDS, None] for i in range(3))
    bins_hz = np.fft.rfftfreq(WINDOW_SAMPLES, 1 / SAMPLE_RATE_HZ)
    triangles = np.minimum((bins_hz - low) / (peak - low), (high - bins_hz) / (high - peak))
    filters: NDArray[np.float64] = np.maximum(triangles, 0) * 2 / (high - low)
    return filters


def project(
    mel: NDArray[np.float32], widths: Sequence[int], seed: int, head: int
) -> list[NDArray[np.int8]]:
    """Random Gaussian projections of mel (frames, bands): one (frames, width) int8 per width.

    The mean over the frames is removed first. Each result is quantised separately and
    symmetrically: the largest magnitude becomes 127, halves round to even, silence stays 0.
    seed, head: 0 or more; they determine the weights. The same pair gives the same array for a
    width, regardless of the widths after it.
    """
    weights = np.random.default_rng([seed, head])
    # In float64 the mean of a constant float32 band is exact. The difference is 0, not rounding
    # noise that the quantisation would scale up.
    centred = mel - mel.mean(axis=0, dtype=np.float64)
    return [_quantise(centred @ weights.standard_normal((mel.shape[1], width))) for width in widths]


def _quantise(values: NDArray[np.float64]) -> NDArray[np.int8]:
    peak = np.abs(values).max(initial=0)
    if peak == 0:
        return np.zeros(values.shape, np.int8)
    quantised: NDArray[np.int8] = np.rint(values / peak * 127).astype(np.int8)
    return quantised
