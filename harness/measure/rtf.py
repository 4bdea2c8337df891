"""Realtime factors (RTF): seconds of audio per second of preprocessing and encoder."""

from __future__ import annotations

from dataclasses import dataclass

from harness.measure.totals import Totals
from harness.units import NS_PER_S


@dataclass(frozen=True)
class Audio:
    """The audio that an RTF is about.

    seconds: length of the audio. host_ns: preprocessing time on the host. tiles: number of tiles
    that encode it; None if the kernel is not part of an encoder. overlaps: the audio is a stream,
    and the host preprocesses its next piece while the encoder waits for the device.
    """

    seconds: float
    host_ns: int
    tiles: float | None
    overlaps: bool = False


@dataclass(frozen=True)
class EncoderTime:
    """Seconds to encode some audio: preprocessing, and the encoder's host and device parts."""

    preprocessing_s: float
    host_s: float
    device_s: float
    overlaps: bool

    @property
    def encoder_s(self) -> float:
        """Time of the encoder without preprocessing."""
        return self.host_s + self.device_s

    @property
    def whole_s(self) -> float:
        """Time from audio to encoding; for a stream, from one encoding to the next.

        One host thread does all host work, so only the device's part overlaps with preprocessing.
        """
        if self.overlaps:
            return self.host_s + max(self.device_s, self.preprocessing_s)
        return self.preprocessing_s + self.encoder_s


def encoder_time(totals: Totals, audio: Audio) -> EncoderTime | None:
    """Scale the times of a pass to the tiles of the audio; None if no tiles encode it.

    Waiting and opening contexts count as the device's time. So does the part of a launch that
    waits for a place in a full queue, if device timestamps show it (`bounds.Bounds`).
    """
    if audio.tiles is None or not totals.tiles:
        return None
    scale = audio.tiles / totals.tiles / NS_PER_S
    host_ns = totals.makespan_ns - totals.wait_ns - totals.open_ns
    # The difference above still contains launches that waited for a place in the queue.
    if totals.host_bound_ns is not None:
        host_ns = min(host_ns, totals.host_bound_ns)
    device_ns = totals.makespan_ns - host_ns
    return EncoderTime(audio.host_ns / NS_PER_S, host_ns * scale, device_ns * scale, audio.overlaps)


def rtf_end_to_end(totals: Totals, audio: Audio) -> float | None:
    """Length of the audio divided by the time of preprocessing and encoder."""
    time = encoder_time(totals, audio)
    # 0 s: a profile in which everything is free, with no preprocessing.
    return audio.seconds / time.whole_s if time and time.whole_s else None


def rtf_encoder(totals: Totals, audio: Audio) -> float | None:
    """Length of the audio divided by the time of the encoder alone."""
    time = encoder_time(totals, audio)
    return audio.seconds / time.encoder_s if time and time.encoder_s else None


def rtf_ceiling(audio: Audio) -> float | None:
    """The end-to-end factor if the encoder took no time; None if no tiles encode the audio."""
    if audio.tiles is None or not audio.host_ns:
        return None
    return audio.seconds * NS_PER_S / audio.host_ns
