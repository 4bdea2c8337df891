"""The table of all metrics. Records, MLflow, terminal tables and docs are derived from it.

To add a metric, add a row to TABLE:

    Metric(
        "time/read_ms", Unit.ms, Better.lower, "Host time to sync and read outputs, mean per tile.",
        per_tile(lambda totals: totals.read_ns), heading="read",
    )
"""

from __future__ import annotations

from harness.measure.metric import (
    Better,
    Measurement,
    Metric,
    Metrics,
    Unit,
    as_ms,
    interval,
    of_audio,
    of_totals,
    per_tile,
    ratio,
    residual_pct,
    self_us,
)
from harness.measure.overlap_metrics import OVERLAP
from harness.measure.rtf import rtf_ceiling, rtf_encoder, rtf_end_to_end
from harness.measure.throughput import THROUGHPUT
from harness.measure.timeline import Spans, Timeline
from harness.measure.totals import totals_of
from harness.units import NS_PER_S, ns_to_ms

TABLE = (
    Metric(
        "time/total_ms",
        Unit.ms,
        Better.lower,
        "One pass over the workload's tiles, from the first stage-in to the last collect.",
        of_totals(lambda totals: ns_to_ms(totals.makespan_ns)),
    ),
    Metric(
        "time/tile_ms",
        Unit.ms,
        Better.lower,
        "time/total_ms divided by the number of tiles.",
        per_tile(lambda totals: totals.makespan_ns),
        "ms/tile",
    ),
    Metric(
        "time/interval_p50_ms",
        Unit.ms,
        Better.lower,
        # A single pass rarely has the samples that a percentile needs (`stats.samples_needed`).
        "Median time from one completion to the next, over all timed passes.",
        interval(0.50),
    ),
    Metric(
        "time/interval_p95_ms",
        Unit.ms,
        Better.lower,
        "95th percentile of the time from one completion to the next.",
        interval(0.95),
    ),
    Metric(
        "time/interval_p99_ms",
        Unit.ms,
        Better.lower,
        "99th percentile of the time from one completion to the next.",
        interval(0.99),
    ),
    Metric(
        "time/open_ms",
        Unit.ms,
        Better.lower,
        "Time to open hardware contexts during the pass, where kernels take turns; mean per tile.",
        per_tile(lambda totals: totals.open_ns),
        "open",
    ),
    Metric(
        "time/alloc_ms",
        Unit.ms,
        Better.lower,
        "Host time to allocate buffer objects, mean per tile.",
        per_tile(lambda totals: totals.alloc_ns),
        "alloc",
    ),
    Metric(
        "time/write_ms",
        Unit.ms,
        Better.lower,
        "Host time to write inputs and sync them to the device, mean per tile.",
        per_tile(lambda totals: totals.write_ns),
        "write",
    ),
    Metric(
        "time/launch_ms",
        Unit.ms,
        Better.lower,
        "Host time to start runs, mean per tile.",
        per_tile(lambda totals: totals.launch_ns),
        "launch",
    ),
    Metric(
        "time/wait_ms",
        Unit.ms,
        Better.lower,
        "Host time spent waiting for completion, mean per tile.",
        per_tile(lambda totals: totals.wait_ns),
        "wait",
    ),
    Metric(
        "time/read_ms",
        Unit.ms,
        Better.lower,
        "Host time to sync outputs from the device and read them, mean per tile.",
        per_tile(lambda totals: totals.read_ns),
        "read",
    ),
    Metric(
        "time/exec_ms",
        Unit.ms,
        Better.lower,
        "Execution on the device, mean per tile; None without device timestamps.",
        per_tile(lambda totals: totals.exec_ns),
    ),
    Metric(
        "time/load_ms",
        Unit.ms,
        Better.lower,
        "Time that columns load contexts (first execution, turns, resume), mean per tile; None "
        "without device timestamps.",
        per_tile(lambda totals: totals.load_ns),
    ),
    *OVERLAP,
    Metric(
        "bound/total_ms",
        Unit.ms,
        Better.neither,
        "The shortest pass that the stage times allow.",
        of_totals(lambda totals: as_ms(totals.bound_ns)),
    ),
    Metric(
        "bound/ratio",
        Unit.factor,
        Better.lower,
        "time/total_ms divided by bound/total_ms; 1 is optimal.",
        of_totals(lambda totals: ratio(totals.makespan_ns, totals.bound_ns)),
        "/bound",
    ),
    Metric(
        "model/total_ms",
        Unit.ms,
        Better.neither,
        "time/total_ms as the model of a pass predicts it from the device's profile; None for runs "
        "that it does not cover.",
        lambda data: as_ms(data.predicted_ns) if data.totals else None,
        "model ms",
    ),
    Metric(
        "model/residual_pct",
        Unit.percent,
        Better.neither,
        "How much longer the pass took than the model predicts, in percent of the prediction.",
        residual_pct,
        "residual",
    ),
    Metric(
        "throughput/tiles_per_s",
        Unit.rate,
        Better.higher,
        "Tiles completed per second.",
        of_totals(lambda totals: ratio(totals.tiles * NS_PER_S, totals.makespan_ns)),
        "tiles/s",
    ),
    *THROUGHPUT,
    Metric(
        "rtf/end_to_end",
        Unit.realtime,
        Better.higher,
        "Seconds of audio per second of preprocessing and encoder.",
        of_audio(rtf_end_to_end),
        "RTF",
    ),
    Metric(
        "rtf/encoder",
        Unit.realtime,
        Better.higher,
        "Seconds of audio per second of the encoder alone.",
        of_audio(rtf_encoder),
    ),
    Metric(
        "rtf/ceiling",
        Unit.realtime,
        Better.neither,
        "The end-to-end factor if the encoder took no time.",
        of_audio(lambda totals, audio: rtf_ceiling(audio)),
    ),
    Metric(
        "verify/tiles",
        Unit.count,
        Better.neither,
        "Output tiles compared with the expected ones.",
        lambda data: data.verified,
    ),
    Metric(
        "verify/mismatches",
        Unit.count,
        Better.lower,
        "Output tiles that are not as expected.",
        lambda data: data.mismatches,
    ),
    Metric(
        "hazard/count",
        Unit.count,
        Better.lower,
        "Buffer hazards detected; None on devices that cannot detect them.",
        lambda data: data.hazards,
    ),
    Metric(
        "alloc/steady_state",
        Unit.count,
        Better.lower,
        "Buffer objects allocated during the timed pass.",
        lambda data: data.allocations,
    ),
    Metric(
        "speedup/vs_baseline",
        Unit.factor,
        Better.higher,
        "Time of the serial baseline of the same setting divided by this run's.",
        # A formula of two runs: `results.speedup` computes it, and tables and MLflow add it.
        None,
        "speed-up",
    ),
    Metric(
        "harness/self_us",
        Unit.us,
        Better.lower,
        "Host time per tile of the harness itself, between runtime calls; wall clock only.",
        of_totals(self_us),
    ),
)
METRICS = {metric.name: metric for metric in TABLE}
METRIC_NAMES = tuple(METRICS)
SPEEDUP = "speedup/vs_baseline"
SAMPLE = "sample/total_ms"
"""In MLflow only: time/total_ms of each timed pass; the pass is MLflow's step."""


def metrics_of(data: Measurement) -> Metrics:
    """Every metric of a run, in the order of the table."""
    return {metric.name: metric.compute(data) if metric.compute else None for metric in TABLE}


def pass_metrics(timeline: Timeline, intervals_ns: Spans) -> Metrics:
    """Metrics of one pass; `intervals_ns` as in `Measurement`."""
    return metrics_of(Measurement(totals_of(timeline), intervals_ns))
