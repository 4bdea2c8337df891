"""The calls of a program as Chrome trace events, like those of a run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from harness.hazard import Call, Hazard
from harness.measure.timeline import Spans
from harness.report.trace import DEVICE_PID, HOST_PID, name_event, span_event, track_id
from harness.units import NS_PER_US


def program_trace(
    title: str, calls: Sequence[tuple[str, int, int, Call]], spans: Spans, hazards: Sequence[Hazard]
) -> dict[str, Any]:
    """Trace events of a program that calls the pyxrt API.

    calls: name, begin, end (ns) and place of each. spans: int64 (n, 5) of is_load, context, column,
    start_ns, end_ns.
    Hazards are instants on the host's track.
    """
    events = [
        name_event("process_name", HOST_PID, 0, f"host of {title}"),
        name_event("thread_name", HOST_PID, 0, "pyxrt calls"),
        name_event("process_name", DEVICE_PID, 0, f"device of {title}"),
    ]
    events += [
        name_event("thread_name", DEVICE_PID, int(c), f"column {c}") for c in np.unique(spans[:, 2])
    ]
    for name, begin_ns, end_ns, call in calls:
        events.append(
            span_event(HOST_PID, 0, name, begin_ns, end_ns, {"at": f"{call.file}:{call.line}"})
        )
    for is_load, context, column, start_ns, end_ns in spans.tolist():
        name = "load" if is_load else "exec"
        events.append(span_event(DEVICE_PID, column, name, start_ns, end_ns, {"context": context}))
    for hazard in hazards:
        at_us = hazard.later.now_ns / NS_PER_US
        instant = {
            "ph": "i",
            # Scope of the instant: a line through all tracks of its process.
            "s": "p",
            "name": hazard.kind.value,
            "pid": HOST_PID,
            "tid": track_id(HOST_PID, 0),
            "ts": at_us,
        }
        events.append({**instant, "args": {"hazard": str(hazard), "count": hazard.count}})
    return {"traceEvents": events, "displayTimeUnit": "ns", "otherData": {"title": title}}
