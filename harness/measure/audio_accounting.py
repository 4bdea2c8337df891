"""The guide's accounting of audio: tiles that encode it, and the preprocessing before them."""

from __future__ import annotations

from math import ceil

from harness.units import ms_to_ns

GUIDE_HOST_MS = 304.7
GUIDE_AUDIO_S = 11.0
"""Mel preprocessing takes 304.7 ms for 11 s of audio on the guide's machine (its fuller report)."""
GUIDE_TILES_PER_WINDOW = 6 * 1500 / 64
"""Of a Whisper base encoder: 6 blocks over 1500 frames, 64 frames a tile, per 30 s window."""
GUIDE_KERNEL = "attention"
"""A tile of the guide is of this kernel, or of a chain that begins with it."""
GUIDE_ENCODER = "whisper_base"
"""The one that the guide counts tiles of."""
WINDOW_S = 30


def encoder_tiles(name: str, audio_s: float) -> float | None:
    """Tiles that encode `audio_s` seconds: whole windows of 30 s, as Whisper pads them.

    name: of the kernel or the chain, `attention+layernorm`; None if the guide counts no tiles of
    it.
    """
    if name != GUIDE_KERNEL and not ("+" in name and name.startswith(GUIDE_KERNEL)):
        return None
    return GUIDE_TILES_PER_WINDOW * max(1, ceil(audio_s / WINDOW_S))


def host_ns(host_ms: str, audio_s: float, measured_ns: int) -> int:
    """Preprocessing that the RTF counts; host_ms: guide, measured, or milliseconds."""
    if host_ms == "measured":
        return measured_ns
    if host_ms == "guide":
        return ms_to_ns(GUIDE_HOST_MS * audio_s / GUIDE_AUDIO_S)
    return ms_to_ns(float(host_ms))
