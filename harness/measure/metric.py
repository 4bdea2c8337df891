"""The type of a metric, the data that metrics are computed from, and common formulas."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

import numpy as np

from harness.measure.rtf import Audio
from harness.measure.stats import percentile
from harness.measure.timeline import Spans
from harness.measure.totals import Totals
from harness.units import NS_PER_US, ns_to_ms

Value = float | int | None
Metrics = dict[str, Value]
"""Value by name. Every record has every metric; None: not measured, or not visible to the host."""


class Better(Enum):
    """Which direction of a metric is an improvement."""

    lower = "lower"
    higher = "higher"
    neither = "neither"


class Unit(Enum):
    """What a value is counted in. share: 1 is all; factor: a ratio of two times."""

    ms = "ms"
    us = "us"
    percent = "%"
    share = "share"
    factor = "factor"
    realtime = "s of audio per s"
    rate = "tiles/s"
    gops = "10^9/s"
    gbytes = "GB/s"
    count = "count"


@dataclass(frozen=True)
class Work:
    """What a tile counts for in throughput, and what the device can do at most.

    ops: operations of all kernels; None if one of them declares none. size_bytes: bytes that the
    host moves. peak_gops, bandwidth_gbytes_per_s: None if the device's profile has none.
    """

    ops: int | None
    size_bytes: int
    peak_gops: float | None = None
    bandwidth_gbytes_per_s: float | None = None


@dataclass(frozen=True)
class Measurement:
    """The data that one run's metrics are computed from.

    totals: of the timed pass. intervals_ns: times from one completion to the next, of all timed
    passes, (n,) int64. verified, mismatches: number of tiles compared and of wrong tiles. hazards:
    None if the device does not detect them. allocations: bos allocated during the timed pass.
    predicted_ns: makespan by the model of a pass; None if the model does not cover the run. work:
    of a tile; None for encoders, whose calls differ.
    """

    totals: Totals | None = None
    intervals_ns: Spans = field(default_factory=lambda: np.zeros(0, np.int64))
    audio: Audio | None = None
    verified: int = 0
    mismatches: int = 0
    hazards: int | None = None
    allocations: int | None = None
    predicted_ns: int | None = None
    work: Work | None = None


@dataclass(frozen=True)
class Metric:
    """One metric: a row of `harness.measure.metrics.TABLE`.

    compute: function from a run's data to the value; None for a metric that needs several runs.
    heading: its column heading in tables; empty if tables do not show it.
    """

    name: str
    unit: Unit
    better: Better
    description: str
    compute: Callable[[Measurement], Value] | None
    heading: str = ""


def of_totals(formula: Callable[[Totals], Value]) -> Callable[[Measurement], Value]:
    """Make a metric from a formula over the totals; None if nothing was timed."""
    return lambda data: formula(data.totals) if data.totals else None


def of_audio(formula: Callable[[Totals, Audio], Value]) -> Callable[[Measurement], Value]:
    """Make a metric from totals and audio; None if nothing was timed or there is no audio."""
    return lambda data: formula(data.totals, data.audio) if data.totals and data.audio else None


def per_tile(time_ns: Callable[[Totals], int | None]) -> Callable[[Measurement], Value]:
    """Make a metric in milliseconds per tile from a time in the totals."""

    def formula(totals: Totals) -> Value:
        whole_ns = time_ns(totals)
        return None if whole_ns is None or not totals.tiles else ns_to_ms(whole_ns / totals.tiles)

    return of_totals(formula)


def interval(quantile: float) -> Callable[[Measurement], Value]:
    """Make a metric from a quantile of the completion intervals, in ms; None if there are too few.

    See `harness.measure.stats.samples_needed`.
    """
    return lambda data: as_ms(percentile(data.intervals_ns, quantile))


def as_ms(time_ns: float | None) -> float | None:
    """Convert nanoseconds to milliseconds; None stays None."""
    return None if time_ns is None else ns_to_ms(time_ns)


def ratio(above: float | None, below: float | None) -> float | None:
    """above / below; None if either is None or the divisor is 0."""
    return None if above is None or not below else above / below


def residual_pct(data: Measurement) -> Value:
    """How much longer the pass took than predicted, in percent; None without a prediction."""
    if not data.totals or data.predicted_ns is None:
        return None
    residual_ns = data.totals.makespan_ns - data.predicted_ns
    # A pass that costs nothing is predicted exactly.
    return ratio(100 * residual_ns, data.predicted_ns) if residual_ns else 0.0


def self_us(totals: Totals) -> float | None:
    """Host time per tile outside of all stages; None in virtual time, which does not pass there."""
    if totals.clock == "virtual" or not totals.tiles:
        return None
    own_ns = totals.makespan_ns - totals.host_ns - totals.wait_ns - totals.open_ns
    return own_ns / totals.tiles / NS_PER_US
