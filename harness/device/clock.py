"""The host's monotonic clock, the only place where the harness reads it."""

from __future__ import annotations

import time

host_now_ns = time.perf_counter_ns
"""Nanoseconds since some fixed instant; CLOCK_MONOTONIC, so it never goes back."""


class HostClock:
    """The host's clock as a backend's clock; implements `harness.device.backend.Clock`."""

    @property
    def now_ns(self) -> int:
        """Nanoseconds since some fixed instant."""
        return host_now_ns()
