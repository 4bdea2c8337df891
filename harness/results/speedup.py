"""How much faster than the baseline: only between runs that differ in strategy alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.config.strategy import Buffers, Strategy
from harness.measure.stats import ratio_interval
from harness.results.record import Record, config_hash

STRATEGY_KEYS = ("strategy", "depth", "phase", "tracking")


@dataclass(frozen=True)
class Speedup:
    """Baseline's time over this run's, with its 95 % interval over the timed passes of both."""

    low: float
    ratio: float
    high: float


def is_baseline(record: Record) -> bool:
    """Whether a record is of the serial strategy that others are compared with."""
    return Strategy(**{**record.knobs, "buffers": Buffers(record.knobs["buffers"])}).is_baseline


def speedups(records: Sequence[Record]) -> list[Speedup | None]:
    """For each record, its speed-up over the baseline of its own device, workload and measuring; None without one."""
    baselines = {
        _setting(record): record for record in records if record.ok and is_baseline(record)
    }
    return [_speedup(record, baselines.get(_setting(record))) for record in records]


def _speedup(record: Record, baseline: Record | None) -> Speedup | None:
    if baseline is None or not record.ok or not all(record.samples["total_ns"]):
        return None
    return Speedup(*ratio_interval(baseline.samples["total_ns"], record.samples["total_ns"]))


def _setting(record: Record) -> str:
    return config_hash(
        {key: value for key, value in record.config.items() if key not in STRATEGY_KEYS}
    )
