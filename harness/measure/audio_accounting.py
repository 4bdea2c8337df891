"""The guide's accounting of audio: how many tiles encode it, and how long preprocessing takes."""

from __future__ import annotations

from math import ceil

from harness.units import ms_to_ns

GUIDE_HOST_MS = 304.7
GUIDE_AUDIO_S = 11.0
"""Mel preprocessing takes 304.7 ms for 11 s of audio on the guide's machine (its fuller report)."""
GUIDE_TILES_PER_WINDOW = 6 * 1500 / 64
"""Whisper base: 6 blocks over 1500 frames per 30 s window, 64 frames per tile."""
GUIDE_KERNEL = "attention"
"""The guide counts tiles of this kernel, or of a chain that begins with it."""
GUIDE_ENCODER = "whisper_base"
"""The encoder whose tiles the guide counts."""
WINDOW_S = 30
"""Length of Whisper's input."""


def encoder_tiles(name: str, audio_s: float) -> float | None:
    """Number of tiles that encode `audio_s` seconds, in whole 30 s windows as in Whisper.

    name: a kernel or chain such as `attention+layernorm`. None if the guide counts no tiles of it,
    and without audio.
    """
    if not audio_s:
        return None
    # In a chain, attention may be fused with the next kernel (attention_layernorm).
    if name != GUIDE_KERNEL and not ("+" in name and name.startswith(GUIDE_KERNEL)):
        return None
    # Whisper pads the last window: 11 s take as many tiles as 30 s.
    return GUIDE_TILES_PER_WINDOW * max(1, ceil(audio_s / WINDOW_S))


def host_ns(host_ms: str, audio_s: float, measured_ns: int) -> int:
    """Preprocessing time for the RTF.

    host_ms: `guide` scales the guide's time to `audio_s`, `measured` returns measured_ns, and a
    number is the time in milliseconds.
    """
    if host_ms == "measured":
        return measured_ns
    if host_ms == "guide":
        return ms_to_ns(GUIDE_HOST_MS * audio_s / GUIDE_AUDIO_S)
    return ms_to_ns(float(host_ms))
