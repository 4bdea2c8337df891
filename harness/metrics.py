"""Metrics of a pass, from its timeline alone; their names are the same in the record, MLflow and the tables."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from harness.bounds import bounds, makespan_ns
from harness.stats import percentile
from harness.timeline import DEVICE_WORK, HOST, Spans, Stage, Timeline
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
    """What the RTF counts: seconds of audio, host preprocessing, tiles of its encoder (None: of another kernel)."""

    seconds: float
    host_ns: int
    tiles: float | None


def stalls_ns(timeline: Timeline) -> Spans | None:
    """Lengths of the stalls, or None where the device gave no timestamps.

    A stall is a gap between two pieces of a column's work: the column had finished all it was given, and the host
    had not launched more. Before a column's first launch (fill) and after its last completion (drain) is none. Of a
    chain, the contexts of all its kernels are one: some kernel is always idle.
    """
    if not timeline.has_device:
        return None
    gaps = [np.zeros(0, np.int64)]
    work = timeline.of(*DEVICE_WORK)
    for column in range(timeline.columns):
        rows = work[work[:, 3] == column]
        rows = rows[np.argsort(rows[:, 4], kind="stable")]
        gaps.append(rows[1:, 4] - np.maximum.accumulate(rows[:, 5])[:-1])
    lengths = np.concatenate(gaps)
    return lengths[lengths > 0]


def pass_metrics(timeline: Timeline, intervals: Spans) -> Metrics:
    """Metrics of one pass; `intervals`: completion intervals, ns, pooled over all timed passes."""
    tiles, makespan = timeline.tiles, makespan_ns(timeline)
    limits, stalls = bounds(timeline), stalls_ns(timeline)

    def per_tile_ms(*stages: Stage) -> float | None:
        return ns_to_ms(timeline.sum_ns(*stages) / tiles) if tiles else None

    transfer_ns = timeline.sum_ns(Stage.WRITE, Stage.READ)
    work_ns = timeline.sum_ns(*HOST)
    percentiles = {q: percentile(intervals, q / 100) for q in (50, 95, 99)}
    return {
        "time/total_ms": ns_to_ms(makespan),
        "time/tile_ms": ns_to_ms(makespan / tiles) if tiles else None,
        **{f"time/interval_p{q}_ms": None if ns is None else ns_to_ms(ns) for q, ns in percentiles.items()},
        "time/alloc_ms": per_tile_ms(Stage.ALLOC),
        "time/write_ms": per_tile_ms(Stage.WRITE),
        "time/launch_ms": per_tile_ms(Stage.LAUNCH),
        "time/wait_ms": per_tile_ms(Stage.WAIT),
        "time/read_ms": per_tile_ms(Stage.READ),
        "time/exec_ms": per_tile_ms(Stage.EXEC) if timeline.has_device else None,
        "dma/overhead_pct": 100 * transfer_ns / makespan if makespan else None,
        "stall/count": None if stalls is None else len(stalls),
        "stall/total_ms": None if stalls is None else ns_to_ms(stalls.sum()),
        "device/utilisation": timeline.sum_ns(Stage.EXEC) / (makespan * max(timeline.columns, timeline.held))
        if timeline.has_device and makespan
        else None,
        "overlap/efficiency": limits.efficiency if limits else None,
        "bound/total_ms": ns_to_ms(limits.bound_ns) if limits else None,
        "bound/ratio": limits.ratio if limits else None,
        "throughput/tiles_per_s": tiles * NS_PER_S / makespan if makespan else None,
        "harness/self_us": (makespan - work_ns) / tiles / NS_PER_US if timeline.clock != "virtual" and tiles else None,
    }


def rtf_metrics(tile_ns: float | None, audio: Audio) -> Metrics:
    """Realtime factors: seconds of audio per second of preprocessing and encoder; None without a tile time.

    rtf/ceiling is the end-to-end factor if device time were zero. None of them where no tile of this kernel counts.
    """
    if audio.tiles is None:
        return dict.fromkeys(("rtf/end_to_end", "rtf/encoder", "rtf/ceiling"))
    host_s, audio_s = audio.host_ns / NS_PER_S, audio.seconds
    encoder_s = None if tile_ns is None else tile_ns * audio.tiles / NS_PER_S
    whole_s = None if encoder_s is None else host_s + encoder_s
    return {
        "rtf/end_to_end": audio_s / whole_s if whole_s else None,
        "rtf/encoder": audio_s / encoder_s if encoder_s else None,
        "rtf/ceiling": audio_s / host_s if host_s else None,
    }
