"""Rows of the table of metrics: transfers, stalls, idle time, and overlap."""

from __future__ import annotations

from harness.measure.metric import Better, Metric, Unit, as_ms, of_totals, ratio
from harness.measure.totals import Totals


def _efficiency(totals: Totals) -> float | None:
    """Overlap achieved as a share of the possible overlap; 1 if none is possible."""
    if totals.serial_ns is None or totals.bound_ns is None:
        return None
    # 0 for a single submission, which has nothing to overlap with.
    possible_ns = totals.serial_ns - totals.bound_ns
    return (totals.serial_ns - totals.makespan_ns) / possible_ns if possible_ns > 0 else 1.0


def _hidden_transfer(totals: Totals) -> float | None:
    """Share of the transfers during which some column executes; None without transfers."""
    moved_ns = totals.write_ns + totals.read_ns
    return None if totals.exposed_ns is None else ratio(moved_ns - totals.exposed_ns, moved_ns)


OVERLAP = (
    Metric(
        "dma/overhead_pct",
        Unit.percent,
        Better.lower,
        "Share of the pass that the host spends writing and reading buffers.",
        of_totals(
            lambda totals: ratio(100 * (totals.write_ns + totals.read_ns), totals.makespan_ns)
        ),
    ),
    Metric(
        "dma/exposed_ms",
        Unit.ms,
        Better.lower,
        "Host time to write and read buffers during which no column executes.",
        of_totals(lambda totals: as_ms(totals.exposed_ns)),
    ),
    Metric(
        "stall/count",
        Unit.count,
        Better.lower,
        "Times that a column had nothing to do because the host had not launched.",
        of_totals(lambda totals: totals.stalls),
        "stalls",
    ),
    Metric(
        "stall/total_ms",
        Unit.ms,
        Better.lower,
        "Total length of the stalls.",
        of_totals(lambda totals: as_ms(totals.stall_ns)),
    ),
    Metric(
        "stall/host_busy_ms",
        Unit.ms,
        Better.lower,
        "Stalls that begin while the host works for another submission.",
        of_totals(lambda totals: as_ms(totals.stall_host_ns)),
    ),
    Metric(
        "stall/queue_full_ms",
        Unit.ms,
        Better.lower,
        "Stalls that begin while a launch waits for a place in another queue.",
        of_totals(lambda totals: as_ms(totals.stall_queue_ns)),
    ),
    Metric(
        "stall/no_slot_ms",
        Unit.ms,
        Better.lower,
        "Stalls that begin while the host waits, because no slot is free to launch more.",
        of_totals(lambda totals: as_ms(totals.stall_slot_ns)),
    ),
    Metric(
        "idle/fill_ms",
        Unit.ms,
        Better.lower,
        "Time before the first execution of a column, sum over the columns.",
        of_totals(lambda totals: as_ms(totals.fill_ns)),
    ),
    Metric(
        "idle/drain_ms",
        Unit.ms,
        Better.lower,
        "Time after the last execution of a column, sum over the columns.",
        of_totals(lambda totals: as_ms(totals.drain_ns)),
    ),
    Metric(
        "device/utilisation",
        Unit.share,
        Better.higher,
        "Share of the pass that the columns of all kernels spend executing.",
        # Of all columns that the contexts occupy: one of four columns at work is 25 %.
        of_totals(lambda totals: ratio(totals.exec_ns, totals.makespan_ns * totals.columns)),
        "busy",
    ),
    Metric(
        "overlap/efficiency",
        Unit.share,
        Better.higher,
        "Overlap achieved: 1 is a makespan at its bound, 0 is fully serial.",
        of_totals(_efficiency),
    ),
    Metric(
        "overlap/transfer",
        Unit.share,
        Better.higher,
        "Share of the time to write and read buffers that executions hide.",
        of_totals(_hidden_transfer),
    ),
)
