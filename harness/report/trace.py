"""A timeline as Chrome trace events, which Perfetto (ui.perfetto.dev) opens."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from harness.hazard import Call, Hazard
from harness.measure.timeline import DEVICE_WORK, Spans, Stage, Timeline
from harness.results.find import TRACE_NAME
from harness.results.record import write_json
from harness.units import NS_PER_US

HOST_PID, DEVICE_PID = 1, 2
MOST_TILES = 10_000
"""Most tiles in a trace: 60,000 events, 9 MB."""


def save_trace(timeline: Timeline, title: str, folder: Path) -> Path:
    """Write `trace.json` into `folder`, whole or not at all; OSError where that fails."""
    return write_json(folder / TRACE_NAME, trace(timeline, title), durable=False)


def trace(timeline: Timeline, title: str) -> dict[str, Any]:
    """Trace events: a track for the host, one per column and kernel.

    `ts` and `dur` are in microseconds, exact to the ns.
    """
    # Python's integers: numpy's are not JSON.
    rows, kernels = timeline.rows[timeline.rows[:, 1] < MOST_TILES].tolist(), len(timeline.kernels)
    events = [
        _name("process_name", HOST_PID, 0, "host"),
        _name("thread_name", HOST_PID, 0, "host thread"),
    ]
    if timeline.has_device:
        events.append(_name("process_name", DEVICE_PID, 0, "NPU"))
        events += [
            _name(
                "thread_name",
                DEVICE_PID,
                # A track per kernel too, because the kernels of a chain overlap on a column.
                column * kernels + kernel_index,
                f"column {column} {kernel}" if kernels > 1 else f"column {column}",
            )
            for column in range(timeline.columns)
            for kernel_index, kernel in enumerate(timeline.kernels)
        ]
    # The phases "X", "M" and "i" of the Trace Event Format: complete event, metadata, instant.
    for code, tile, tiles, column, start_ns, end_ns, kernel_index in rows:
        stage = Stage(code)
        on_device = stage in DEVICE_WORK
        events.append(
            {
                "ph": "X",
                "name": f"{stage.name.lower()} {tile}"
                if tiles == 1
                else f"{stage.name.lower()} {tile}-{tile + tiles - 1}",
                "cat": stage.name.lower(),
                "pid": DEVICE_PID if on_device else HOST_PID,
                "tid": column * kernels + kernel_index if on_device else 0,
                # Microseconds are the format's unit; `args` has the exact integers.
                "ts": start_ns / NS_PER_US,
                "dur": (end_ns - start_ns) / NS_PER_US,
                "args": {
                    "tile": tile,
                    "tiles": tiles,
                    "column": column,
                    **({"kernel": timeline.kernels[kernel_index]} if kernels > 1 else {}),
                    "start_ns": start_ns,
                    "end_ns": end_ns,
                },
            }
        )
    cut = (
        {"cut": f"first {MOST_TILES} of {timeline.tiles} tiles"}
        if timeline.tiles > MOST_TILES
        else {}
    )
    return {
        "traceEvents": events,
        "displayTimeUnit": "ns",
        "otherData": {
            "title": title,
            "tiles": timeline.tiles,
            "columns": timeline.columns,
            "clock": timeline.clock,
            **cut,
        },
    }


def program_trace(
    title: str, calls: Sequence[tuple[str, int, int, Call]], spans: Spans, hazards: Sequence[Hazard]
) -> dict[str, Any]:
    """Trace events of a program that calls the pyxrt API.

    calls: name, begin, end (ns) and place of each. spans: int64 (n, 5) of is_load, context, column,
    start_ns, end_ns.
    Hazards are instants on the host's track.
    """
    events = [
        _name("process_name", HOST_PID, 0, "host"),
        _name("thread_name", HOST_PID, 0, "pyxrt calls"),
    ]
    events.append(_name("process_name", DEVICE_PID, 0, "NPU"))
    events += [
        _name("thread_name", DEVICE_PID, int(c), f"column {c}") for c in np.unique(spans[:, 2])
    ]
    for name, begin_ns, end_ns, call in calls:
        events.append(
            _span(HOST_PID, 0, name, begin_ns, end_ns, {"at": f"{call.file}:{call.line}"})
        )
    for is_load, context, column, start_ns, end_ns in spans.tolist():
        name = "load" if is_load else "exec"
        events.append(_span(DEVICE_PID, column, name, start_ns, end_ns, {"context": context}))
    for hazard in hazards:
        at_us = hazard.later.now_ns / NS_PER_US
        instant = {
            "ph": "i",
            # Scope of the instant: a line through all tracks of its process.
            "s": "p",
            "name": hazard.kind.value,
            "pid": HOST_PID,
            "tid": 0,
            "ts": at_us,
        }
        events.append({**instant, "args": {"hazard": str(hazard), "count": hazard.count}})
    return {"traceEvents": events, "displayTimeUnit": "ns", "otherData": {"title": title}}


def _span(
    pid: int, tid: int, name: str, start_ns: int, end_ns: int, arguments: dict[str, Any]
) -> dict[str, Any]:
    times = {"ts": start_ns / NS_PER_US, "dur": (end_ns - start_ns) / NS_PER_US}
    return {"ph": "X", "name": name, "pid": pid, "tid": tid, **times, "args": arguments}


def _name(kind: str, pid: int, tid: int, name: str) -> dict[str, Any]:
    return {"ph": "M", "name": kind, "pid": pid, "tid": tid, "args": {"name": name}}
