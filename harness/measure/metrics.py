"""Metrics of a pass, from what it adds up to; their names are the same in the record, MLflow and the tables."""

from __future__ import annotations

from dataclasses import dataclass

from harness.measure.stats import percentile
from harness.measure.timeline import Spans, Timeline
from harness.measure.totals import Totals, totals_of
from harness.units import NS_PER_S, NS_PER_US, ns_to_ms

Metrics = dict[str, float | int | None]
METRIC_NAMES = (
    "time/total_ms",
    "time/tile_ms",
    "time/interval_p50_ms",
    "time/interval_p95_ms",
    "time/interval_p99_ms",
    "time/alloc_ms",
    "time/write_ms",
    "time/launch_ms",
    "time/wait_ms",
    "time/read_ms",
    "time/exec_ms",
    "dma/overhead_pct",
    "stall/count",
    "stall/total_ms",
    "device/utilisation",
    "overlap/efficiency",
    "bound/total_ms",
    "bound/ratio",
    "throughput/tiles_per_s",
    "rtf/end_to_end",
    "rtf/encoder",
    "rtf/ceiling",
    "verify/tiles",
    "verify/mismatches",
    "hazard/count",
    "alloc/steady_state",
    "speedup/vs_baseline",
    "harness/self_us",
)
"""Every record has all of them; None is what was not measured or cannot be seen."""


@dataclass(frozen=True)
class Audio:
    """What the RTF counts: seconds of audio, host preprocessing, tiles of its encoder (None: of another kernel).

    overlaps: whether it is of a stream, whose next piece is preprocessed while the encoder of this one is waited for.
    """

    seconds: float
    host_ns: int
    tiles: float | None
    overlaps: bool = False


def pass_metrics(timeline: Timeline, intervals: Spans) -> Metrics:
    """Metrics of one pass; `intervals`: completion intervals, ns, pooled over all timed passes."""
    return metrics_of(totals_of(timeline), intervals)


def metrics_of(totals: Totals, intervals: Spans) -> Metrics:
    """The same of what one pass or several add up to."""
    tiles, makespan = totals.tiles, totals.makespan_ns

    def per_tile_ms(time_ns: int | None) -> float | None:
        return None if time_ns is None or not tiles else ns_to_ms(time_ns / tiles)

    percentiles = {q: percentile(intervals, q / 100) for q in (50, 95, 99)}
    own_ns = makespan - totals.host_ns - totals.wait_ns - totals.open_ns
    return {
        "time/total_ms": ns_to_ms(makespan),
        "time/tile_ms": per_tile_ms(makespan),
        **{f"time/interval_p{q}_ms": _ms(ns) for q, ns in percentiles.items()},
        "time/alloc_ms": per_tile_ms(totals.alloc_ns),
        "time/write_ms": per_tile_ms(totals.write_ns),
        "time/launch_ms": per_tile_ms(totals.launch_ns),
        "time/wait_ms": per_tile_ms(totals.wait_ns),
        "time/read_ms": per_tile_ms(totals.read_ns),
        "time/exec_ms": per_tile_ms(totals.exec_ns),
        "dma/overhead_pct": 100 * (totals.write_ns + totals.read_ns) / makespan
        if makespan
        else None,
        "stall/count": totals.stalls,
        "stall/total_ms": _ms(totals.stall_ns),
        "device/utilisation": None
        if totals.exec_ns is None or not makespan
        else totals.exec_ns / (makespan * totals.columns),
        "overlap/efficiency": _efficiency(totals),
        "bound/total_ms": _ms(totals.bound_ns),
        "bound/ratio": makespan / totals.bound_ns if totals.bound_ns else None,
        "throughput/tiles_per_s": tiles * NS_PER_S / makespan if makespan else None,
        "harness/self_us": own_ns / tiles / NS_PER_US
        if totals.clock != "virtual" and tiles
        else None,
    }


def _ms(time_ns: float | None) -> float | None:
    return None if time_ns is None else ns_to_ms(time_ns)


def _efficiency(totals: Totals) -> float | None:
    """Overlap achieved: 1 = makespan at its bound, 0 = fully serial."""
    if totals.serial_ns is None or totals.bound_ns is None:
        return None
    possible_ns = totals.serial_ns - totals.bound_ns
    return (totals.serial_ns - totals.makespan_ns) / possible_ns if possible_ns > 0 else 1.0


def rtf_metrics(totals: Totals | None, audio: Audio) -> Metrics:
    """Realtime factors: seconds of audio per second of preprocessing and encoder; None where nothing was timed.

    rtf/ceiling is the end-to-end factor if the encoder took no time. None of them where no tile of this kernel counts.
    """
    if audio.tiles is None:
        return dict.fromkeys(("rtf/end_to_end", "rtf/encoder", "rtf/ceiling"))
    time = encoder_time(totals, audio) if totals and totals.tiles else None
    return {
        "rtf/end_to_end": audio.seconds / time.whole_s if time and time.whole_s else None,
        "rtf/encoder": audio.seconds / time.encoder_s if time and time.encoder_s else None,
        "rtf/ceiling": audio.seconds * NS_PER_S / audio.host_ns if audio.host_ns else None,
    }


@dataclass(frozen=True)
class EncoderTime:
    """Seconds that some audio takes: preprocessing; the encoder, as the host at work and waiting for the device."""

    preprocessing_s: float
    host_s: float
    device_s: float
    overlaps: bool

    @property
    def encoder_s(self) -> float:
        """Of the encoder alone."""
        return self.host_s + self.device_s

    @property
    def whole_s(self) -> float:
        """From audio to encoding; of a stream, from one encoding to the next: there is one host thread to do it all."""
        if self.overlaps:
            return self.host_s + max(self.device_s, self.preprocessing_s)
        return self.preprocessing_s + self.encoder_s


def encoder_time(totals: Totals, audio: Audio) -> EncoderTime:
    """What the audio takes by the times of a pass; waiting, and contexts being opened, are the device's.

    So is what a launch takes because the queue is full, where the device's timestamps tell (`bounds.Bounds`).
    """
    assert audio.tiles is not None  # else nothing is counted
    passes = audio.tiles / totals.tiles / NS_PER_S
    host_ns = totals.makespan_ns - totals.wait_ns - totals.open_ns
    if totals.host_bound_ns is not None:
        host_ns = min(host_ns, totals.host_bound_ns)
    waited_ns = totals.makespan_ns - host_ns
    return EncoderTime(
        audio.host_ns / NS_PER_S, host_ns * passes, waited_ns * passes, audio.overlaps
    )
