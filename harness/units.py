"""Conversions at the edges; inside, time is integer nanoseconds and size is integer bytes."""

from __future__ import annotations

NS_PER_US = 1_000
NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000
BYTES_PER_MIB = 1 << 20


def ns_to_ms(time_ns: float) -> float:
    """Milliseconds of `time_ns`."""
    return time_ns / NS_PER_MS


def ms_to_ns(time_ms: float) -> int:
    """`time_ms` rounded to whole nanoseconds."""
    return round(time_ms * NS_PER_MS)
