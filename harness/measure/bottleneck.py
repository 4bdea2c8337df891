"""Finds what limits a pass: the host, the device, or both, where they work in turns."""

from __future__ import annotations

from harness.measure.totals import Totals

LATE = 1.25
"""A pass longer than this times its bound is limited by host and device working in turns."""
LOADS = "loading contexts"
"""In place of a kernel, where columns load contexts for longer than they execute."""
STAGES = ("alloc", "write", "launch", "read")
"""Stages of the host, except waiting."""


def bottleneck(totals: Totals | None, busiest: str) -> str | None:
    """What binds a pass: `host: <stage>`, `device: <kernel>`, or `both: 1.39x bound`.

    The stage is the one with the most host time. busiest: the kernel that executes longest; LOADS
    stands in its place if loading contexts, as where they take turns, takes longer. Time
    to open contexts is not part of the bounds, so it counts for neither side. Without device
    timestamps there are no bounds, and the host's work is compared with its waiting instead. None
    if nothing was timed, or if work and waiting are equal.
    """
    if totals is None or not totals.makespan_ns:
        return None
    if totals.bound_ns is None or totals.host_bound_ns is None or totals.device_bound_ns is None:
        # A host that works for longer than it waits leaves the device waiting.
        host_ns, device_ns = totals.host_ns, totals.wait_ns
        if host_ns == device_ns:
            return None
    else:
        host_ns, device_ns = totals.host_bound_ns, totals.device_bound_ns
        # Also in the ratio: opening contexts is in no bound.
        busy_ns = totals.makespan_ns - totals.open_ns
        if totals.bound_ns and busy_ns > LATE * totals.bound_ns:
            return f"both: {busy_ns / totals.bound_ns:.2f}x bound"
    if host_ns > device_ns:
        return f"host: {max(STAGES, key=lambda stage: getattr(totals, f'{stage}_ns'))}"
    return f"device: {LOADS if (totals.load_ns or 0) > (totals.exec_ns or 0) else busiest}"
