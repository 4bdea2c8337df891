"""Computes speed-ups over the baseline, only between runs that differ in nothing but strategy."""

from __future__ import annotations

from collections.abc import Sequence

from harness.measure.stats import Ratio, ratio_interval
from harness.results.identity import speedup_setting
from harness.results.record import Record


def speedups(records: Sequence[Record]) -> list[Ratio | None]:
    """The time of a record's baseline divided by its own time, for each record.

    None if there is no baseline. A baseline is a run with correct outputs, with the serial
    strategy, in the same setting (`harness.results.identity.speedup_setting`).
    """
    baselines = {
        speedup_setting(record.config): record
        for record in records
        # Of several baselines in one setting the last counts, as in a dict.
        if record.ok and record.knobs.is_baseline
    }
    return [_speedup(record, baselines.get(speedup_setting(record.config))) for record in records]


def _speedup(record: Record, baseline: Record | None) -> Ratio | None:
    # A pass of 0 ns, of a profile without costs, has no ratio.
    if baseline is None or not record.ok or not all(record.samples.total_ns):
        return None
    return ratio_interval(baseline.samples.total_ns, record.samples.total_ns)
