"""Write tests/data/librosa.npz, librosa's log-mel spectrum of the packaged clip and its filters.

`pip install librosa==0.11.0`, then `python tests/inputs/write_librosa.py` from the root. The tests
read the file: librosa compiles itself for half a minute in each new environment.
"""

from __future__ import annotations

from pathlib import Path

import librosa
import numpy as np
from numpy.typing import NDArray

from harness.inputs.audio import CLIP, load_audio

PATH = Path(__file__).parents[1] / "data" / "librosa.npz"


def log_mel(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """(frames, 80), scaled as Whisper does."""
    power = librosa.feature.melspectrogram(
        y=samples.astype(np.float64),
        sr=16_000,
        n_fft=400,
        hop_length=160,
        n_mels=80,
        pad_mode="reflect",
    )[:, :-1]
    log = np.log10(np.maximum(power, 1e-10))
    scaled: NDArray[np.float32] = ((np.maximum(log, log.max() - 8) + 4) / 4).T.astype(np.float32)
    return scaled


if __name__ == "__main__":
    np.savez_compressed(
        PATH,
        filters=librosa.filters.mel(sr=16_000, n_fft=400, n_mels=80, dtype=np.float64),
        log_mel=log_mel(load_audio(CLIP)),
    )
