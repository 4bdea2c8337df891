"""Unit conversions. Inside the harness, time is integer nanoseconds and size is integer bytes.

Convert where values enter (profiles, requests) and where they leave (records, tables).
"""

from __future__ import annotations

NS_PER_US = 1_000
NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000
BYTES_PER_MIB = 1 << 20
PERMILLE = 1_000
"""A whole, in thousandths."""


def ns_to_ms(time_ns: float) -> float:
    """Convert nanoseconds to milliseconds."""
    return time_ns / NS_PER_MS


def ms_to_ns(time_ms: float) -> int:
    """Convert milliseconds to nanoseconds, rounded to a whole number."""
    return round(time_ms * NS_PER_MS)
