"""The sizes of Whisper's encoders."""

from __future__ import annotations

from dataclasses import dataclass

from harness.errors import RequestError, check_range, nearest

FRAMES_PER_S = 50
"""Log-mel has 100 frames per second; the second convolution, of stride 2, halves their number."""


@dataclass(frozen=True)
class Encoder:
    """Sizes of one encoder. frames: positions of a window after the convolutions.

    RequestError if a size is below 1, or d_model is not a multiple of heads.
    """

    name: str
    layers: int
    heads: int
    d_model: int
    ffn: int
    frames: int = 1500
    mels: int = 80

    def __post_init__(self) -> None:
        for key in ("layers", "heads", "d_model", "ffn", "frames", "mels"):
            check_range(f"encoder.{key}", getattr(self, key), 1)
        if self.d_model % self.heads:
            raise RequestError(
                f"encoder.heads={self.heads}: not allowed; give a divisor of d_model={self.d_model}"
            )

    @property
    def head_width(self) -> int:
        """Values per head and frame; 64 in every Whisper."""
        return self.d_model // self.heads

    @property
    def audio_s(self) -> float:
        """Seconds of audio in a window."""
        return self.frames / FRAMES_PER_S


ENCODERS = {
    encoder.name: encoder
    for encoder in (
        Encoder("whisper_tiny", layers=4, heads=6, d_model=384, ffn=1536),
        Encoder("whisper_base", layers=6, heads=8, d_model=512, ffn=2048),
        Encoder("whisper_small", layers=12, heads=12, d_model=768, ffn=3072),
    )
}
"""Encoders by name. The sizes are encoder_layers, encoder_attention_heads, d_model,
encoder_ffn_dim, max_source_positions and num_mel_bins in config.json of openai/whisper-tiny, -base
and -small (Hugging Face). In the checkpoints of openai/whisper they are n_audio_layer,
n_audio_head, n_audio_state, 4 * n_audio_state, n_audio_ctx and n_mels."""


def encoder_of(name: str, key: str = "model") -> Encoder:
    """Return one of ENCODERS; RequestError for another name. `key` leads the message."""
    if name not in ENCODERS:
        raise RequestError(f"{key}={name}: no such encoder; {nearest(name, ENCODERS)}")
    return ENCODERS[name]
