"""Audio to int8: log-mel against librosa and transformers, reading against soundfile's files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import RequestError
from harness.inputs.audio import CLIP, load_audio, log_mel, mel_filters, project

# librosa and Whisper's extractor use float32 filters or round: a few float32 units near 1.
TOLERANCE = 2e-6
LIBROSA = Path(__file__).parents[1] / "data" / "librosa.npz"
"""What librosa computes; `write_librosa.py` wrote it."""


@pytest.fixture(scope="module")
def clip():
    return load_audio(CLIP)


@pytest.fixture(scope="module")
def mel(clip):
    return log_mel(clip)


def noise(samples, seed=0, spread=0.1):
    return np.random.default_rng(seed).normal(0, spread, samples).astype(np.float32)


@pytest.fixture(scope="module")
def librosa():
    with np.load(LIBROSA) as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def transformers_log_mel():
    # Its import takes a second of each process that collects tests.
    from transformers.audio_utils import mel_filter_bank, spectrogram, window_function

    filters = mel_filter_bank(201, 80, 0.0, 8000.0, 16_000, norm="slaney", mel_scale="slaney")
    hann = window_function(400, "hann")

    def compute(samples):
        log = spectrogram(
            samples.astype(np.float64),
            hann,
            frame_length=400,
            hop_length=160,
            power=2.0,
            mel_filters=filters,
            log_mel="log10",
            dtype=np.float64,
        )[:, :-1]
        return ((np.maximum(log, log.max() - 8) + 4) / 4).T

    return compute


# The clip


def test_packaged_clip_is_eleven_seconds_of_16_bit_mono():
    info = soundfile.info(CLIP)
    assert (info.frames, info.samplerate, info.channels) == (176_000, 16_000, 1)
    assert (info.format, info.subtype) == ("FLAC", "PCM_16")
    assert CLIP.stat().st_size < 400_000


def test_packaged_clip_is_neither_clipped_nor_silent(clip):
    assert (clip.shape, clip.dtype) == ((176_000,), np.float32)
    assert 0.5 < np.abs(clip).max() < 1
    assert 0.03 < clip.std() < 0.3


# load_audio


def saved(path, samples, rate_hz=16_000, subtype="FLOAT"):
    soundfile.write(path, samples, rate_hz, format="WAV", subtype=subtype)
    return path


def stereo_sine(rate_hz, samples):
    left = 0.8 * np.sin(2 * np.pi * 1000 * np.arange(samples) / rate_hz)
    return np.column_stack([left, np.zeros(samples)])


@pytest.mark.parametrize(
    ("rate_hz", "samples"), [(44_100, 44_100), (8_000, 8_001), (16_000, 16_000), (48_000, 50_000)]
)
def test_stereo_at_any_rate_becomes_mono_at_16_khz(tmp_path, rate_hz, samples):
    sound = load_audio(saved(tmp_path / "sine.wav", stereo_sine(rate_hz, samples), rate_hz))
    assert (sound.shape, sound.dtype) == ((-(-samples * 16_000 // rate_hz),), np.float32)
    # The sine at half its height, since one channel is silent; the resampler distorts the ends.
    expected = 0.4 * np.sin(2 * np.pi * 1000 * np.arange(len(sound)) / 16_000)
    np.testing.assert_allclose(sound[200:-200], expected[200:-200], atol=2e-3)


def test_what_exceeds_one_is_clipped(tmp_path):
    sound = load_audio(saved(tmp_path / "loud.wav", np.array([3.0, -3.4e38, 0.5, -1.0])))
    assert sound.tolist() == [1, -1, 0.5, -1]


def test_resampling_does_not_overshoot_one(tmp_path):
    square = np.sign(np.sin(np.arange(4_410) / 20))
    assert np.abs(load_audio(saved(tmp_path / "square.wav", square, 44_100))).max() == 1


@pytest.mark.parametrize("format_", ["FLAC", "OGG", "MP3", "AIFF"])
def test_other_formats_are_read_whatever_their_suffix(tmp_path, format_):
    path = tmp_path / "sound.raw"
    with path.open("wb") as file:
        soundfile.write(file, noise(16_000), 16_000, format=format_)
    assert abs(len(load_audio(path)) - 16_000) <= 1_152  # an MP3 may gain or lose a frame


def written(path, content):
    path.write_bytes(content)
    return path


NOT_AUDIO = "not audio that libsndfile can read"
NOT_FINITE = "holds NaN or infinite samples"
BAD_FILES = {
    "missing": ("no such file", lambda folder: folder / "missing.wav"),
    "directory": ("is a directory", lambda folder: folder),
    "text": (NOT_AUDIO, lambda folder: written(folder / "notes.wav", b"not a sound")),
    "headerless": (NOT_AUDIO, lambda folder: written(folder / "sound.raw", bytes(1_000))),
    "no bytes": (NOT_AUDIO, lambda folder: written(folder / "empty.flac", b"")),
    "cut off": (NOT_AUDIO, lambda folder: written(folder / "half.flac", CLIP.read_bytes()[:20])),
    "no samples": ("holds no samples", lambda folder: saved(folder / "none.wav", np.zeros(0))),
    "nan": (NOT_FINITE, lambda folder: saved(folder / "nan.wav", np.array([0, np.nan]))),
    "infinity": (
        NOT_FINITE,
        lambda folder: saved(folder / "inf.wav", np.array([[np.inf, -np.inf]])),
    ),
    "rate": (
        "has a sample rate of 999 Hz; allowed: 1000 to 768000",
        lambda folder: saved(folder / "slow.wav", noise(9), 999),
    ),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_file_is_refused_in_one_line_that_says_what_to_do(tmp_path, name):
    fault, make = BAD_FILES[name]
    path = make(tmp_path)
    with pytest.raises(RequestError) as refused:
        load_audio(path)
    message = str(refused.value)
    assert message.startswith(f"workload.source={path}: {fault}")
    assert message.endswith(
        "; give speech, random, zeros, an audio file that libsndfile reads (wav, flac, ogg, mp3), "
        "or a file of arrays (.npy, .npz, .safetensors)"
    )
    assert "\n" not in message


def test_a_header_that_claims_more_than_the_memory_holds_is_refused(monkeypatch):
    def read(*_args, **_kwargs):
        raise MemoryError

    monkeypatch.setattr(soundfile, "read", read)
    with pytest.raises(
        RequestError, match="too long for this machine's memory, or its header is damaged"
    ):
        load_audio(CLIP)


# log_mel


def test_filters_equal_librosa(librosa):
    np.testing.assert_allclose(mel_filters(), librosa["filters"], rtol=1e-9, atol=1e-15)


def test_the_clip_equals_librosa(mel, librosa):
    np.testing.assert_allclose(mel, librosa["log_mel"], rtol=0, atol=TOLERANCE)


@settings(max_examples=25)
@given(samples=st.integers(401, 5_000), seed=st.integers(0, 2**32))
def test_noise_of_any_length_equals_transformers(transformers_log_mel, samples, seed):
    sound = noise(samples, seed)
    np.testing.assert_allclose(log_mel(sound), transformers_log_mel(sound), rtol=0, atol=TOLERANCE)


def test_the_clip_equals_whisper(clip, mel):
    """Whisper pads to 30 s first: only the last window reaches past the clip, and it sees zeros.

    Ours sees a mirror. The clip ends in silence, so both have the same largest value, from which
    the range of 8 hangs.
    """
    from transformers import WhisperFeatureExtractor

    whisper = (
        WhisperFeatureExtractor()(clip, sampling_rate=16_000, return_tensors="np")
        .input_features[0]
        .T
    )
    assert (mel.shape, whisper.shape) == ((1_100, 80), (3_000, 80))
    np.testing.assert_allclose(mel[:1_099], whisper[:1_099], rtol=0, atol=TOLERANCE)


@settings(max_examples=60)
@given(
    samples=st.integers(1, 2_000),
    seed=st.integers(0, 2**32),
    spread=st.sampled_from([0.0, 1e-6, 0.1, 1.0]),
)
def test_any_length_gives_whole_hops_within_the_range(samples, seed, spread):
    log = log_mel(noise(samples, seed, spread))
    assert (log.shape, log.dtype) == ((max(1, samples // 160), 80), np.float32)
    assert np.isfinite(log).all()
    assert log.min() >= -1.5  # (log10(1e-10) + 4) / 4
    assert log.max() - log.min() <= 2 + 1e-6


def test_silence_is_the_floor():
    assert np.unique(log_mel(np.zeros(1_000, np.float32))).tolist() == [-1.5]


def test_no_samples_are_refused():
    with pytest.raises(ValueError, match="give at least one"):
        log_mel(np.zeros(0, np.float32))


@settings(max_examples=25)
@given(gain=st.floats(0.05, 20))
def test_a_gain_adds_a_constant_above_the_floor(gain):
    sound = noise(3_200, spread=1)
    np.testing.assert_allclose(
        log_mel((sound * gain).astype(np.float32)) - log_mel(sound), np.log10(gain) / 2, atol=1e-5
    )


def test_a_hop_later_is_a_frame_later():
    sound = noise(4_800)
    np.testing.assert_allclose(log_mel(sound)[3:-2], log_mel(sound[160:])[2:-2], atol=1e-6)


# project


def test_projections_are_quantised_to_the_full_symmetric_range(mel):
    for array, width in zip(project(mel, (64, 16, 1), 0, 0), (64, 16, 1), strict=True):
        assert (array.shape, array.dtype) == ((1_100, width), np.int8)
        assert np.abs(array.astype(int)).max() == 127


def assert_nearest(mel, seed, head, width):
    """Every value is within half a step of the projection, worked out here without the package."""
    (quantised,) = project(mel, (width,), seed, head)
    weights = np.random.default_rng([seed, head]).standard_normal((80, width))
    projection = (mel - mel.mean(axis=0, dtype=np.float64)) @ weights
    step = np.abs(projection).max() / 127
    assert quantised.min() >= -127
    assert np.abs(quantised - projection / step).max() <= 0.5 + 1e-9


def test_speech_is_quantised_to_the_nearest_step(mel):
    assert_nearest(mel, seed=0, head=0, width=64)


@settings(max_examples=25)
@given(
    seed=st.integers(0, 2**32),
    head=st.integers(0, 1000),
    frames=st.integers(2, 80),
    spread=st.floats(1e-30, 1e30),
)
def test_any_spectrum_is_quantised_to_the_nearest_step(seed, head, frames, spread):
    assert_nearest(noise((frames, 80), seed, spread), seed, head, width=8)


@pytest.mark.parametrize("level", [0, 0.1, -1.5, 1e-30])
@pytest.mark.parametrize("frames", [1, 7, 1_100])
def test_a_constant_spectrum_gives_zeros(frames, level):
    arrays = project(np.full((frames, 80), level, np.float32), (64, 8), 0, 0)
    assert not any(array.any() for array in arrays)


def test_seed_and_head_fix_the_projection(mel):
    first = project(mel, (64, 64, 64), 1, 2)
    for one, same in zip(first, project(mel, (64, 64, 64, 8), 1, 2), strict=False):
        np.testing.assert_array_equal(one, same)
    others = [*first[1:], *project(mel, (64, 64, 64), 1, 3), *project(mel, (64, 64, 64), 2, 2)]
    for other in others:
        assert np.mean(first[0] == other) < 0.2


def test_a_louder_clip_projects_to_the_same_tiles():
    """A gain adds a constant to every band, and the mean is removed; only rounding is left."""
    sound = noise(16_000, spread=1)
    (quiet,), (loud,) = (
        project(log_mel(sound * gain), (64,), 0, 0) for gain in (np.float32(1), np.float32(8))
    )
    assert np.mean(quiet == loud) > 0.999
