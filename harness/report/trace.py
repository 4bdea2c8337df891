"""A timeline as Chrome trace events, which Perfetto (ui.perfetto.dev) opens.

The phases "X", "M", "i", "C" and "s", "t", "f" of the Trace Event Format are complete events,
metadata, instants, counters, and the begin, steps and end of an arrow.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.measure.idle import CAUSES, stall_causes, stall_work
from harness.measure.timeline import DEVICE_WORK, Spans, Stage, Timeline
from harness.measure.totals import stalls
from harness.results.find import TRACE_NAME
from harness.results.whole_file import write_json
from harness.units import NS_PER_US

Event = dict[str, Any]
HOST_PID, DEVICE_PID = 1, 2
TRACKS = 1_000
"""Most tracks of a process."""
MOST_TILES = 10_000
"""Most tiles in a trace: 120,000 events, 15 MB."""
STEPS = (Stage.WRITE, Stage.EXEC, Stage.READ)
"""The stages that the arrow of a submission joins; without device timestamps, LAUNCH for EXEC."""


def save_trace(timeline: Timeline, title: str, folder: Path) -> Path:
    """Write `trace.json` into `folder`, whole or not at all; OSError where that fails."""
    return write_json(folder / TRACE_NAME, trace(timeline, title), readable=False)


def trace(timeline: Timeline, title: str) -> dict[str, Any]:
    """Trace events: a process for the host and one for the device, a track per column and kernel.

    Arrows lead each submission from its staging to its collection; stalls are instants, tiles in
    flight and the depth of the queue are counters. Of more than MOST_TILES tiles, the first and
    the slowest stretch are there in full; one slice stands for each part between them. `ts` and
    `dur` are in microseconds, exact to the ns.
    """
    parts = shown_tiles(timeline)
    tile = timeline.rows[:, 1]
    mask = np.zeros(len(tile), bool)
    for begin, end in parts:
        mask |= (begin <= tile) & (tile < end)
    rows = timeline.rows[mask]
    periods = [_period(timeline, *part) for part in parts]
    events = list(_tracks(timeline, title))
    events += _operations(timeline)
    events += _slices(timeline, rows)
    events += _arrows(timeline, rows)
    events += _counters(timeline, periods)
    found = stalls(timeline)
    if found is not None:
        shown = found[_within(periods, found[:, 1])]
        causes, work = stall_causes(timeline, shown).tolist(), stall_work(timeline, shown)
        for row, place, stage in zip(shown.tolist(), causes, work, strict=True):
            events.append(_stall(timeline, *row, cause=CAUSES[place].value, host=stage))
    other: Event = {
        "title": title,
        "tiles": timeline.tiles,
        "columns": timeline.columns,
        "clock": timeline.clock,
    }
    if len(parts) > 1 or parts[0][1] < timeline.tiles:
        events += _omitted(timeline, parts)
        texts = [f"{begin} to {end - 1}" for begin, end in parts]
        other["cut"] = f"tiles {' and '.join(texts)} of {timeline.tiles}: the first and the slowest"
    return {"traceEvents": events, "displayTimeUnit": "ns", "otherData": other}


def shown_tiles(timeline: Timeline, most: int = MOST_TILES) -> list[tuple[int, int]]:
    """The tiles to show, as (first, behind the last): all, or the first and the slowest ones.

    most: the number of tiles that is shown at most; half of it in each of the two stretches.
    """
    tiles = timeline.tiles
    if tiles <= most:
        return [(0, tiles)]
    half = most // 2
    ends_ns = np.zeros(tiles, np.int64)
    reads = timeline.of(Stage.READ)
    np.maximum.at(ends_ns, reads[:, 1], reads[:, 5])
    # Of a batch, only the first tile has a row.
    ends_ns = np.maximum.accumulate(ends_ns)
    lengths_ns = ends_ns[2 * half - 1 :] - ends_ns[half - 1 : tiles - half]
    first = half + int(np.argmax(lengths_ns))
    return [(0, first + half)] if first <= half else [(0, half), (first, first + half)]


def _period(timeline: Timeline, begin: int, end: int) -> tuple[int, int]:
    """Begin and end, in ns, of the work on the tiles `begin` to `end` - 1."""
    rows = timeline.rows[(begin <= timeline.rows[:, 1]) & (timeline.rows[:, 1] < end)]
    return (int(rows[:, 4].min()), int(rows[:, 5].max())) if len(rows) else (0, 0)


def _within(periods: Sequence[tuple[int, int]], times: Spans) -> NDArray[np.bool_]:
    """Which of some times, (n,), are inside a period, (n,) bool."""
    inside = np.zeros(len(times), bool)
    for begin, end in periods:
        inside |= (begin <= times) & (times <= end)
    return inside


def _tracks(timeline: Timeline, title: str) -> Iterator[Event]:
    yield name_event("process_name", HOST_PID, 0, f"host of {title}")
    yield name_event("thread_name", HOST_PID, 0, "host thread")
    if not timeline.has_device:
        return
    yield name_event("process_name", DEVICE_PID, 0, f"device of {title}")
    several = len(timeline.kernels) > 1
    for column in range(timeline.columns):
        for index, kernel in enumerate(timeline.kernels):
            name = f"column {column} {kernel}" if several else f"column {column}"
            yield name_event("thread_name", DEVICE_PID, _track(timeline, column, index), name)


def _track(timeline: Timeline, column: int, kernel: int) -> int:
    # A track per kernel too, because the kernels of a chain overlap on a column.
    return column * len(timeline.kernels) + kernel


def _operations(timeline: Timeline) -> Iterator[Event]:
    """A track with a slice for each operation of an encoder."""
    if timeline.parts:
        yield name_event("thread_name", HOST_PID, 2, "operations")
    behind = [*(part.tile for part in timeline.parts), timeline.tiles]
    for part, end in zip(timeline.parts, behind[1:], strict=True):
        begin_ns, end_ns = _period(timeline, part.tile, end)
        arguments = {"operation": part.name, "tile": part.tile, "tiles": end - part.tile}
        yield span_event(HOST_PID, 2, part.name, begin_ns, end_ns, arguments)


def _slices(timeline: Timeline, rows: Spans) -> Iterator[Event]:
    several = len(timeline.kernels) > 1
    for code, tile, tiles, column, start_ns, end_ns, kernel in rows.tolist():
        stage = Stage(code)
        name = stage.name.lower()
        on_device = stage in DEVICE_WORK
        # Microseconds are the format's unit; `args` has the exact integers.
        arguments = {"tile": tile, "tiles": tiles, "column": column}
        arguments |= {"kernel": timeline.kernels[kernel]} if several else {}
        arguments |= {"start_ns": start_ns, "end_ns": end_ns}
        yield {
            **span_event(
                DEVICE_PID if on_device else HOST_PID,
                _track(timeline, column, kernel) if on_device else 0,
                f"{name} {tile}" if tiles == 1 else f"{name} {tile}-{tile + tiles - 1}",
                start_ns,
                end_ns,
                arguments,
            ),
            "cat": name,
        }


def _arrows(timeline: Timeline, rows: Spans) -> Iterator[Event]:
    """An arrow for each submission, through its kernels in the order of time."""
    write, execute, read = STEPS
    steps = (write, execute if timeline.has_device else Stage.LAUNCH, read)
    of_tile = defaultdict[int, list[tuple[int, int, int]]](list)
    for code, tile, _, column, start_ns, end_ns, kernel in rows.tolist():
        # An arrow binds to the slice around it, so not to one without length.
        if code in steps and start_ns < end_ns:
            on_device = code in DEVICE_WORK
            pid = DEVICE_PID if on_device else HOST_PID
            track = _track(timeline, column, kernel) if on_device else 0
            of_tile[tile].append(((start_ns + end_ns) // 2, pid, track_id(pid, track)))
    staged = set(rows[rows[:, 0] == write, 1].tolist())
    for tile, points in of_tile.items():
        # The tiles of a batch are staged together: the first stands for all.
        if tile not in staged or len(points) < 2:
            continue
        phases = ["s", *"t" * (len(points) - 2), "f"]
        for phase, (at_ns, pid, tid) in zip(phases, sorted(points), strict=True):
            yield {
                "ph": phase,
                "name": "submission",
                "cat": "submission",
                "id": tile,
                "pid": pid,
                "tid": tid,
                "ts": at_ns / NS_PER_US,
                # To the slice around it, not to the next one.
                **({"bp": "e"} if phase == "f" else {}),
            }


def _counters(timeline: Timeline, periods: Sequence[tuple[int, int]]) -> Iterator[Event]:
    """Tiles launched and not collected, and executions launched and not ended."""
    launches, reads = timeline.of(Stage.LAUNCH), timeline.of(Stage.READ)
    last = len(timeline.kernels) - 1
    begun, collected = launches[launches[:, 6] == 0], reads[reads[:, 6] == last]
    changes = [(begun[:, 4], begun[:, 2]), (collected[:, 5], -collected[:, 2])]
    yield from _counter("tiles", "in flight", HOST_PID, changes, periods)
    if timeline.has_device:
        ended = timeline.of(Stage.EXEC)
        changes = [(launches[:, 4], launches[:, 2]), (ended[:, 5], -ended[:, 2])]
        yield from _counter("queue", "depth", DEVICE_PID, changes, periods)


def _counter(
    name: str,
    value: str,
    pid: int,
    changes: Sequence[tuple[Spans, Spans]],
    periods: Sequence[tuple[int, int]],
) -> Iterator[Event]:
    """A counter, which Perfetto shows as `name value`; it changes at times (n,) by amounts (n,)."""
    times, amounts = (np.concatenate(each) for each in zip(*changes, strict=True))
    order = np.argsort(times, kind="stable")
    times, values = times[order], np.cumsum(amounts[order])
    shown = np.append(times[1:] != times[:-1], True) & _within(periods, times)
    for at_ns, count in zip(times[shown].tolist(), values[shown].tolist(), strict=True):
        at_us = at_ns / NS_PER_US
        yield {"ph": "C", "name": name, "pid": pid, "ts": at_us, "args": {value: count}}


def _stall(timeline: Timeline, column: int, begin_ns: int, end_ns: int, **why: str) -> Event:
    return {
        "ph": "i",
        # Scope of the instant: its track.
        "s": "t",
        "name": "stall",
        "cat": "stall",
        "pid": DEVICE_PID,
        "tid": track_id(DEVICE_PID, _track(timeline, column, 0)),
        "ts": begin_ns / NS_PER_US,
        "args": {"column": column, "start_ns": begin_ns, "end_ns": end_ns, **why},
    }


def _omitted(timeline: Timeline, parts: Sequence[tuple[int, int]]) -> Iterator[Event]:
    """A track with a slice for each part of the pass whose tiles are left out."""
    yield name_event("thread_name", HOST_PID, 1, "tiles left out")
    behind = [*(begin for begin, _ in parts[1:]), timeline.tiles]
    for (_, first), end in zip(parts, behind, strict=True):
        if first < end:
            begin_ns, end_ns = _period(timeline, first, end)
            name = f"tiles {first}-{end - 1}"
            yield span_event(
                HOST_PID, 1, name, begin_ns, end_ns, {"tile": first, "tiles": end - first}
            )


def track_id(pid: int, track: int) -> int:
    """The id of a track, by its number in its process.

    It is unique in the whole trace, and none is a pid: Perfetto takes a thread whose id is that of
    its process for the process's main thread, and merges threads of equal ids.
    """
    return pid * TRACKS + 1 + track


def span_event(
    pid: int, track: int, name: str, start_ns: int, end_ns: int, arguments: Event
) -> Event:
    """A complete event; track: number in its process."""
    times = {"ts": start_ns / NS_PER_US, "dur": (end_ns - start_ns) / NS_PER_US}
    return {
        "ph": "X",
        "name": name,
        "pid": pid,
        "tid": track_id(pid, track),
        **times,
        "args": arguments,
    }


def name_event(kind: str, pid: int, track: int, name: str) -> Event:
    """Metadata: the name of a process or of a track."""
    return {
        "ph": "M",
        "name": kind,
        "pid": pid,
        "tid": track_id(pid, track),
        "args": {"name": name},
    }
