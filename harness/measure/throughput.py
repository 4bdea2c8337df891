"""Throughput of a pass: operations and bytes per second, and their share of what a device can do.

Metric descriptions define the two rates. `Work` says what a tile counts for.
"""

from __future__ import annotations

from collections.abc import Callable

from harness.measure.metric import Better, Measurement, Metric, Unit, Value, Work, ratio


def _rate(data: Measurement, per_tile: Callable[[Work], int | None]) -> float | None:
    """Of something that a tile has, 10^9 a second, which is one a nanosecond."""
    if not data.totals or not data.work:
        return None
    each = per_tile(data.work)
    return ratio(each and each * data.totals.tiles, data.totals.makespan_ns)


def _gops(data: Measurement) -> Value:
    return _rate(data, lambda work: work.ops)


def _gbytes_per_s(data: Measurement) -> Value:
    return _rate(data, lambda work: work.size_bytes)


def _peak_pct(data: Measurement) -> Value:
    most = data.work.peak_gops if data.work else None
    return _share_pct(_rate(data, lambda work: work.ops), most)


def _bandwidth_pct(data: Measurement) -> Value:
    most = data.work.bandwidth_gbytes_per_s if data.work else None
    return _share_pct(_rate(data, lambda work: work.size_bytes), most)


def _share_pct(rate: float | None, most: float | None) -> float | None:
    share = ratio(rate, most)
    return None if share is None else 100 * share


THROUGHPUT = (
    Metric(
        "throughput/gops",
        Unit.gops,
        Better.higher,
        "Operations that the kernels declare (`ops`), of all tiles, in 10^9 per second; None for "
        "encoders, and if a kernel declares none.",
        _gops,
        "GOPS",
    ),
    Metric(
        "throughput/gbytes_per_s",
        Unit.gbytes,
        Better.higher,
        "Bytes that the host writes to and reads from the kernels' buffers, in 10^9 per second; "
        "None for encoders.",
        _gbytes_per_s,
        "GB/s",
    ),
    Metric(
        "throughput/peak_pct",
        Unit.percent,
        Better.higher,
        "throughput/gops in percent of the peak that the device's profile has for the element type "
        "of the inputs; None without one.",
        _peak_pct,
    ),
    Metric(
        "throughput/bandwidth_pct",
        Unit.percent,
        Better.higher,
        "throughput/gbytes_per_s in percent of the bandwidth of both directions together that the "
        "device's profile has; None without one.",
        _bandwidth_pct,
    ),
)
"""Rows of `harness.measure.metrics.TABLE`."""
