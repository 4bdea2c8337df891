"""What a metric is, what it is computed from, and the ways to compute one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

import numpy as np

from harness.measure.rtf import Audio
from harness.measure.stats import percentile
from harness.measure.timeline import Spans
from harness.measure.totals import Totals
from harness.units import ns_to_ms

Value = float | int | None
Metrics = dict[str, Value]
"""Value by name. Every record has every metric; None is what was not measured or is not visible."""


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
    count = "count"


@dataclass(frozen=True)
class Measurement:
    """Everything that one run's metrics are computed from.

    totals: of the timed pass; intervals_ns: completion to completion, of all timed passes one after
    the other. verified, mismatches: tiles compared and tiles wrong. hazards: None where the device
    does not detect them. allocations: bos created during the timed pass.
    """

    totals: Totals | None = None
    intervals_ns: Spans = field(default_factory=lambda: np.zeros(0, np.int64))
    audio: Audio | None = None
    verified: int = 0
    mismatches: int = 0
    hazards: int | None = None
    allocations: int | None = None


@dataclass(frozen=True)
class Metric:
    """A row: `heading` is its column in tables, empty where it has none.

    compute: the value of one run; None for a metric that several runs are needed for.
    """

    name: str
    unit: Unit
    better: Better
    description: str
    compute: Callable[[Measurement], Value] | None
    heading: str = ""


def of_totals(formula: Callable[[Totals], Value]) -> Callable[[Measurement], Value]:
    """A formula over the totals; None where nothing was timed."""
    return lambda data: formula(data.totals) if data.totals else None


def of_audio(formula: Callable[[Totals, Audio], Value]) -> Callable[[Measurement], Value]:
    """A formula over totals and audio; None where nothing was timed or no audio is encoded."""
    return lambda data: formula(data.totals, data.audio) if data.totals and data.audio else None


def per_tile(time_ns: Callable[[Totals], int | None]) -> Callable[[Measurement], Value]:
    """Milliseconds per tile."""

    def formula(totals: Totals) -> Value:
        whole_ns = time_ns(totals)
        return None if whole_ns is None or not totals.tiles else ns_to_ms(whole_ns / totals.tiles)

    return of_totals(formula)


def interval(quantile: float) -> Callable[[Measurement], Value]:
    """A percentile of the completion intervals, in ms; None where there are too few of them."""
    return lambda data: as_ms(percentile(data.intervals_ns, quantile))


def as_ms(time_ns: float | None) -> float | None:
    """Nanoseconds in ms; None stays None."""
    return None if time_ns is None else ns_to_ms(time_ns)


def ratio(above: float | None, below: float | None) -> float | None:
    """The quotient; None where a side is None or the divisor is 0."""
    return None if above is None or not below else above / below
